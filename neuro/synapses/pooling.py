"""Means and maxima over windows of space, over all of it, and over groups of neurons that vote for one class."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.synapses.dense import Pair, _pair

__all__ = ["POOLING", "AvgPool2d", "GlobalMean", "MaxPool2d", "Vote"]


class _Pool2d(nn.Module):
    """Base of the windows: ``[T, B, C, H, W] -> [T, B, C, H', W']``, ``H' = (H + 2 padding - kernel) // stride + 1``."""

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        super().__init__()
        self.kernel_size, self.padding = _pair(kernel_size), _pair(padding)
        self.stride = self.kernel_size if stride is None else _pair(stride)
        name = type(self).__name__
        for option, values in (("kernel_size", self.kernel_size), ("stride", self.stride)):
            if min(values) < 1:
                raise InputError(f"{name} {option} must be at least 1, got {values}")
        if min(self.padding) < 0 or any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise InputError(f"{name} padding must be from 0 to half the window {self.kernel_size}, got {self.padding}")

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to ``[T, B, C, H', W']``."""
        name = type(self).__name__
        if x.dim() != 5:
            raise InputError(f"{name} takes [T, B, C, H, W] (time first), got {tuple(x.shape)}")
        if any(n + 2 * p < k for n, p, k in zip(x.shape[3:], self.padding, self.kernel_size, strict=True)):
            raise InputError(f"{name} window {self.kernel_size} does not fit into {tuple(x.shape[3:])}")
        made = self._pool(x.flatten(0, 1))
        return made.view(*x.shape[:2], *made.shape[1:])

    def _pool(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer."""
        return {n: list(getattr(self, n)) for n in ("kernel_size", "stride", "padding")}

    def extra_repr(self) -> str:
        """Window, stride and padding."""
        return f"{self.kernel_size}, {self.stride}, {self.padding}"


class AvgPool2d(_Pool2d):
    """Mean over windows: ``[T, B, C, H, W] -> [T, B, C, H', W']``; what lies in the padding counts as zero.

    Args:
        kernel_size: the window.
        stride: from window to window; the window itself unless given.
        padding: zeros around the input.

    Raises:
        InputError: window, stride or padding out of range; later, an input smaller than the window.

    >>> AvgPool2d(2)(__import__("torch").arange(4.0).view(1, 1, 1, 2, 2)).item()
    1.5
    """

    def _pool(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class MaxPool2d(_Pool2d):
    """Maximum over windows: ``[T, B, C, H, W] -> [T, B, C, H', W']``; of spikes, whether any of a window came.

    Args:
        kernel_size: the window.
        stride: from window to window; the window itself unless given.
        padding: places around the input that never are the maximum.

    Raises:
        InputError: window, stride or padding out of range; later, an input smaller than the window.

    >>> MaxPool2d(3, stride=2, padding=1)(__import__("torch").arange(16.0).view(1, 1, 1, 4, 4)).flatten().tolist()
    [5.0, 7.0, 13.0, 15.0]
    """

    def _pool(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class GlobalMean(nn.Module):
    """Mean over all axes behind the features: ``[T, B, C, ...] -> [T, B, C]``.

    >>> GlobalMean()(__import__("torch").ones(2, 1, 3, 4, 4)).shape
    torch.Size([2, 1, 3])
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, ...]`` to ``[T, B, C]``."""
        if x.dim() < 4:
            raise InputError(f"GlobalMean takes [T, B, C, ...] with an axis to average over, got {tuple(x.shape)}")
        return x.flatten(3).mean(3)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer."""
        return {}


class Vote(nn.Module):
    """Mean over each class's group of neurons: ``[T, B, classes * voters] -> [T, B, classes]``.

    The voting layer of Fang et al. 2021 (ICCV): averages over 10 successive neurons.

    Args:
        voters: neurons of each group, which stand side by side.

    Raises:
        InputError: no voters; later, neurons that do not divide into groups.

    >>> Vote(2)(__import__("torch").tensor([1.0, 0.0, 1.0, 1.0]).view(1, 1, 4)).tolist()
    [[[0.5, 1.0]]]
    """

    def __init__(self, voters: int) -> None:
        super().__init__()
        if isinstance(voters, bool) or not isinstance(voters, int) or voters < 1:
            raise InputError(f"Vote voters must be a whole number from 1 on, got {voters!r}")
        self.voters = voters

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, classes * voters]`` to ``[T, B, classes]``."""
        if x.dim() != 3 or x.shape[2] % self.voters:
            raise InputError(f"Vote takes [T, B, classes * {self.voters}] (time first), got {tuple(x.shape)}")
        groups: Tensor = x.unflatten(2, (-1, self.voters))
        return groups.mean(3)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer."""
        return {"voters": self.voters}

    def extra_repr(self) -> str:
        """The neurons of a group."""
        return str(self.voters)


POOLING = (AvgPool2d, MaxPool2d, GlobalMean, Vote)
"""The layers of this module."""
