"""Synapses that exist for some pairs only: a fixed set of connections with a weight each."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.kernels.propagation.csr import CSR
from neuro.kernels.propagation.propagate import propagate

__all__ = ["SparseLinear"]


class SparseLinear(nn.Module):
    """Some-to-some synapses: ``x [T, B, in] -> [T, B, out]``, a weight for each connection there is.

    ``y[t, b, o] = sum over the synapses s from i to o of weight[s] x[t, b, i] + bias[o]``, at a cost of
    spikes times the synapses of a neuron, backward too. Only existing synapses learn; which exist never
    changes. Give exactly one of ``mask``, ``density`` and ``fan_in``.

    Args:
        in_features: presynaptic neurons.
        out_features: postsynaptic neurons.
        mask: ``[out, in]``, true (or not zero) where there is a synapse; or the text that :meth:`definition` holds.
        density: share of all pairs that are connected, drawn at random (their number is exact), in (0, 1].
        fan_in: synapses of each postsynaptic neuron, to presynaptic neurons drawn at random, all different.
        seed: of the draw; the same seed gives the same connections.
        bias: whether each postsynaptic neuron has a constant input.

    Attributes:
        weight: ``[S]``, by presynaptic neuron, then postsynaptic; drawn uniformly within ``1 / sqrt(synapses
            of the postsynaptic neuron)`` as torch's dense layer does.
        bias: ``[out]`` or None.

    Raises:
        InputError: not exactly one way to choose connections; a value out of range; a mask of another shape.

    >>> layer = SparseLinear(100, 20, fan_in=8, seed=3)
    >>> layer.weight.shape, int(layer.mask().sum(1).max())
    (torch.Size([160]), 8)
    """

    indptr: Tensor
    indices: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        mask: Tensor | str | None = None,
        density: float | None = None,
        fan_in: int | None = None,
        seed: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if in_features < 1 or out_features < 1:
            raise InputError(f"SparseLinear needs at least one neuron on each side, got {in_features}, {out_features}")
        if sum(way is not None for way in (mask, density, fan_in)) != 1:
            raise InputError("SparseLinear takes exactly one of mask, density and fan_in")
        self.in_features, self.out_features = in_features, out_features
        self.density, self.fan_in, self.seed = density, fan_in, seed
        pairs = self._drawn(np.random.default_rng(seed)) if mask is None else self._given(mask)
        pre, post = pairs // out_features, pairs % out_features
        indptr = torch.cat([pre.new_zeros(1), torch.bincount(pre, minlength=in_features).cumsum(0)])
        self.register_buffer("indptr", indptr)
        self.register_buffer("indices", post.int())
        self._connections = CSR(self.indptr, self.indices, out_features)
        self.weight = nn.Parameter(torch.empty(post.shape[0]))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.reset_parameters()
        self.register_load_state_dict_post_hook(_check_loaded)  # type: ignore[no-untyped-call]

    def _given(self, mask: Tensor | str) -> Tensor:
        """The pairs ``pre * out + post`` in rising order, from a mask."""
        mask = self._unpacked(mask) if isinstance(mask, str) else mask
        if tuple(mask.shape) != (self.out_features, self.in_features):
            raise InputError(f"mask must be [{self.out_features}, {self.in_features}], got {list(mask.shape)}")
        return (mask.detach().cpu().t() != 0).reshape(-1).nonzero()[:, 0]

    def _drawn(self, generator: np.random.Generator) -> Tensor:
        """The pairs ``pre * out + post`` in rising order, drawn at random."""
        if self.density is not None:
            if not 0 < self.density <= 1:
                raise InputError(f"density must be above 0 and at most 1, got {self.density}")
            every = self.in_features * self.out_features
            chosen = generator.choice(every, max(1, round(self.density * every)), replace=False, shuffle=False)
            return torch.from_numpy(np.sort(chosen))
        assert self.fan_in is not None
        if not 1 <= self.fan_in <= self.in_features:
            raise InputError(f"fan_in must be 1 to {self.in_features}, the presynaptic neurons, got {self.fan_in}")
        draws = (
            generator.choice(self.in_features, self.fan_in, replace=False, shuffle=False) * self.out_features + o
            for o in range(self.out_features)
        )
        return torch.from_numpy(np.sort(np.concatenate(list(draws))))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights ``[S]`` and bias ``[out]`` anew, uniform within one over the root of the fan-in."""
        bound = torch.bincount(self.indices, minlength=self.out_features).clamp(min=1).rsqrt()
        each = bound[self.indices.long()]
        self.weight.copy_((2 * torch.rand_like(self.weight) - 1) * each)
        if self.bias is not None:
            self.bias.copy_((2 * torch.rand_like(self.bias) - 1) * bound)

    @property
    def connections(self) -> CSR:
        """Who reaches whom: rows are presynaptic neurons."""
        if self._connections.indices is not self.indices:  # moved to another device, or copied
            self._connections = CSR(self.indptr, self.indices, self.out_features)
        return self._connections

    def mask(self) -> Tensor:
        """``[out, in]``, true where there is a synapse."""
        return self.connections.dense(torch.ones_like(self.weight)).t() != 0

    def dense(self) -> Tensor:
        """``[out, in]``: the weights as a matrix, zero where there is no synapse; differentiable."""
        return self.connections.dense(self.weight).t()

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, in]`` to ``[T, B, out]``."""
        if x.dim() != 3 or x.shape[2] != self.in_features:
            raise InputError(f"SparseLinear takes [T, B, {self.in_features}] (time first), got {tuple(x.shape)}")
        y, _ = propagate(x, self.connections, self.weight)
        return y if self.bias is None else y + self.bias

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its weights, JSON-able; a mask as compressed bits."""
        sizes = {"in_features": self.in_features, "out_features": self.out_features, "bias": self.bias is not None}
        if self.density is not None:
            return sizes | {"density": self.density, "seed": self.seed}
        if self.fan_in is not None:
            return sizes | {"fan_in": self.fan_in, "seed": self.seed}
        bits = np.packbits(self.mask().cpu().numpy())
        return sizes | {"mask": base64.b64encode(zlib.compress(bits.tobytes())).decode("ascii")}

    def _unpacked(self, text: str) -> Tensor:
        every = self.in_features * self.out_features
        try:
            reader = zlib.decompressobj()
            packed = reader.decompress(base64.b64decode(text, validate=True), -(-every // 8) + 1)
            bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=every)
        except (ValueError, zlib.error) as error:
            raise InputError(f"mask of SparseLinear is no text of compressed bits ({error})") from None
        if len(packed) != -(-every // 8):
            raise InputError(f"mask of SparseLinear holds {8 * len(packed)} bits, {every} are needed")
        return torch.from_numpy(bits.reshape(self.out_features, self.in_features))

    def extra_repr(self) -> str:
        """Sizes and number of synapses."""
        return f"{self.in_features}, {self.out_features}, synapses={self.indices.shape[0]}"


def _check_loaded(layer: nn.Module, incompatible: object) -> None:
    """Connections that came out of a file may not lead a loop out of its arrays."""
    assert isinstance(layer, SparseLinear)
    layer._connections = CSR(layer.indptr, layer.indices, layer.out_features)
