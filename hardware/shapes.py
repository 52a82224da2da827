"""Shapes along a sequence of layers, without the axes of time and batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod
from types import MappingProxyType
from typing import Any, TypeAlias

from torch import nn

from neuro.errors import InputError
from neuro.neurons import Cell
from neuro.synapses import AvgPool2d, Conv1d, Conv2d, Flatten, Linear, OneToOne, SparseLinear, SumPool2d

__all__ = ["Shape", "input_shape", "pair", "shape_after"]

Shape: TypeAlias = tuple[int, ...]


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """An integer or a pair of them as (height, width).

    >>> pair(3), pair((1, 2))
    ((3, 3), (1, 2))
    """
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _conv_after(layer: Conv2d, shape: Shape) -> Shape:
    out, channels, *kernel = layer.weight.shape
    if len(shape) != 3 or shape[0] != channels:
        raise InputError(f"expects ({channels}, height, width), got {shape}")
    steps = zip(shape[1:], kernel, pair(layer.stride), pair(layer.padding), strict=True)
    space = tuple((size + 2 * padding - width) // stride + 1 for size, width, stride, padding in steps)
    return _positive((out, *space), shape)


def _pool_after(layer: SumPool2d, shape: Shape) -> Shape:
    if len(shape) != 3:
        raise InputError(f"expects (channels, height, width), got {shape}")
    space = tuple(size // width for size, width in zip(shape[1:], pair(layer.kernel_size), strict=True))
    return _positive((shape[0], *space), shape)


def _mean_after(layer: AvgPool2d, shape: Shape) -> Shape:
    if len(shape) != 3:
        raise InputError(f"expects (channels, height, width), got {shape}")
    steps = zip(shape[1:], layer.kernel_size, layer.stride, layer.padding, strict=True)
    space = tuple((size + 2 * padding - width) // stride + 1 for size, width, stride, padding in steps)
    return _positive((shape[0], *space), shape)


def _positive(shape: Shape, before: Shape) -> Shape:
    if min(shape) < 1:
        raise InputError(f"leaves nothing of an input of shape {before}")
    return shape


def _linear_after(layer: Linear, shape: Shape) -> Shape:
    out, inputs = layer.weight.shape
    return _equal((inputs,), shape, (out,))


def _sparse_after(layer: SparseLinear, shape: Shape) -> Shape:
    return _equal((layer.in_features,), shape, (layer.out_features,))


def _conv1d_after(layer: Conv1d, shape: Shape) -> Shape:
    if len(shape) != 2 or shape[0] != layer.in_channels:
        raise InputError(f"expects ({layer.in_channels}, length), got {shape}")
    length = (shape[1] + 2 * layer.padding - layer.kernel_size) // layer.stride + 1
    return _positive((layer.out_channels, length), shape)


def _cell_after(layer: Cell | OneToOne, shape: Shape) -> Shape:
    return _equal(layer.size, shape, layer.size)


def _equal(expected: Shape, shape: Shape, after: Shape) -> Shape:
    if shape != expected:
        raise InputError(f"expects {expected}, got {shape}")
    return after


_AFTER: Mapping[type[nn.Module], Callable[[Any, Shape], Shape]] = MappingProxyType(
    {
        Linear: _linear_after,
        SparseLinear: _sparse_after,
        OneToOne: _cell_after,
        Conv1d: _conv1d_after,
        Conv2d: _conv_after,
        SumPool2d: _pool_after,
        AvgPool2d: _mean_after,
        Flatten: lambda _, shape: (prod(shape),),
        Cell: _cell_after,
    }
)


def shape_after(layer: nn.Module, shape: Shape) -> Shape:
    """Shape of the output of ``layer`` for an input of ``shape``, both without [T, B].

    Raises:
        InputError: the layer cannot take that shape, or is of no known kind.

    >>> import neuro
    >>> shape_after(neuro.Conv2d(2, 4, (3, 5), stride=2, padding=1), (2, 34, 34))
    (4, 17, 16)
    """
    for kind, after in _AFTER.items():
        if isinstance(layer, kind):
            return after(layer, shape)
    raise InputError(f"{type(layer).__name__} has no known output shape")


def _conv_before(layer: Conv2d, shape: Shape) -> Shape | None:
    if pair(layer.stride) != (1, 1):
        return None
    _, channels, *kernel = layer.weight.shape
    steps = zip(shape[1:], kernel, pair(layer.padding), strict=True)
    return (channels, *(size + width - 1 - 2 * padding for size, width, padding in steps))


def input_shape(layers: Iterable[nn.Module]) -> Shape | None:
    """The one input shape that a sequence of layers can take, or None where several fit.

    >>> import neuro
    >>> input_shape([neuro.Conv2d(2, 4, (3, 5)), neuro.LIF((4, 8, 6))])
    (2, 10, 10)
    >>> input_shape([neuro.SumPool2d(2), neuro.LIF((4, 8, 6))]) is None
    True
    """
    leading: list[Conv2d] = []
    for layer in layers:
        if isinstance(layer, Conv2d):
            leading.append(layer)
            continue
        if isinstance(layer, Linear):
            shape: Shape | None = (int(layer.weight.shape[1]),)
        elif isinstance(layer, SparseLinear):
            shape = (layer.in_features,)
        else:
            shape = layer.size if isinstance(layer, Cell | OneToOne) else None
        for conv in reversed(leading):
            shape = _conv_before(conv, shape) if shape is not None and len(shape) == 3 else None
        return shape
    return None
