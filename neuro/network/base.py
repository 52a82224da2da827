"""What every composition of layers has in common: names, explicit state, one way to run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from neuro.errors import InputError
from neuro.kernels.compiler.route import Route
from neuro.layer import StatefulLayer
from neuro.network.lengths import in_lengths
from neuro.neurons import Cell
from neuro.neurons.liquid import Liquid
from neuro.neurons.membrane_norm import NORMALISED
from neuro.neurons.recurrent import Recurrent
from neuro.recompute import in_stretches
from neuro.synapses.normalisation import NORMALISATIONS
from neuro.synapses.weights import describe

__all__ = ["FORMAT", "NORMS", "Apply", "Network", "NetworkState", "leaves"]

NetworkState = tuple[Any, ...]
"""A nest of tuples of tensors ``[B, ...]``, one entry per layer; None for a layer that has none."""

Apply = Callable[[str, nn.Module, tuple[Tensor, ...], Any], tuple[Tensor, Any]]
"""(name of the layer, layer, its inputs, its state before) -> its output and its state after."""

FORMAT = "neuro.network/1"

NORMS: tuple[type[nn.Module], ...] = (*NORMALISATIONS.values(), *NORMALISED.values())
"""Layers that, in training, take statistics of all steps at once."""


class Network(StatefulLayer):
    """Layers put together; being a layer with state itself, it can be part of another network.

    Raises:
        InputError: no layer, a name that cannot be used, or layers whose ``dt`` differ.
    """

    def __init__(self, layers: Iterable[tuple[str, Any]]) -> None:
        super().__init__()
        for name, layer in layers:
            if not isinstance(layer, nn.Module):
                raise InputError(f"layer {name!r} must be a module, got {type(layer).__name__}")
            if hasattr(type(self), name) or name in self.__dict__ or "." in name or not name:
                raise InputError(
                    f"a layer cannot be named {name!r}: empty, dotted, or taken by {type(self).__name__} itself"
                )
            self.add_module(name, layer)
        if not self._modules:
            raise InputError("a network needs at least one layer")
        if len(steps := self._time_steps()) > 1:
            raise InputError(f"all layers of a network share one dt, got {sorted(steps)} s")

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Run the network; what ``torch.autocast`` means is each layer's own business."""
        return nn.Module.__call__(self, *arguments, **options)

    @property
    def layers(self) -> Mapping[str, nn.Module]:
        """The layers by name, in order."""
        return MappingProxyType({n: m for n, m in self._modules.items() if m is not None})

    @property
    def cells(self) -> Mapping[str, Cell]:
        """The cells declared by equations (of a recurrent layer: its cell), by dotted name, in order."""
        found = {n: m for n, m in leaves(self) if isinstance(m, Cell | Recurrent)}
        return MappingProxyType({n: m.cell if isinstance(m, Recurrent) else m for n, m in found.items()})

    @property
    def dt(self) -> float:  # type: ignore[override]
        """Time step of the layers that have state, in seconds."""
        steps = self._time_steps()
        if not steps:
            raise InputError("a network without cells has no dt")
        return next(iter(steps))

    def _time_steps(self) -> set[float]:
        return {m.dt for _, m in leaves(self) if isinstance(m, StatefulLayer)}

    @abstractmethod
    def run(self, x: Tensor, state: NetworkState | None, apply: Apply) -> tuple[Tensor, NetworkState]:
        """Run a sequence ``[T, B, ...]``, each layer by ``apply``: what forward, recording and calibration share."""

    def forward(
        self,
        x: Tensor,
        state: NetworkState | None = None,
        *,
        route: Route | None = None,
        recompute: int | None = None,
        timespans: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, NetworkState]:
        """Run a sequence.

        Args:
            x: input ``[T, B, ...]``, time first.
            state: as returned for the steps before; zero unless given.
            route: edges that backward ignores (a property of the learning rule).
            recompute: keep for backward only the state at every so many steps, and run what lies between once
                more when its gradient is due: a fraction of the memory for less than one more forward pass.
            timespans: seconds from step to step, ``[T]`` or ``[T, B]``, where all layers with state are liquid cells.
            lengths: ``[B]`` int64, the steps that belong to each sample; what follows in ``x`` is padding. The output
                is zero there, and the state returned is that after each sample's own last step. The sequence runs
                in as many pieces as there are different lengths; where only outputs are wanted, run it whole and
                give the lengths to the loss.

        Returns:
            Output of the last layer ``[T, B, ...]`` and the state after the last step.

        Raises:
            InputError: what a layer refuses; ``recompute`` that is not a positive whole number, or with a normalisation
                in training; ``timespans`` with layers that go by steps; ``lengths`` that are not whole numbers from 0
                to T, or with a normalisation in training; two of ``recompute``, ``timespans``, ``lengths``.
        """
        given = {"recompute": recompute, "timespans": timespans, "lengths": lengths}
        if len(both := [name for name, value in given.items() if value is not None]) > 1:
            raise InputError(f"{' and '.join(both)} do not go together; leave one of them out")
        if timespans is not None:
            self._check_irregular()
        if lengths is not None:
            self._check_pieces("lengths")
            return in_lengths(lambda part, s: self.forward(part, s, route=route), x, state, lengths)
        if recompute is not None and torch.is_grad_enabled():
            self._check_pieces("recompute")
            if state is None:  # a state of None would have no gradient to carry from stretch to stretch
                state = self.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
            trained = [p for p in self.parameters() if p.requires_grad]
            return in_stretches(lambda part, s: self.forward(part, s, route=route), x, state, trained, recompute)
        return self.run(x, state, _forward(route, timespans))

    def _check_irregular(self) -> None:
        stateful = [(n, m) for n, m in leaves(self) if isinstance(m, StatefulLayer)]
        regular = [n for n, m in stateful if not isinstance(m, Liquid)]
        if regular:
            raise InputError(f"timespans are for liquid cells, but layers {regular} go by steps; leave timespans out")

    def _check_pieces(self, option: str) -> None:
        found = [n for n, m in leaves(self) if isinstance(m, NORMS) and m.training]
        if found:
            raise InputError(
                f"normalisations {found} take their statistics from all steps at once, and only once; leave {option} out"
            )

    def step(
        self, x: Tensor, state: NetworkState | None = None, *, route: Route | None = None
    ) -> tuple[Tensor, NetworkState]:
        """One time step: ``x`` is ``[B, ...]``; returns output ``[B, ...]`` and the new state."""
        y, after = self(x.unsqueeze(0), state, route=route)
        return y[0], after

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> NetworkState:
        """All states zero."""
        return tuple(
            m.initial_state(batch, device=device, dtype=dtype) if isinstance(m, StatefulLayer) else None
            for m in self.layers.values()
        )

    def _states(self, state: NetworkState | None) -> NetworkState:
        """An entry for each layer."""
        if state is None:
            return (None,) * len(self.layers)
        if len(state) != len(self.layers):
            raise InputError(f"network state must have {len(self.layers)} entries, one per layer, got {len(state)}")
        return state

    def definition(self) -> dict[str, Any]:
        """The architecture without weights, JSON-able; :func:`neuro.build` is its inverse."""
        return {"format": FORMAT, "type": type(self).__name__, **self.arrangement()}

    def arrangement(self) -> dict[str, Any]:
        """Layers, and how they are put together."""
        return {"layers": [{"name": n, **_entry(n, m)} for n, m in self.layers.items()]}

    @classmethod
    def assemble(cls, layers: Mapping[str, nn.Module], **arrangement: Any) -> Self:
        """The network of those layers that :meth:`arrangement` describes."""
        return cls(layers, **arrangement)  # type: ignore[arg-type]  # as subclasses take them


