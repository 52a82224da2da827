"""Synapses that pass every presynaptic spike at once: dense, one to one, convolution, pooling, reshaping.

All take and return time-first sequences ``[T, B, ...]`` and hold no state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.errors import InputError, unknown_name
from neuro.kernels.propagation.event_conv import event_conv2d
from neuro.kernels.propagation.event_linear import MODES, event_linear

__all__ = ["STATELESS", "Conv1d", "Conv2d", "Flatten", "Linear", "OneToOne", "SumPool2d"]

Pair = int | tuple[int, int]


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


class Linear(nn.Linear):
    """All-to-all synapses: ``x [T, B, in] -> [T, B, out]``, ``weight [out, in]``, ``bias [out]``.

    Args:
        mode: ``"event"``, work follows the spikes; ``"dense"``; ``"auto"``, whichever the measured
            share of non-zero inputs makes the quicker (see :func:`neuro.kernels.propagation.event_linear`).

    >>> Linear(4, 2).definition()
    {'in_features': 4, 'out_features': 2, 'bias': True, 'mode': 'auto'}
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, mode: str = "auto") -> None:
        super().__init__(in_features, out_features, bias)
        if mode not in MODES:
            raise unknown_name("mode", mode, MODES)
        self.mode = mode
        # Stored column by column, so that the synapses of one presynaptic neuron are contiguous.
        self.weight = nn.Parameter(self.weight.detach().t().contiguous().t())

    def forward(self, input: Tensor) -> Tensor:
        """``[T, B, in]`` to ``[T, B, out]``."""
        if input.dim() != 3 or input.shape[2] != self.in_features:
            raise InputError(f"Linear takes [T, B, {self.in_features}] (time first), got {tuple(input.shape)}")
        return event_linear(input, self.weight, self.bias, mode=self.mode)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its weights."""
        sizes = {"in_features": self.in_features, "out_features": self.out_features}
        return sizes | {"bias": self.bias is not None, "mode": self.mode}


class OneToOne(nn.Module):
    """A weight for each neuron: ``x [T, B, *size] -> [T, B, *size]``, ``y = weight x + bias``.

    Args:
        size: number of neurons, or their shape.
        bias: whether each has a constant input.

    Attributes:
        weight: ``[*size]``, one at first.
        bias: ``[*size]`` (zero at first) or None.

    Raises:
        InputError: sizes that are not positive integers.

    >>> OneToOne(3)(torch.ones(2, 1, 3)).shape
    torch.Size([2, 1, 3])
    """

    def __init__(self, size: int | Sequence[int], bias: bool = False) -> None:
        super().__init__()
        self.size = (size,) if isinstance(size, int) else tuple(size)
        if not self.size or any(not isinstance(n, int) or n < 1 for n in self.size):
            raise InputError(f"OneToOne size must be positive integers, got {size}")
        self.weight = nn.Parameter(torch.ones(self.size))
        self.bias = nn.Parameter(torch.zeros(self.size)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, *size]`` to ``[T, B, *size]``."""
        if tuple(x.shape[2:]) != self.size:
            raise InputError(f"OneToOne takes [T, B, *{self.size}] (time first), got {tuple(x.shape)}")
        y = x * self.weight
        return y if self.bias is None else y + self.bias

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its weights."""
        return {"size": list(self.size), "bias": self.bias is not None}

    def extra_repr(self) -> str:
        """The size."""
        return str(self.size)


class Conv1d(nn.Module):
    """Synapses along one axis of space: ``[T, B, C, L] -> [T, B, C', L']``, ``weight [C', C, k]``, ``bias [C']``.

    ``L`` is space (frequency channels of a cochlea), not time.

    Raises:
        InputError: channels, kernel, stride or padding out of range; later, an input too short for the kernel.

    >>> Conv1d(1, 8, 5, stride=2)(torch.zeros(10, 3, 1, 64)).shape
    torch.Size([10, 3, 8, 30])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size, "stride": stride}
        for name, value in sizes.items():
            if value < 1:
                raise InputError(f"Conv1d {name} must be at least 1, got {value}")
        if padding < 0:
            raise InputError(f"Conv1d padding must be at least 0, got {padding}")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        made = nn.Conv1d(in_channels, out_channels, kernel_size, bias=bias)
        self.weight = made.weight
        self.bias: Tensor | None = made.bias

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, L]`` to ``[T, B, C', L']``."""
        if x.dim() != 4 or x.shape[2] != self.in_channels:
            raise InputError(f"Conv1d takes [T, B, {self.in_channels}, L] (time first), got {tuple(x.shape)}")
        if x.shape[3] + 2 * self.padding < self.kernel_size:
            raise InputError(f"Conv1d kernel of {self.kernel_size} does not fit into a length of {x.shape[3]}")
        made = F.conv1d(x.flatten(0, 1), self.weight, self.bias, self.stride, self.padding)
        return made.view(*x.shape[:2], *made.shape[1:])

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its weights."""
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding")
        return {n: getattr(self, n) for n in names} | {"bias": self.bias is not None}

    def extra_repr(self) -> str:
        """Channels, kernel, stride and padding."""
        return f"{self.in_channels}, {self.out_channels}, {self.kernel_size}, {self.stride}, {self.padding}"


