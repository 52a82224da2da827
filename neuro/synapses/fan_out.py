"""How many synapses a spike drives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuro.synapses.delays import DelayedLinear
from neuro.synapses.dense import Conv1d, Conv2d, Linear, OneToOne
from neuro.synapses.sparse import SparseLinear

__all__ = ["fan_out"]


def fan_out(layer: nn.Module, shape: tuple[int, ...]) -> Tensor | None:
    """How many synapses each presynaptic element of ``layer`` drives, or None if it has no weights.

    Args:
        layer: the synapse layer.
        shape: ``[N]``, ``[C, L]`` or ``[C, H, W]``, the shape of one step of one sample of its input.

    Returns:
        int64 of that shape. At the border of a convolution fewer kernel positions reach an
        element, and a stride may leave some unread; both are counted as they are.

    >>> fan_out(Conv2d(1, 2, 3, bias=False), (1, 4, 4)).tolist()
    [[[2, 4, 4, 2], [4, 8, 8, 4], [4, 8, 8, 4], [2, 4, 4, 2]]]
    """
    if isinstance(layer, Linear | DelayedLinear):
        return torch.full(shape, layer.weight.shape[0])
    if isinstance(layer, Conv2d):
        return _fan_out_of_convolution(layer, shape)
    if isinstance(layer, Conv1d):
        read = _readers(shape[-1], layer.kernel_size, layer.stride, layer.padding)
        return (layer.out_channels * read).expand(shape)
    if isinstance(layer, SparseLinear):
        return layer.indptr.diff().cpu()
    return torch.ones(shape, dtype=torch.int64) if isinstance(layer, OneToOne) else None


def _fan_out_of_convolution(layer: Conv2d, shape: tuple[int, ...]) -> Tensor:
    rows, columns = (
        _readers(extent, kernel, stride, padding)
        for extent, kernel, stride, padding in zip(
            shape[-2:], layer.weight.shape[-2:], _pair(layer.stride), _pair(layer.padding), strict=True
        )
    )
    return (layer.weight.shape[0] * torch.outer(rows, columns)).expand(shape)


def _readers(extent: int, kernel: int, stride: int, padding: int) -> Tensor:
    """``[extent]``: how many kernel positions along one axis read each element."""
    outputs = (extent + 2 * padding - kernel) // stride + 1
    read = torch.arange(outputs)[:, None] * stride - padding + torch.arange(kernel)
    return torch.bincount(read[(read >= 0) & (read < extent)], minlength=extent)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)
