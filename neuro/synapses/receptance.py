"""The layers of SpikeGPT: attention by receptance and exponential forgetting, its feed-forward partner, what surrounds them.

Tokens are steps: a sentence is a sequence ``[T, B, C]``, and the state carries it on, token by token.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.kernels.compiler.route import Route
from neuro.kernels.scans.wkv import NOTHING, wkv
from neuro.layer import State, StatefulLayer

__all__ = ["RECEPTANCE", "SRFFN", "SRWKV", "LayerNorm", "SpikingEmbedding"]


class LayerNorm(nn.Module):
    """Each sample's features at each step with mean 0 and variance 1: ``[T, B, C] -> [T, B, C]``.

    ``y = weight (x - mean) / sqrt(variance + eps) + bias``; Ba, Kiros & Hinton 2016, "Layer normalization". No statistics
    cross from step to step; what a chip would need is a division in every step, so nothing folds it away.

    Args:
        features: C.
        eps: added to the variance.

    Raises:
        InputError: options out of range; later, another number of features.

    >>> LayerNorm(4)(torch.arange(4.0).view(1, 1, 4)).mean().abs() < 1e-6
    tensor(True)
    """

    def __init__(self, features: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        _check_features("LayerNorm", features)
        if not (math.isfinite(eps) and eps > 0):
            raise InputError(f"LayerNorm eps must be a positive number, got {eps}")
        self.features, self.eps = features, eps
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C]`` to the same shape."""
        _check_input("LayerNorm", x, self.features)
        return F.layer_norm(x, (self.features,), self.weight, self.bias, self.eps)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values."""
        return {"features": self.features, "eps": self.eps}


class SpikingEmbedding(nn.Module):
    """Tokens as spikes: ``[T, B]`` numbers to ``[T, B, C]``, 1 where the weight of token and feature is above zero.

    ``y[t, b, c] = 1 where weight[x[t, b], c] > 0``, with the derivative ``1 / (1 + (pi weight)^2)`` in backward: SpikeGPT's
    binary embedding (Zhu et al. 2024).

    Args:
        tokens: size of the vocabulary.
        features: C.

    Raises:
        InputError: sizes out of range; later, tokens that are not whole numbers of the vocabulary.

    >>> SpikingEmbedding(10, 4)(torch.tensor([[3], [7]])).shape
    torch.Size([2, 1, 4])
    """

    def __init__(self, tokens: int, features: int) -> None:
        super().__init__()
        _check_features("SpikingEmbedding", features)
        if not isinstance(tokens, int) or tokens < 1:
            raise InputError(f"SpikingEmbedding tokens must be a whole number from 1 on, got {tokens!r}")
        self.tokens, self.features = tokens, features
        self.weight = nn.Parameter(torch.empty(tokens, features).uniform_(-1e-4, 1e-4))

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B]`` to ``[T, B, C]``."""
        if x.dim() != 2 or x.dtype.is_floating_point or x.dtype.is_complex or x.dtype == torch.bool:
            raise InputError(f"SpikingEmbedding takes tokens [T, B] of whole numbers, got {tuple(x.shape)} {x.dtype}")
        if x.numel() and not 0 <= int(x.amin()) <= int(x.amax()) < self.tokens:
            seen = (int(x.amin()), int(x.amax()))
            raise InputError(f"SpikingEmbedding knows tokens 0 to {self.tokens - 1}, got {seen[0]} to {seen[1]}")
        drive = F.embedding(x, self.weight)
        smooth = torch.atan(math.pi * drive) / math.pi
        return (drive.detach() > 0).to(drive.dtype) + (smooth - smooth.detach())

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values."""
        return {"tokens": self.tokens, "features": self.features}

    def extra_repr(self) -> str:
        """Vocabulary and features."""
        return f"{self.tokens}, {self.features}"


class _Shifted(StatefulLayer):
    """Base of layers that mix each token with the one before it; ``depth`` of ``layers`` sets where they begin."""

    def __init__(self, features: int, depth: int, layers: int, dt: float) -> None:
        super().__init__()
        _check_features(type(self).__name__, features)
        if not 0 <= depth < layers:
            raise InputError(f"{type(self).__name__} depth must be from 0 to below layers={layers}, got {depth}")
        if not (math.isfinite(dt) and dt > 0):
            raise InputError(f"{type(self).__name__} dt must be a positive number of seconds, got {dt}")
        self.features, self.depth, self.layers, self.dt = features, depth, layers, float(dt)

    def _mix(self, power: float = 1.0, offset: float = 0.0) -> nn.Parameter:
        """Shares of the newest token, ``[C]``: from 0 to 1 over the features, more of it the deeper the layer."""
        ramp = torch.arange(self.features) / self.features
        return nn.Parameter(ramp ** (power * (1 - self.depth / self.layers)) + offset * self._deep())

    def _deep(self) -> float:
        return self.depth / max(1, self.layers - 1)

    def _before(self, x: Tensor, last: Tensor, route: Route | None) -> Tensor:
        """The token before each, ``[T, B, C]``."""
        past = torch.cat([last.unsqueeze(0), x])[: x.shape[0]]
        return past.detach() if route is not None and route.cut_time else past

    def _checked(self, x: Tensor, state: State | None) -> State:
        _check_input(type(self).__name__, x, self.features)
        start = self.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
        if state is not None and [s.shape for s in state] != [s.shape for s in start]:
            wanted, got = [tuple(s.shape) for s in start], [tuple(s.shape) for s in state]
            raise InputError(f"{type(self).__name__} state must be {wanted}, got {got}")
        return start if state is None else state

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values."""
        return {n: getattr(self, n) for n in ("features", "depth", "layers", "dt")}

    def extra_repr(self) -> str:
        """Features, depth and time step."""
        return f"{self.features}, depth={self.depth} of {self.layers}, dt={self.dt:g} s"


