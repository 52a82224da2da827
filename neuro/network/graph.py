"""Networks of any shape: layers as nodes, and edges with delays, cycles included."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neuro.errors import InputError, unknown_name
from neuro.layer import Joint, StatefulLayer
from neuro.network.base import NORMS, Apply, Network, NetworkState

__all__ = ["Graph"]

_INPUT, _OUTPUT = "input", "output"


class _Edge(NamedTuple):
    source: str
    target: str
    steps: int


class Graph(Network):
    """Layers as nodes of a graph. What arrives at a node is added up; a :class:`neuro.layer.Joint` takes it piece by piece.

    A node runs over the whole sequence at once, in kernels that fuse time, unless it lies on a cycle; the nodes of a
    cycle run in stretches as long as its shortest delay, which gives the same spikes as step by step.

    Args:
        nodes: layers by name; "input" and "output" are taken.
        edges: (source, target) or (source, target, delay in seconds, a whole number of steps); "input" is what
            comes in, and what arrives at "output" goes out. The edges into a node of several inputs are these, in
            order.

    Raises:
        InputError: an edge to nothing; a node or the output that nothing reaches; a delay that is negative or no whole
            number of steps; a cycle without delay; a number of inputs that does not fit a node.

    >>> import torch, neuro
    >>> nodes = {"in": neuro.Linear(4, 3), "cell": neuro.LIF(3), "back": neuro.Linear(3, 3)}
    >>> edges = [("input", "in"), ("in", "cell"), ("cell", "back", 2e-3), ("back", "cell"), ("cell", "output")]
    >>> y, state = neuro.Graph(nodes, edges)(torch.ones(10, 1, 4))
    >>> y.shape
    torch.Size([10, 1, 3])
    """

    edges: tuple[_Edge, ...] = ()  # here already, so that no node takes the name
    _groups: tuple[tuple[tuple[str, ...], int], ...] = ()  # nodes, and the stretch in which those of a cycle run

    def __init__(self, nodes: Mapping[str, nn.Module], edges: Iterable[Sequence[Any]]) -> None:
        if taken := {_INPUT, _OUTPUT} & set(nodes):
            raise InputError(f"a node cannot be named {min(taken)!r}, which stands for what comes in or goes out")
        super().__init__(nodes.items())
        self.edges = tuple(self._edge(*edge) for edge in edges)
        for name, layer in self.layers.items():
            into = sum(e.target == name for e in self.edges)
            if isinstance(layer, Joint) and into != layer.inputs:
                raise InputError(
                    f"node {name!r} ({type(layer).__name__}) takes {layer.inputs} inputs, got {into} edges"
                )
        found = _components([*self.layers, _OUTPUT], self.edges)
        self._groups = tuple((group, _stretch(group, self.edges)) for group in found)

    def _edge(self, source: str, target: str, delay: float = 0.0) -> _Edge:
        for name, known in ((source, (_INPUT, *self.layers)), (target, (*self.layers, _OUTPUT))):
            if name not in known:
                raise unknown_name(f"end of the edge {source!r} -> {target!r}:", name, known)
        steps = delay / self.dt if delay else 0.0
        if not (math.isfinite(steps) and steps >= 0 and abs(steps - round(steps)) < 1e-6 * max(1.0, steps)):
            raise InputError(
                f"edge {source!r} -> {target!r}: delay must be a whole number of steps of dt={self.dt:g} s, at least 0, "
                f"got {delay} s"
            )
        return _Edge(source, target, round(steps))

    @property
    def cyclic(self) -> frozenset[str]:
        """Nodes that lie on a cycle."""
        return frozenset(name for group, stretch in self._groups if stretch for name in group)

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> NetworkState:
        """All states zero; nothing on the way along the edges, which is None."""
        nodes = super().initial_state(batch, device=device, dtype=dtype)
        return nodes, (None,) * len(self.edges)

    def run(self, x: Tensor, state: NetworkState | None, apply: Apply) -> tuple[Tensor, NetworkState]:
        """As in :meth:`Network.run`; the state is that of the nodes, and ``[B, steps, ...]`` of each delayed edge."""
        if state is not None and len(state) != 2:
            raise InputError(f"state of a Graph must be that of its nodes and of its edges, got {len(state)} entries")
        nodes, held = (None, None) if state is None else state
        flow = _Flow(self, x, self._states(nodes), held or (None,) * len(self.edges), apply)
        for group, stretch in self._groups:
            if stretch:
                flow.cycle(group, stretch)
            else:
                flow.node(group[0])
        return flow.made[_OUTPUT], (tuple(flow.after[n] for n in self.layers), flow.on_the_way())

    def arrangement(self) -> dict[str, Any]:
        """Layers and edges, delays in seconds."""
        edges = [[e.source, e.target, *([e.steps * self.dt] if e.steps else [])] for e in self.edges]
        return {**super().arrangement(), "edges": edges}

    def extra_repr(self) -> str:
        """The edges."""
        return ", ".join(f"{e.source} -> {e.target}" + (f" ({e.steps} steps)" if e.steps else "") for e in self.edges)


class _Flow:
    """What has been made so far in one run."""

    def __init__(self, graph: Graph, x: Tensor, states: NetworkState, held: NetworkState, apply: Apply) -> None:
        self.layers, self.edges, self.apply = graph.layers, graph.edges, apply
        self.made = {_INPUT: x}
        self.after: dict[str, Any] = dict(zip(graph.layers, states, strict=True))
        self.held = {e: None if h is None else h.transpose(0, 1) for e, h in zip(graph.edges, held, strict=True)}

    def into(self, name: str) -> list[_Edge]:
        return [e for e in self.edges if e.target == name]

    def node(self, name: str) -> None:
        """A node over the whole sequence."""
        parts = [self._delayed(e, self.made[e.source]) for e in self.into(name)]
        self.made[name], self.after[name] = self._applied(name, parts, self.after.get(name))

    def cycle(self, group: Collection[str], stretch: int) -> None:
        """The nodes of a cycle, stretch by stretch."""
        inner = [e for e in self.edges if e.source in group and e.target in group]
        outer = {e: self._delayed(e, self.made[e.source]) for n in group for e in self.into(n) if e not in inner}
        for e, y in self._unheard(group, inner).items():
            self.held[e] = _silence(y, e.steps)
        pieces: dict[str, list[Tensor]] = {n: [] for n in group}
        total = self.made[_INPUT].shape[0]
        for start in range(0, max(total, 1), stretch):
            steps = min(stretch, total - start)
            arrived = {e: y[start : start + steps] for e, y in outer.items()}
            arrived |= {e: self._line(e)[:steps] for e in inner if e.steps}
            for name in group:  # in an order in which what has no delay comes first
                parts = [arrived[e] if e in arrived else pieces[e.source][-1] for e in self.into(name)]
                y, self.after[name] = self._applied(name, parts, self.after[name])
                pieces[name].append(y)
            for e in inner:
                if e.steps:
                    self.held[e] = torch.cat([self._line(e)[steps:], pieces[e.source][-1]])
        self.made |= {n: torch.cat(ys) if len(ys) > 1 else ys[0] for n, ys in pieces.items()}

    def _line(self, edge: _Edge) -> Tensor:
        held: Tensor | None = self.held[edge]
        assert held is not None
        return held

    def _unheard(self, group: Collection[str], inner: list[_Edge]) -> dict[_Edge, Tensor]:
        """For the edges of a cycle that nothing is on yet, an empty sequence ``[0, B, ...]`` of what will be."""
        wanted = [e for e in inner if e.steps and self.held[e] is None]
        empty = {name: y[:0] for name, y in self.made.items()}
        waiting = list(group) if wanted else []
        while waiting:
            for name in waiting:
                known = [empty[e.source] for e in self.into(name) if e.source in empty]
                layer = self.layers[name]
                if known and (not isinstance(layer, Joint) or len(known) == layer.inputs):
                    empty[name] = _empty(layer, known)
                    break
            else:
                raise InputError(
                    f"nodes {waiting} wait for each other before anything has been sent; let the input reach them "
                    "all, or add up what they take together"
                )
            waiting.remove(name)
        return {e: empty[e.source] for e in wanted}

    def _applied(self, name: str, parts: list[Tensor], before: Any) -> tuple[Tensor, Any]:
        if name in self.layers and isinstance(self.layers[name], Joint):
            return self.apply(name, self.layers[name], tuple(parts), before)
        shapes = {tuple(p.shape) for p in parts}
        if len(shapes) > 1:
            raise InputError(f"what arrives at node {name!r} differs in shape: {sorted(shapes)}; it is added up")
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return (total, None) if name == _OUTPUT else self.apply(name, self.layers[name], (total,), before)

    def _delayed(self, edge: _Edge, y: Tensor) -> Tensor:
        if not edge.steps:
            return y
        before = _silence(y, edge.steps) if (h := self.held[edge]) is None else h
        line = torch.cat([before, y])
        self.held[edge] = line[y.shape[0] :]
        return line[: y.shape[0]]

    def on_the_way(self) -> NetworkState:
        return tuple(None if (h := self.held[e]) is None else h.transpose(0, 1) for e in self.edges)


@torch.no_grad()
def _empty(layer: nn.Module, inputs: list[Tensor]) -> Tensor:
    """What a layer makes of no steps: the shape of its output."""
    if isinstance(layer, Joint):
        joined: Tensor = layer(*inputs)
        return joined
    if isinstance(layer, NORMS):
        return inputs[0]  # in training they refuse to take statistics of nothing
    made: Tensor = layer(inputs[0])[0] if isinstance(layer, StatefulLayer) else layer(inputs[0])
    return made


def _silence(like: Tensor, steps: int) -> Tensor:
    return like.new_zeros((steps, *like.shape[1:]))


def _stretch(group: Collection[str], edges: Iterable[_Edge]) -> int:
    """Steps that the nodes of a cycle can run without hearing of each other; 0 for a node on no cycle."""
    inner = [e.steps for e in edges if e.source in group and e.target in group]
    return min((s for s in inner if s), default=0)


def _components(names: Sequence[str], edges: Sequence[_Edge]) -> tuple[tuple[str, ...], ...]:
    """The nodes of each cycle together, in an order in which everything comes after what it needs."""
    import networkx  # comes with torch

    whole, instant = networkx.DiGraph(), networkx.DiGraph()
    for graph, chosen in ((whole, edges), (instant, [e for e in edges if not e.steps])):
        graph.add_nodes_from((_INPUT, *names))
        graph.add_edges_from((e.source, e.target) for e in chosen)
    if not networkx.is_directed_acyclic_graph(instant):
        path = [source for source, _ in networkx.find_cycle(instant)]
        raise InputError(
            f"{' -> '.join([*path, path[0]])} is a cycle without delay; give one of its edges a delay of at least one step"
        )
    reached = networkx.descendants(whole, _INPUT)
    if missed := [n for n in names if n not in reached]:
        raise InputError(f"nothing reaches {missed[0]!r} from the input; add an edge to it")
    parts = networkx.condensation(whole)
    order = {
        name: k for k, name in enumerate(networkx.lexicographical_topological_sort(instant, key=[_INPUT, *names].index))
    }
    groups = (parts.nodes[k]["members"] for k in networkx.topological_sort(parts))
    return tuple(tuple(sorted(g, key=order.__getitem__)) for g in groups if _INPUT not in g)
