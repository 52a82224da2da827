"""Attention of spiking transformers, without softmax; tokens are the last axis, ``[T, B, D, L]``.

None of it has parameters: queries, keys and values come from :class:`neuro.Conv1d` with a window of one, a normalisation
and neurons. Those of several inputs are nodes of a :class:`neuro.Graph`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from neuro.errors import InputError
from neuro.layer import Joint

__all__ = ["ATTENTION", "SSA", "KeyValueSum", "TokenMask", "Tokens"]


def _check(name: str, order: str, given: tuple[Tensor, ...]) -> None:
    shapes = [tuple(t.shape) for t in given]
    if len(given) != len(order.split()) or len(set(shapes)) > 1 or len(shapes[0]) != 4:
        raise InputError(f"{name} takes {order} of one shape [T, B, D, L] (time first), got {shapes}")


class Tokens(nn.Module):
    """Places as tokens: ``[T, B, D, ...] -> [T, B, D, L]``, row by row.

    >>> Tokens()(__import__("torch").ones(2, 1, 8, 3, 3)).shape
    torch.Size([2, 1, 8, 9])
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, D, ...]`` to ``[T, B, D, L]``."""
        if x.dim() < 4:
            raise InputError(f"Tokens takes [T, B, D, ...] with axes of space, got {tuple(x.shape)}")
        return x.flatten(3)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer."""
        return {}


class SSA(Joint):
    """Spiking self-attention: ``scale q k^T v`` for each head, no softmax; of spikes, sums of whole numbers.

    ``y[d, i] = scale sum_j v[d, j] sum_e k[e, j] q[e, i]``, ``d`` and ``e`` in the same head: Zhou et al. 2023,
    "Spikformer: when spiking neural network meets transformer" (ICLR). Summed over the tokens first or over the features
    first, whichever is fewer products: for spikes the same bits as long as no sum passes 2^24 in float32.

    Args:
        heads: number of heads; they divide the features D.
        scale: what the sums are multiplied with.

    Raises:
        InputError: heads out of range; later, features that do not divide into heads or shapes that differ.

    >>> import torch
    >>> q, k, v = torch.ones(3, 1, 1, 4, 5)
    >>> SSA(heads=2)(q, k, v)[0, 0, 0].tolist()         # 5 tokens times 2 features of a head, times 1/8
    [1.25, 1.25, 1.25, 1.25, 1.25]
    """

    def __init__(self, heads: int, scale: float = 0.125) -> None:
        super().__init__()
        if isinstance(heads, bool) or not isinstance(heads, int) or heads < 1:
            raise InputError(f"SSA heads must be a whole number from 1 on, got {heads!r}")
        self.inputs, self.heads, self.scale = 3, heads, float(scale)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Queries, keys and values, each ``[T, B, D, L]``, to ``[T, B, D, L]``."""
        _check("SSA", "q k v", inputs)
        features, tokens = inputs[0].shape[2:]
        if features % self.heads:
            raise InputError(f"SSA has {self.heads} heads, which do not divide {features} features")
        queries, keys, values = (t.unflatten(2, (self.heads, -1)) for t in inputs)
        if tokens <= features // self.heads:
            made = values @ (keys.transpose(-1, -2) @ queries)
        else:
            made = (values @ keys.transpose(-1, -2)) @ queries
        y: Tensor = made.flatten(2, 3) * self.scale
        return y

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer."""
        return {"heads": self.heads, "scale": self.scale}

    def extra_repr(self) -> str:
        """Heads and scale."""
        return f"{self.heads}, scale={self.scale:g}"


class KeyValueSum(Joint):
    """How many tokens have both key and value: ``sum_j k[d, j] v[d, j]``, ``[T, B, D]``; linear in the tokens.

    The first half of spike-driven self-attention, Yao et al. 2023, "Spike-driven transformer" (NeurIPS); neurons and
    :class:`TokenMask` are the rest.

    >>> import torch
    >>> k, v = torch.ones(2, 1, 1, 3, 5)
    >>> KeyValueSum()(k, v).tolist()
    [[[5.0, 5.0, 5.0]]]
    """

    inputs = 2

    def forward(self, *inputs: Tensor) -> Tensor:
        """Keys and values, each ``[T, B, D, L]``, to ``[T, B, D]``."""
        _check("KeyValueSum", "k v", inputs)
        return (inputs[0] * inputs[1]).sum(3)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer."""
        return {}


class TokenMask(Joint):
    """The features of all tokens that a spike lets through: ``q[d, j] z[d]``, ``[T, B, D, L]``.

    The second half of spike-driven self-attention, ``z`` the spikes of neurons behind :class:`KeyValueSum`.

    >>> import torch
    >>> TokenMask()(torch.ones(1, 1, 2, 3), torch.tensor([0.0, 1.0]).view(1, 1, 2)).tolist()
    [[[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]]]
    """

    inputs = 2

    def forward(self, *inputs: Tensor) -> Tensor:
        """Queries ``[T, B, D, L]`` and spikes ``[T, B, D]`` to ``[T, B, D, L]``."""
        shapes = [tuple(t.shape) for t in inputs]
        if len(shapes) != 2 or len(shapes[0]) != 4 or shapes[1] != shapes[0][:3]:
            raise InputError(f"TokenMask takes q [T, B, D, L] and z [T, B, D] (time first), got {shapes}")
        return inputs[0] * inputs[1].unsqueeze(3)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer."""
        return {}


ATTENTION = (Tokens, SSA, KeyValueSum, TokenMask)
"""The layers of this module."""
