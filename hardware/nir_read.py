"""A NIR file as a network: one table from node types to functions that make layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuro.errors import FileFormatError, InputError, unknown_name
from neuro.hardware.nir_chain import chain
from neuro.hardware.nir_file import Tree, read_tree
from neuro.hardware.nir_node import METADATA, Node
from neuro.hardware.shapes import Shape, pair, shape_after
from neuro.kernels.compiler.discretise import METHODS
from neuro.network import Sequential
from neuro.neurons import IF, LI, LIF, Cell, CuBaLIF
from neuro.synapses import AvgPool2d, Conv1d, Conv2d, Flatten, Linear, OneToOne, SumPool2d

__all__ = ["READERS", "Timing", "read"]


@dataclass(frozen=True)
class Timing:
    """What NIR leaves open: the time step in seconds and the discretisation, where the caller gave them."""

    dt: float | None = None
    method: str | None = None

    def of(self, node: Node) -> dict[str, Any]:
        """``dt`` and ``method`` of a cell: the node's own metadata, or what the caller gave.

        Raises:
            InputError: neither says, or they contradict each other.
        """
        stored = {key: _plain(node.metadata.pop(key, None)) for key in ("dt", "method")}
        given = {"dt": self.dt, "method": self.method}
        for key, value in given.items():
            if value is not None and stored[key] not in (None, value):
                raise node.error(f"{key}={value!r} was given but the file says {stored[key]!r}; leave {key} out")
        found = {key: stored[key] if stored[key] is not None else given[key] for key in given}
        dt, method = found["dt"], found["method"]
        if dt is None or method is None:
            raise node.error(
                "a NIR file says neither the time step nor the discretisation; "
                "give dt= in seconds and method='euler' or 'exponential'"
            )
        if not isinstance(dt, float) or not 0 < dt < math.inf:
            raise node.error(f"dt = {dt!r} is not a positive number of seconds")
        if method not in METHODS:
            raise node.error(str(unknown_name("method", str(method), METHODS)))
        return {"dt": dt, "method": str(method)}


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def _weights(layer: nn.Module, **values: Tensor) -> nn.Module:
    """Copy values in, so that the layer keeps the memory layout it chose: sums round as it lays them out."""
    layer.to(next(iter(values.values())).dtype)
    with torch.no_grad():
        for name, value in values.items():
            layer.get_parameter(name).copy_(value)
    return layer


def _linear(node: Node, shape: Shape, timing: Timing) -> nn.Module:
    weight = node.tensor("weight")
    if weight.ndim != 2:
        raise node.error(f"field 'weight' has the shape {tuple(weight.shape)}, not (out, in)")
    return _weights(_dense(node, weight, bias=False), weight=weight)


def _affine(node: Node, shape: Shape, timing: Timing) -> nn.Module:
    weight, bias = node.tensor("weight"), node.tensor("bias")
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        shapes = f"{tuple(weight.shape)} and {tuple(bias.shape)}"
        raise node.error(f"fields 'weight' and 'bias' have the shapes {shapes}, not (out, in) and (out,)")
    return _weights(_dense(node, weight, bias=True), weight=weight, bias=bias)


def _dense(node: Node, weight: Tensor, *, bias: bool) -> Linear:
    mode = str(node.metadata.pop("mode", "auto"))
    try:
        return Linear(weight.shape[1], weight.shape[0], bias, mode=mode)
    except InputError as error:
        raise node.error(str(error)) from None


def _scale(node: Node, shape: Shape, timing: Timing) -> nn.Module:
    scale = node.tensor("scale")
    if tuple(scale.shape) not in ((), shape):
        raise node.error(f"field 'scale' has the shape {tuple(scale.shape)}, but {shape} comes in")
    return _weights(OneToOne(shape), weight=scale.expand(shape))


def _conv1d(node: Node, shape: Shape, timing: Timing) -> nn.Module:
    weight, bias = node.tensor("weight"), node.tensor("bias")
    if weight.ndim != 3 or bias.shape != weight.shape[:1]:
        shapes = f"{tuple(weight.shape)} and {tuple(bias.shape)}"
        raise node.error(f"fields 'weight' and 'bias' have the shapes {shapes}, not (out, in, length) and (out,)")
    (stride,), kernel = node.integers("stride", 1), weight.shape[2]
    padding, _ = _padding(node, (kernel, 1), (stride, 1), count=1)
    for field in ("dilation", "groups"):
        if (value := node.integers(field, 1)) != (1,):
            node.refuse(field, value[0], "is not 1, which neuro.Conv1d does not do")
    _check_shape(node, "input_shape", shape[1:])
    try:
        layer = Conv1d(weight.shape[1], weight.shape[0], kernel, stride=stride, padding=padding)
    except InputError as error:
        raise node.error(str(error)) from None
    return _weights(layer, weight=weight, bias=bias)


def _conv2d(node: Node, shape: Shape, timing: Timing) -> nn.Module:
    weight, bias = node.tensor("weight"), node.tensor("bias")
    if weight.ndim != 4 or bias.shape != weight.shape[:1]:
        shapes = f"{tuple(weight.shape)} and {tuple(bias.shape)}"
        raise node.error(
            f"fields 'weight' and 'bias' have the shapes {shapes}, not (out, in, height, width) and (out,)"
        )
    stride = pair(node.integers("stride", 2))
    padding = _padding(node, (weight.shape[2], weight.shape[3]), stride)
    if (dilation := node.integers("dilation", 2)) != (1, 1):
        node.refuse("dilation", dilation, "is not 1, which neuro.Conv2d does not do")
    if (groups := node.integers("groups", 1)) != (1,):
        node.refuse("groups", groups[0], "is not 1, which neuro.Conv2d does not do")
    _check_shape(node, "input_shape", shape[1:])
    out, channels, height, width = weight.shape
    layer = Conv2d(channels, out, (height, width), stride=stride, padding=padding)
    return _weights(layer, weight=weight, bias=bias)


def _padding(node: Node, kernel: tuple[int, int], stride: tuple[int, int], count: int = 2) -> tuple[int, int]:
    if not node.is_text("padding"):
        return pair((node.integers("padding", count) * 2)[:2])
    name = node.take("padding")
    if name == "valid":
        return (0, 0)
    if name != "same" or stride != (1, 1) or kernel[0] % 2 == 0 or kernel[1] % 2 == 0:
        raise node.error(
            f"field 'padding' = {name!r} with a kernel of {kernel} and stride {stride} is not a padding in pixels"
        )
    return (kernel[0] // 2, kernel[1] // 2)


def _sum_pool2d(node: Node, shape: Shape, timing: Timing) -> nn.Module:
    kernel = pair(node.integers("kernel_size", 2))
    if (stride := node.integers("stride", 2)) != kernel:
        node.refuse("stride", stride, f"is not the kernel size {kernel}, which neuro.SumPool2d does not do")
    if (padding := node.integers("padding", 2)) != (0, 0):
        node.refuse("padding", padding, "is not 0, which neuro.SumPool2d does not do")
    return SumPool2d(kernel)


def _avg_pool2d(node: Node, shape: Shape, timing: Timing) -> nn.Module:
    kernel, stride, padding = (pair(node.integers(field, 2)) for field in ("kernel_size", "stride", "padding"))
    try:
        return AvgPool2d(kernel, stride, padding)
    except InputError as error:
        raise node.error(str(error)) from None


def _flatten(node: Node, shape: Shape, timing: Timing) -> nn.Module:
    """NIR counts the axes without the batch, so that 0 to -1 is all of them."""
    _check_shape(node, "input_type", shape)
    last = len(shape) - 1
    start = node.integers("start_dim", 1)[0] if node.has("start_dim") else 1
    end = node.integers("end_dim", 1)[0] if node.has("end_dim") else -1
    if last > 0 and start not in (0, -len(shape)):
        node.refuse("start_dim", start, f"leaves axes of {shape} as they are, which neuro.Flatten does not do")
    if last > 0 and end not in (-1, last):
        node.refuse("end_dim", end, f"leaves axes of {shape} as they are, which neuro.Flatten does not do")
    return Flatten()


def _check_shape(node: Node, field: str, expected: Shape) -> None:
    if node.has(field) and (stored := node.take(field)) is not None:
        seen = tuple(int(n) for n in np.atleast_1d(np.asarray(stored)))
        if seen != expected:
            node.refuse(field, seen, f"contradicts {expected}, the shape that comes in")


def _cell(kind: type[Cell], **defaults: float) -> Callable[[Node, Shape, Timing], nn.Module]:
    """Reader of a neuron whose parameters have the names NIR gives them.

    ``defaults`` are the values that NIR itself states for a field left out.
    """

    def reader(node: Node, shape: Shape, timing: Timing) -> nn.Module:
        values: dict[str, Tensor] = {}
        for name in kind.equations.parameters:
            if name in defaults and not node.has(name):
                values[name] = torch.full(shape, defaults[name], dtype=node.dtype)
                continue
            value = node.tensor(name)
            values[name] = value = value.expand(shape) if value.ndim == 0 else value
            if tuple(value.shape) != shape:
                raise node.error(f"field {name!r} has the shape {tuple(value.shape)}, but {shape} comes in")
        options: dict[str, Any] = {**values, **timing.of(node)}
        if kind.equations.drive is not None:
            options["reset"] = str(node.metadata.pop("reset", "value"))
        if "refractory" in node.metadata:
            options["refractory"] = torch.as_tensor(node.metadata.pop("refractory"), dtype=node.dtype)
        try:
            return kind(shape, learn=(), **options)
        except InputError as error:
            raise node.error(str(error)) from None

    return reader


READERS: Mapping[str, Callable[[Node, Shape, Timing], nn.Module]] = MappingProxyType(
    {
        "Affine": _affine,
        "AvgPool2d": _avg_pool2d,
        "Conv1d": _conv1d,
        "Conv2d": _conv2d,
        "CubaLIF": _cell(CuBaLIF, v_reset=0.0, w_in=1.0),
        "Flatten": _flatten,
        "IF": _cell(IF, v_reset=0.0),
        "LI": _cell(LI),
        "LIF": _cell(LIF, v_reset=0.0),
        "Linear": _linear,
        "Scale": _scale,
        "SumPool2d": _sum_pool2d,
    }
)
"""Type of a NIR node -> function of (node, shape that comes in, timing) that makes the layer."""


def read(
    path: str | Path, *, dt: float | None = None, method: str | None = None, allow: Collection[str] = ()
) -> Sequential:
    """The network in a NIR file; every field of every node is used, or this raises.

    Args:
        path: the file.
        dt: time step in seconds; needed where the file's metadata has none (files of other libraries).
        method: ``"euler"`` or ``"exponential"``; needed likewise.
        allow: names of fields that may be lost, and ``"precision"`` for float64 values that
            round in float32.

    Returns:
        A network whose parameters have the bits in the file. It is float64 where all weights
        in the file are, float32 otherwise.

    Raises:
        FileFormatError: the file is truncated, corrupt or no NIR file.
        InputError: the graph says what a ``neuro.Sequential`` cannot; the message names node,
            field and value. Also for a contradiction between ``dt`` or ``method`` and the file.
    """
    trees, edges = _graph(Path(path))
    try:
        nodes = [Node(name, trees[name], allow=allow, dtype=_dtype(trees)) for name in chain(list(trees), edges)]
        return _network(nodes, Timing(dt, method))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _network(nodes: list[Node], timing: Timing) -> Sequential:
    if not nodes:
        raise InputError("the graph has no nodes")
    if nodes[0].kind != "Input":
        raise nodes[0].error("comes first but is no Input, so the shape that comes in is unknown")
    shape = nodes[0].integers("shape")
    nodes[0].close()
    layers: dict[str, nn.Module] = {}
    for node in nodes[1:]:
        if node is nodes[-1] and node.kind == "Output":
            _check_shape(node, "shape", shape)
        else:
            layers[node.name], shape = _layer(node, shape, timing)
            _check_dt(node, layers)
        node.close()
    return Sequential(_names(layers))


def _layer(node: Node, shape: Shape, timing: Timing) -> tuple[nn.Module, Shape]:
    if node.kind not in READERS:
        raise node.error(f"this type of node is not in neuro.Sequential (known: {', '.join(READERS)})")
    layer = READERS[node.kind](node, shape, timing)
    try:
        return layer, shape_after(layer, shape)
    except InputError as error:
        raise node.error(str(error)) from None


def _check_dt(node: Node, layers: Mapping[str, nn.Module]) -> None:
    steps = {layer.dt for layer in layers.values() if isinstance(layer, Cell)}
    if len(steps) > 1:
        raise node.error(f"metadata {METADATA}/dt is not that of the nodes before: {sorted(steps)} s")


def _names(layers: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Names a module can have: the node's with "_" for ".", and one more where it is taken."""
    taken = {"", *dir(Sequential), *vars(nn.Module())}
    plain = {name: name.replace(".", "_") for name in layers}
    renamed = {n + "_" * (n in taken): layers[name] for name, n in plain.items()}
    if len(renamed) != len(layers):
        raise InputError(f"two of the nodes {', '.join(layers)} have the same name once '.' is '_'")
    return renamed