class Conv2d(nn.Module):
    """Convolutional synapses: ``[T, B, C, H, W] -> [T, B, C', H', W']``, ``weight [C', C, kh, kw]``.

    Args:
        mode: ``"event"``, work follows the spikes; ``"dense"``; ``"auto"``, whichever the measured
            share of non-zero inputs makes the quicker (see :func:`neuro.kernels.propagation.event_conv.event_conv2d`).

    >>> Conv2d(2, 8, 3, padding=1).weight.shape
    torch.Size([8, 2, 3, 3])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        bias: bool = True,
        *,
        mode: str = "auto",
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise unknown_name("mode", mode, MODES)
        self.in_channels, self.out_channels, self.mode = in_channels, out_channels, mode
        self.kernel_size, self.stride, self.padding = _pair(kernel_size), _pair(stride), _pair(padding)
        made = nn.Conv2d(in_channels, out_channels, self.kernel_size, bias=bias)
        self.weight = made.weight
        self.bias: Tensor | None = made.bias

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to ``[T, B, C', H', W']``."""
        if x.dim() != 5 or x.shape[2] != self.in_channels:
            raise InputError(f"Conv2d takes [T, B, {self.in_channels}, H, W] (time first), got {tuple(x.shape)}")
        made = event_conv2d(x.flatten(0, 1), self.weight, self.bias, self.stride, self.padding, mode=self.mode)
        return made.view(*x.shape[:2], *made.shape[1:])

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its weights."""
        names = ("in_channels", "out_channels")
        pairs = {n: list(getattr(self, n)) for n in ("kernel_size", "stride", "padding")}
        return {n: getattr(self, n) for n in names} | pairs | {"bias": self.bias is not None, "mode": self.mode}

    def extra_repr(self) -> str:
        """Channels, kernel, stride and padding."""
        return f"{self.in_channels}, {self.out_channels}, {self.kernel_size}, {self.stride}, {self.padding}"


class SumPool2d(nn.Module):
    """Sum over non-overlapping windows: ``[T, B, C, H, W] -> [T, B, C, H // k, W // k]``.

    >>> SumPool2d(2)(__import__("torch").ones(1, 1, 1, 4, 4)).flatten().tolist()
    [4.0, 4.0, 4.0, 4.0]
    """

    def __init__(self, kernel_size: Pair) -> None:
        super().__init__()
        self.kernel_size = _pair(kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to ``[T, B, C, H // kh, W // kw]``."""
        if x.dim() != 5:
            raise InputError(f"SumPool2d takes [T, B, C, H, W] (time first), got {tuple(x.shape)}")
        # Divided by one: a mean times the area would round, and 15 spikes would not add up to 15.
        made = F.avg_pool2d(x.flatten(0, 1), self.kernel_size, divisor_override=1)
        return made.view(*x.shape[:2], *made.shape[1:])

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer."""
        return {"kernel_size": list(self.kernel_size)}

    def extra_repr(self) -> str:
        """The window."""
        return str(self.kernel_size)


class Flatten(nn.Module):
    """``[T, B, ...] -> [T, B, N]``, channel first as NIR and torch lay it out.

    >>> Flatten()(__import__("torch").ones(5, 1, 2, 3, 3)).shape
    torch.Size([5, 1, 18])
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, ...]`` to ``[T, B, N]``."""
        return x.flatten(2)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer."""
        return {}


class Synapse(Protocol):
    """What a stateless layer offers beside ``forward``."""

    def definition(self) -> dict[str, Any]:
        """What rebuilds the layer but for its weights."""
        ...


STATELESS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {c.__name__: c for c in (Linear, OneToOne, Conv1d, Conv2d, SumPool2d, Flatten)}
)
"""The stateless layers that come with neuro, by name."""
