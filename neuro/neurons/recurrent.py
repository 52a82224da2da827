"""A population connected to itself: its output comes back as current one step later."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.kernels.compiler.route import Route
from neuro.kernels.scans.recurrent import recurrent_scan, recurrent_trace
from neuro.layer import Population, State
from neuro.neurons.cell import Cell

__all__ = ["Recurrent"]


class Recurrent(Population):
    """``cell`` with all-to-all synapses onto itself: ``I[t] = x[t] + W y[t-1]``, one step of delay.

    State is explicit: the cell's own, then the last output. ``weight [N, N]`` (post, pre) starts
    uniform within ``scale / sqrt(N)``, in the unit of the cell's input.

    Args:
        cell: the population; ``N`` is its number of neurons.
        scale: half-width of the initial weights in units of ``1 / sqrt(N)``.
        weight: initial weights ``[N, N]`` instead.

    Raises:
        InputError: no cell, a scale that is negative or not finite, a weight that is not ``[N, N]``.

    >>> import neuro
    >>> layer = neuro.Recurrent(neuro.LIF(3))
    >>> z, state = layer(torch.full((5, 1, 3), 25.0))
    >>> z.shape, [tuple(s.shape) for s in state]
    (torch.Size([5, 1, 3]), [(1, 3), (1, 3)])
    """

    def __init__(self, cell: Cell, *, scale: float = 1.0, weight: Tensor | None = None) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            raise InputError(f"Recurrent takes a cell such as neuro.LIF(100), got {type(cell).__name__}")
        if not (isinstance(scale, int | float) and math.isfinite(scale) and scale >= 0):
            raise InputError(f"Recurrent scale must be a finite number from 0 on, got {scale}")
        neurons = math.prod(cell.size)
        if weight is None:
            weight = torch.empty(neurons, neurons).uniform_(-1, 1) * (scale / math.sqrt(neurons))
        if not isinstance(weight, Tensor) or weight.shape != (neurons, neurons):
            got = tuple(weight.shape) if isinstance(weight, Tensor) else weight
            raise InputError(f"Recurrent weight must be [N, N] = {(neurons, neurons)} (post, pre), got {got}")
        if not bool(torch.isfinite(weight).all()):
            raise InputError("Recurrent weight must be finite, got NaN or inf")
        self.cell, self.size, self.dt = cell, cell.size, cell.dt
        # Stored column by column, so that the synapses of one presynaptic neuron are contiguous.
        self.weight = nn.Parameter(weight.detach().t().clone(memory_format=torch.contiguous_format).t())

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The cell's initial state and no output yet, each ``[batch, *size]``."""
        silent = torch.zeros((batch, *self.size), device=device, dtype=dtype)
        return (*self.cell.initial_state(batch, device=device, dtype=dtype), silent)

    def forward(
        self, x: Tensor, state: State | None = None, *, route: Route | None = None, backend: str = "auto"
    ) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: input current ``[T, B, *size]``.
            state: as returned for the steps before; the initial one unless given.
            route: edges that backward ignores (a property of the learning rule).
            backend: as for :func:`neuro.kernels.scans.recurrent.recurrent_scan`.

        Returns:
            Output ``[T, B, *size]`` and the state after the last step.

        Raises:
            InputError: shape, dtype or device that does not fit.
        """
        flat, before, last = self._flatten(x, state)
        values = self.cell._values(flat.shape[2])
        made, after = recurrent_scan(
            self.cell._spec, flat, before, values, self.weight, last, route=route, backend=backend, text=self.cell._text
        )
        return made.view(x.shape), self._state(x, made, after, last)

    @torch.no_grad()
    def trace(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Like ``forward`` without gradients, also returning each state before its reset, ``[T, B, *size]``."""
        flat, before, last = self._flatten(x, state)
        values = self.cell._values(flat.shape[2])
        made, after, states = recurrent_trace(self.cell._spec, flat, before, values, self.weight, last)
        traced = {name: s.view(x.shape) for name, s in states.items()}
        return made.view(x.shape), self._state(x, made, after, last), traced

    def _flatten(self, x: Tensor, state: State | None) -> tuple[Tensor, list[Tensor], Tensor]:
        if x.dim() != 2 + len(self.size) or tuple(x.shape[2:]) != self.size:
            raise InputError(
                f"Recurrent takes [T, B, {', '.join(map(str, self.size))}] (time first), got {tuple(x.shape)}"
            )
        if state is None:
            state = self.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
        if len(state) == 0 or state[-1].shape != x.shape[1:]:
            raise InputError(
                f"Recurrent state must be that of the cell and the last output {tuple(x.shape[1:])}, "
                f"got {[tuple(s.shape) for s in state]}"
            )
        flat, before = self.cell._flatten(x, tuple(state[:-1]))
        return flat, before, state[-1].flatten(1)

    def _state(self, x: Tensor, made: Tensor, after: list[Tensor], last: Tensor) -> State:
        newest = made[-1] if x.shape[0] else last
        return (*(s.view(x.shape[1:]) for s in after), newest.view(x.shape[1:]))

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values, JSON-able."""
        return {"cell": {"type": type(self.cell).__name__, **self.cell.definition()}}

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> Self:
        """The layer that :meth:`definition` describes, its ``cell`` already built, freshly initialised."""
        return cls(definition["cell"])