def _graph(path: Path) -> tuple[dict[str, Tree], list[tuple[str, str]]]:
    """Nodes by name and the edges of the graph in a file."""
    tree = read_tree(path)
    graph = tree.get("node")
    if not isinstance(tree.get("version"), str) or not isinstance(graph, dict):
        raise FileFormatError(path, f"an HDF5 file, but no NIR graph in it (it holds {', '.join(tree) or 'nothing'})")
    if graph.get("type") != "NIRGraph":
        raise FileFormatError(path, f"holds a {graph.get('type')!r}, not a NIRGraph")
    nodes, edges = graph.get("nodes"), graph.get("edges")
    if not isinstance(nodes, dict) or not all(isinstance(n, dict) for n in nodes.values()):
        raise FileFormatError(path, "the graph has no group of nodes")
    if not isinstance(edges, list) or not all(isinstance(e, list) and len(e) == 2 for e in edges):
        raise FileFormatError(path, "the graph has no list of edges (pairs of names)")
    if unknown := sorted(set(graph) - {"type", "nodes", "edges", "metadata"}):
        raise InputError(f"{path}: the graph has a field {unknown[0]!r}, which is not understood")
    return {k: n for k, n in nodes.items() if isinstance(n, dict)}, [(str(a), str(b)) for a, b in edges]


def _dtype(trees: Mapping[str, Tree]) -> torch.dtype:
    weights = [tree["weight"] for tree in trees.values() if "weight" in tree]
    wide = all(isinstance(w, np.ndarray) and w.dtype == np.float64 for w in weights)
    return torch.float64 if weights and wide else torch.float32