def _forward(route: Route | None, timespans: Tensor | None) -> Apply:
    def apply(_: str, layer: nn.Module, inputs: tuple[Tensor, ...], before: Any) -> tuple[Tensor, Any]:
        if isinstance(layer, Network):
            made, after = layer(*inputs, before, route=route, timespans=timespans)
        elif isinstance(layer, Liquid):
            made, after = layer(*inputs, before, timespans, route=route)
        elif isinstance(layer, StatefulLayer):
            made, after = layer(*inputs, before, route=route)
        else:
            made, after = layer(*inputs), None
        return made, after

    return apply


def _entry(name: str, layer: nn.Module) -> dict[str, Any]:
    kind = type_before_parametrizations(layer).__name__
    if isinstance(layer, Network):
        return {"type": kind, **layer.arrangement()}
    own: Callable[[], dict[str, Any]] | None = getattr(layer, "definition", None)
    if own is None:
        raise InputError(f"layer {name!r} ({kind}) has no definition(), so it cannot be written to a file")
    return {"type": kind, **own(), **describe(layer)}


def leaves(net: Network, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers of a network and of the networks in it, by dotted name, in order.

    >>> import neuro
    >>> net = neuro.Sequential(neuro.Residual(neuro.Sequential(neuro.Linear(2, 2), neuro.LIF(2))), neuro.LI(2))
    >>> [name for name, _ in leaves(net)]
    ['0.body.0', '0.body.1', '1']
    """
    for name, layer in net.layers.items():
        if isinstance(layer, Network):
            yield from leaves(layer, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", layer