class SRWKV(_Shifted):
    """Spiking RWKV: each token asks for a weighted mean of what all before it held, in one pass over the sequence.

    ``k = W_k (mu_k x[t] + (1 - mu_k) x[t-1])``, ``v`` and ``r`` alike; ``y = W_o (sigmoid(r) wkv(k, v))`` with
    :func:`neuro.kernels.scans.wkv.wkv`, ``w = -exp(time_decay)``, ``u = time_first``. Zhu et al. 2024, "SpikeGPT:
    generative pre-trained language model with spiking neural networks" (TMLR). ``W_k``, ``W_r`` and ``W_o`` begin at zero.
    What it multiplies is not binary: its input is a normalised sum of spikes.

    State: the last token ``[B, C]``, the mean and the logarithm of the weight of all before, ``[B, C]`` each.

    Args:
        features: C.
        depth: number of this layer from the input, which its initial values depend on.
        layers: of the whole network.
        dt: seconds from token to token, which the layers of a network share.

    Raises:
        InputError: options out of range; shapes that do not fit.

    >>> y, state = SRWKV(8)(torch.ones(5, 2, 8))
    >>> y.shape, [tuple(s.shape) for s in state]
    (torch.Size([5, 2, 8]), [(2, 8), (2, 8), (2, 8)])
    """

    def __init__(self, features: int, *, depth: int = 0, layers: int = 1, dt: float = 1e-3) -> None:
        super().__init__(features, depth, layers, dt)
        place, deep = torch.arange(features), self._deep()
        self.time_decay = nn.Parameter(-5 + 8 * (place / max(1, features - 1)) ** (0.7 + 1.3 * deep))
        self.time_first = nn.Parameter(math.log(0.3) + 0.5 * ((place + 1) % 3 - 1))
        self.mix_key, self.mix_value, self.mix_receptance = self._mix(), self._mix(offset=0.3), self._mix(0.5)
        self.key, self.receptance, self.output = (_projection(features, features, 0.0) for _ in range(3))
        self.value = _projection(features, features, 1.0)

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """No token yet: ``[batch, C]`` three times."""
        zero = torch.zeros((batch, self.features), device=device, dtype=dtype)
        return zero, zero.clone(), torch.full_like(zero, NOTHING)

    def forward(self, x: Tensor, state: State | None = None, *, route: Route | None = None) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: ``[T, B, C]``.
            state: as returned for the tokens before; none unless given.
            route: edges that backward ignores. ``cut_time`` keeps what each token does to its own output:
                ``time_decay``, which acts through time alone, then learns nothing.

        Returns:
            ``[T, B, C]`` and the state after the last token.

        Raises:
            InputError: shapes that do not fit.
        """
        last, mean, weight = self._checked(x, state)
        before, cut = self._before(x, last, route), route is not None and route.cut_time
        key, value, receptance = (
            F.linear(torch.lerp(before, x, mix), layer)
            for mix, layer in (
                (self.mix_key, self.key),
                (self.mix_value, self.value),
                (self.mix_receptance, self.receptance),
            )
        )
        held, after = wkv(key, value, -self.time_decay.exp(), self.time_first, (mean, weight), cut_time=cut)
        y = F.linear(torch.sigmoid(receptance) * held, self.output)
        return y, (x[-1] if x.shape[0] else last, *after)


class SRFFN(_Shifted):
    """Spiking receptance feed-forward network: ``y = sigmoid(W_r x_r) * W_v relu(W_k x_k)^2``, tokens mixed as in ``SRWKV``.

    ``W_k`` has ``4 C`` rows; ``W_v`` and ``W_r`` begin at zero. Zhu et al. 2024, as :class:`SRWKV`. State: the last token,
    ``[B, C]``.

    Args:
        features: C.
        depth: number of this layer from the input, which its initial values depend on.
        layers: of the whole network.
        dt: seconds from token to token, which the layers of a network share.

    Raises:
        InputError: options out of range; shapes that do not fit.

    >>> y, (last,) = SRFFN(8)(torch.ones(5, 2, 8))
    >>> y.shape, last.shape
    (torch.Size([5, 2, 8]), torch.Size([2, 8]))
    """

    def __init__(self, features: int, *, depth: int = 0, layers: int = 1, dt: float = 1e-3) -> None:
        super().__init__(features, depth, layers, dt)
        self.mix_key, self.mix_receptance = self._mix(), self._mix()
        self.key = _projection(4 * features, features, 2.0)
        self.receptance, self.value = _projection(features, features, 0.0), _projection(features, 4 * features, 0.0)

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """No token yet: ``[batch, C]``."""
        return (torch.zeros((batch, self.features), device=device, dtype=dtype),)

    def forward(self, x: Tensor, state: State | None = None, *, route: Route | None = None) -> tuple[Tensor, State]:
        """Run a sequence ``[T, B, C]``; ``route.cut_time`` cuts the edge from a token to the next one's mixture."""
        (last,) = self._checked(x, state)
        before = self._before(x, last, route)
        key = F.linear(torch.lerp(before, x, self.mix_key), self.key).relu().square()
        receptance = F.linear(torch.lerp(before, x, self.mix_receptance), self.receptance)
        return torch.sigmoid(receptance) * F.linear(key, self.value), (x[-1] if x.shape[0] else last,)


def _projection(rows: int, columns: int, gain: float) -> nn.Parameter:
    """``[rows, columns]``: orthogonal times ``gain``, or zero."""
    weight = torch.zeros(rows, columns)
    return nn.Parameter(nn.init.orthogonal_(weight, gain) if gain and not weight.is_meta else weight)


def _check_features(name: str, features: int) -> None:
    if isinstance(features, bool) or not isinstance(features, int) or features < 1:
        raise InputError(f"{name} features must be a whole number from 1 on, got {features!r}")


def _check_input(name: str, x: Tensor, features: int) -> None:
    if x.dim() != 3 or x.shape[2] != features:
        raise InputError(f"{name} takes [T, B, {features}] (time first), got {tuple(x.shape)}")


RECEPTANCE = (LayerNorm, SpikingEmbedding, SRWKV, SRFFN)
"""The layers of this module."""
