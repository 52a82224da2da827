"""A network at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from neuro.layer import StatefulLayer
from neuro.network.base import Apply, Network, leaves
from neuro.synapses import Embedding, Flatten, Linear, SpikingEmbedding
from neuro.synapses.fan_out import fan_out

__all__ = ["LayerSummary", "Summary", "summary"]


@dataclass(frozen=True)
class LayerSummary:
    """One layer.

    Args:
        name: dotted name.
        kind: class name.
        output: shape of its output, without time and batch.
        parameters: trained values.
        state: values carried from step to step by one sample.
        operations: multiply-accumulates of one step of one sample, were everything dense and active.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    state: int
    operations: int


@dataclass(frozen=True)
class Summary:
    """Rows of all layers; printed, a table with sums (a parameter used twice counts once there)."""

    rows: tuple[LayerSummary, ...]
    parameters: int

    def __str__(self) -> str:
        head = ("layer", "", "output", "parameters", "state", "operations a step")
        body = [
            (r.name, r.kind, "x".join(map(str, r.output)), f"{r.parameters:,}", f"{r.state:,}", f"{r.operations:,}")
            for r in self.rows
        ]
        sums = (f"{sum(getattr(r, key) for r in self.rows):,}" for key in ("state", "operations"))
        table = [head, *body, ("all", "", "", f"{self.parameters:,}", *sums)]
        widths = [max(len(row[k]) for row in table) for k in range(len(head))]
        aligned = (
            [c.ljust(w) if k < 3 else c.rjust(w) for k, (c, w) in enumerate(zip(r, widths, strict=True))] for r in table
        )
        return "\n".join("  ".join(cells).rstrip() for cells in aligned)


@torch.no_grad()
def summary(net: Network, shape: tuple[int, ...] | None = None) -> Summary:
    """Shapes, parameters, state and operations of every layer, from one step of silence.

    Args:
        net: the network.
        shape: of one step of one sample of its input; what its first dense layer takes unless given.

    Raises:
        InputError: what a layer refuses of an input of that shape.

    >>> import neuro
    >>> net = neuro.Sequential(neuro.Linear(4, 3), neuro.LIF(3))
    >>> print(neuro.summary(net))
    layer          output  parameters  state  operations a step
    0      Linear  3               15      0                 12
    1      LIF     3                3      3                  0
    all                            18      3                 12
    """
    from neuro.errors import InputError

    first = next((m for _, m in leaves(net) if not isinstance(m, Flatten)), None)
    reads_tokens = isinstance(first, Embedding | SpikingEmbedding)
    if shape is None and reads_tokens:
        shape = ()
    if shape is None:
        if not isinstance(first, Linear):
            raise InputError("the first layer leaves the shape of the input open; give summary(net, shape)")
        shape = (first.in_features,)
    like = next((p for p in net.parameters() if p.is_floating_point()), torch.zeros(()))
    silence = torch.zeros((1, 1, *shape), dtype=torch.int64 if reads_tokens else like.dtype, device=like.device)
    rows: dict[str, LayerSummary] = {}
    modes = {m: m.training for m in net.modules()}
    net.eval()
    try:
        net.run(silence, None, _watch(rows))
    finally:
        for module, training in modes.items():
            module.training = training
    return Summary(tuple(rows.values()), sum(p.numel() for p in net.parameters() if p.requires_grad))


def _watch(rows: dict[str, LayerSummary], prefix: str = "") -> Apply:
    def apply(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], before: Any) -> tuple[Tensor, Any]:
        dotted = prefix + name
        if isinstance(layer, Network):
            return layer.run(inputs[0], before, _watch(rows, f"{dotted}."))
        made, after = layer(*inputs, before) if isinstance(layer, StatefulLayer) else (layer(*inputs), None)
        rows[dotted] = LayerSummary(
            name=dotted,
            kind=type(layer).__name__,
            output=tuple(made.shape[2:]),
            parameters=sum(p.numel() for p in layer.parameters() if p.requires_grad),
            state=sum(prod(s.shape[1:]) for s in after or ()),
            operations=_operations(layer, tuple(inputs[0].shape[2:])),
        )
        return made, after

    return apply


def _operations(layer: nn.Module, shape: tuple[int, ...]) -> int:
    driven = fan_out(layer, shape)
    if driven is not None:
        return int(driven.sum())
    neurons = len(getattr(layer, "size", ()))
    return sum(p.numel() for p in layer.parameters() if p.ndim >= 2 and p.ndim > neurons)
