"""A network as a NIR file: one table from layer types to functions that make nodes."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nir
import numpy as np
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

import neuro
from neuro.errors import InputError
from neuro.files import atomic_write
from neuro.hardware.nir_node import METADATA
from neuro.hardware.shapes import Shape, input_shape, pair, shape_after
from neuro.network import Network
from neuro.network.base import NORMS
from neuro.neurons import IF, LI, LIF, Cell, CuBaLIF
from neuro.synapses import AvgPool2d, Conv1d, Conv2d, Flatten, Linear, OneToOne, SparseLinear, SumPool2d

__all__ = ["ALLOW", "WRITERS", "Written", "write"]

ALLOW = ("reset", "refractory")
"""Losses that :func:`write` can be told to accept."""


@dataclass(frozen=True)
class Written:
    """What went into a NIR file.

    Attributes:
        nodes: one line per node in the order of the graph: name, type and shapes.
        parameters: how many numbers (weights, biases, neuron parameters) the nodes hold.
        notes: what the file says exactly, and what a reader of it has to know besides.
    """

    nodes: tuple[str, ...]
    parameters: int
    notes: tuple[str, ...]


def _array(value: Tensor) -> np.ndarray:
    array: np.ndarray = value.detach().cpu().contiguous().numpy()
    return array


def _linear(layer: Linear, shape: Shape) -> nir.NIRNode:
    bias = dict(layer.named_parameters()).get("bias")
    if bias is None:
        return nir.Linear(weight=_array(layer.weight))
    return nir.Affine(weight=_array(layer.weight), bias=_array(bias))


def _sparse(layer: SparseLinear, shape: Shape) -> nir.NIRNode:
    """NIR has no sparse weights: a dense matrix with zeros."""
    weight = _array(layer.dense())
    return nir.Linear(weight=weight) if layer.bias is None else nir.Affine(weight=weight, bias=_array(layer.bias))


def _one_to_one(layer: OneToOne, shape: Shape) -> nir.NIRNode:
    return nir.Scale(scale=_array(layer.weight))


def _conv1d(layer: Conv1d, shape: Shape) -> nir.NIRNode:
    weight = _array(layer.weight)
    return nir.Conv1d(
        input_shape=shape[1],
        weight=weight,
        stride=layer.stride,
        padding=layer.padding,
        dilation=1,
        groups=1,
        bias=np.zeros(weight.shape[0], weight.dtype) if layer.bias is None else _array(layer.bias),
    )


def _conv2d(layer: Conv2d, shape: Shape) -> nir.NIRNode:
    bias = dict(layer.named_parameters()).get("bias")
    weight = _array(layer.weight)
    return nir.Conv2d(
        input_shape=tuple(shape[1:]),
        weight=weight,
        stride=pair(layer.stride),
        padding=pair(layer.padding),
        dilation=(1, 1),
        groups=1,
        bias=np.zeros(weight.shape[0], weight.dtype) if bias is None else _array(bias),
    )


def _sum_pool2d(layer: SumPool2d, shape: Shape) -> nir.NIRNode:
    kernel = np.array(pair(layer.kernel_size))
    return nir.SumPool2d(kernel_size=kernel, stride=kernel, padding=np.array([0, 0]))


def _avg_pool2d(layer: AvgPool2d, shape: Shape) -> nir.NIRNode:
    kernel, stride, padding = (np.array(p) for p in (layer.kernel_size, layer.stride, layer.padding))
    return nir.AvgPool2d(kernel_size=kernel, stride=stride, padding=padding)


def _flatten(layer: Flatten, shape: Shape) -> nir.NIRNode:
    return nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1)


def _cell(make: Callable[..., nir.NIRNode]) -> Callable[[Cell, Shape], nir.NIRNode]:
    """Writer of a neuron whose parameters have the names NIR gives them, one value per neuron each."""

    def writer(cell: Cell, shape: Shape) -> nir.NIRNode:
        return make(**{name: _array(value) for name, value in cell.parameters_si().items()})

    return writer


WRITERS: Mapping[type[nn.Module], Callable[[Any, Shape], nir.NIRNode]] = MappingProxyType(
    {
        AvgPool2d: _avg_pool2d,
        Conv1d: _conv1d,
        Conv2d: _conv2d,
        CuBaLIF: _cell(nir.CubaLIF),
        Flatten: _flatten,
        IF: _cell(nir.IF),
        LI: _cell(nir.LI),
        LIF: _cell(nir.LIF),
        Linear: _linear,
        OneToOne: _one_to_one,
        SparseLinear: _sparse,
        SumPool2d: _sum_pool2d,
    }
)
"""Type of a layer -> function of (layer, shape that comes in) that makes the node."""


def write(net: Network, path: str | Path, *, shape: Shape | None = None, allow: Collection[str] = ()) -> Written:
    """Write ``net`` as a NIR file, whole or not at all.

    NIR has neither a time step nor a discretisation, and its one reset is to ``v_reset``. The
    file's metadata keeps ``dt`` [s], ``method``, ``reset`` and ``refractory`` [s] of each cell, and
    the ``mode`` of dense synapses (the order of their sums), for :func:`neuro.hardware.read`;
    surrogates and what trains are not kept.

    Args:
        net: the network.
        path: the file; replaced if it exists.
        shape: shape of one input without time and batch, ``(C, H, W)``; needed where the
            layers leave it open (a strided convolution or a pooling first).
        allow: ``"reset"`` writes cells that do not reset to ``v_reset`` all the same, ``"refractory"``
            those with a refractory period.

    Raises:
        InputError: a layer, reset or shape that NIR cannot express; the message names the layer.
    """
    shapes = _shapes(net, shape)
    nodes: dict[str, nir.NIRNode] = {}
    for (name, layer), before in zip(net.layers.items(), shapes[:-1], strict=True):
        nodes[name] = _node(name, layer, before, allow)
    first, last = _free("input", nodes), _free("output", nodes)
    graph = {
        first: nir.Input(input_type={"input": np.array(shapes[0])}),
        **nodes,
        last: nir.Output(output_type={"output": np.array(shapes[-1])}),
    }
    names = list(graph)
    edges = list(itertools.pairwise(names))
    metadata = {METADATA: {"version": neuro.__version__}}
    # In memory first: HDF5 does not survive a disk that fills up under it (it crashes the process at close).
    content = io.BytesIO()
    # nir 1.0.8 checks shapes with the height of a kernel for its width; ours are checked above.
    nir.write(content, nir.NIRGraph(graph, edges, metadata=metadata, type_check=False))
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.getbuffer())
    lines = (
        f"{name}: {type(node).__name__} {_text(before)} -> {_text(after)}"
        for (name, node), before, after in zip(nodes.items(), shapes[:-1], shapes[1:], strict=True)
    )
    return Written(tuple(lines), sum(_count(n) for n in nodes.values()), _notes(net, graph, edges))


def _shapes(net: Network, given: Shape | None) -> list[Shape]:
    """Shape into the first layer, and out of each."""
    for name, layer in net.layers.items():
        _check_kind(name, layer)
    start = input_shape(net.layers.values()) if given is None else tuple(given)
    if start is None:
        first = next(iter(net.layers))
        raise InputError(f"layer {first!r} leaves the shape of the input open; give shape=(channels, height, width)")
    shapes = [start]
    for name, layer in net.layers.items():
        try:
            shapes.append(shape_after(layer, shapes[-1]))
        except InputError as error:
            raise InputError(f"layer {name!r} ({type(layer).__name__}): {error}") from None
    return shapes


def _check_kind(name: str, layer: nn.Module) -> None:
    if isinstance(layer, Network):
        raise InputError(
            f"layer {name!r} is a {type(layer).__name__}, and what is written is one chain of layers; "
            "give the layers of a Sequential one by one; branches and cycles are not written yet"
        )
    if isinstance(layer, NORMS):
        raise InputError(
            f"layer {name!r} ({type(layer).__name__}) is a normalisation, which NIR does not have; write neuro.fold(net), "
            "the same network without it"
        )
    if type_before_parametrizations(layer) not in WRITERS:
        known = ", ".join(kind.__name__ for kind in WRITERS)
        raise InputError(f"layer {name!r} ({type(layer).__name__}) has no node in NIR (known: {known})")
    if isinstance(layer, OneToOne) and layer.bias is not None:
        raise InputError(f"layer {name!r} (OneToOne) has a bias, which the Scale of NIR has not; use bias=False")


def _node(name: str, layer: nn.Module, shape: Shape, allow: Collection[str]) -> nir.NIRNode:
    if isinstance(layer, Cell):
        for loss, why in _losses(layer).items():
            if loss not in allow:
                raise InputError(
                    f"layer {name!r} ({type(layer).__name__}): {why}; other libraries would run another network; "
                    f"accept that with allow=({loss!r},)"
                )
    # A parametrised layer is written with the weights it uses: standardised, quantised or binary.
    node = WRITERS[type_before_parametrizations(layer)](layer, shape)
    if kept := _metadata(layer):
        node.metadata = {METADATA: kept}
    return node


def _losses(cell: Cell) -> dict[str, str]:
    """What NIR has no field for, by the name under which its loss can be allowed."""
    losses = {}
    if cell.equations.drive is not None and cell.reset != "value":
        losses["reset"] = f"reset={cell.reset!r} is not in NIR, whose reset is to v_reset"
    if _refractory(cell) is not None:
        losses["refractory"] = "a refractory period is not in NIR"
    return losses


def _refractory(cell: Cell) -> Tensor | None:
    """Seconds for each neuron, or None for a cell without a refractory period."""
    held = dict(cell.named_buffers()).get("refractory")
    return None if held is None else held.expand(cell.size)


def _metadata(layer: nn.Module) -> dict[str, Any]:
    if isinstance(layer, Linear):
        return {"mode": layer.mode}
    if not isinstance(layer, Cell):
        return {}
    kept: dict[str, Any] = {"dt": layer.dt, "method": layer.method}
    if layer.equations.drive is not None:
        kept["reset"] = layer.reset
    if (held := _refractory(layer)) is not None:
        kept["refractory"] = _array(held)
    return kept


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _count(node: nir.NIRNode) -> int:
    values = (value for key, value in vars(node).items() if key not in ("kernel_size", "stride", "padding"))
    return sum(value.size for value in values if isinstance(value, np.ndarray))


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _notes(net: Network, graph: dict[str, nir.NIRNode], edges: list[tuple[str, str]]) -> tuple[str, ...]:
    notes = ["exact: topology, weights, and every neuron parameter with its bits"]
    for cell in list(net.cells.values())[:1]:
        notes.append(f"in the metadata only, which other libraries do not read: dt = {cell.dt:g} s, method, reset")
    if any(cell.method != "euler" for cell in net.cells.values()):
        notes.append("approximate elsewhere: method 'exponential'; most readers of NIR step with forward Euler")
    lost = dict.fromkeys(why for cell in net.cells.values() for why in _losses(cell).values())
    notes += [f"lost elsewhere: {why}" for why in lost]
    if any(isinstance(layer, SparseLinear) for layer in net.layers.values()):
        notes.append("sparse synapses are written as a dense matrix with zeros: NIR has no other; they read back dense")
    if any(isinstance(layer, Conv1d | Conv2d) and layer.bias is None for layer in net.layers.values()):
        notes.append("a convolution without bias is written with zeros: NIR has no other")
    try:
        nir.NIRGraph(graph, edges)
    except ValueError as error:
        notes.append(f"nir {nir.version} refuses its shapes ({error}); read it there with type_check=False")
    return tuple(notes)
