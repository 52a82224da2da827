"""A population connected to itself by synapses with delays that are learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from neuro.delays import LearnedDelays
from neuro.errors import InputError
from neuro.kernels.compiler.route import Route
from neuro.kernels.delays.taps import gaussian_taps
from neuro.kernels.scans.recurrent_delayed import delayed_recurrent_scan, delayed_recurrent_trace
from neuro.kernels.scans.scan import ScanSpec
from neuro.layer import State
from neuro.neurons.cell import Cell
from neuro.neurons.recurrent import Recurrent

__all__ = ["DelayedRecurrent"]


class DelayedRecurrent(LearnedDelays, Recurrent):
    """``cell`` with all-to-all synapses onto itself, each with a delay of one step or more.

    ``I[t, o] = x[t, o] + sum_i sum_d weight[o, i] k(d; delay[o, i], sigma) y[t - d, i]``, d from one step to
    ``max_delay``, with the normalised Gaussian k of :mod:`neuro.kernels.delays.taps`. With ``.eval()``
    delays are rounded to whole steps, at least one, and each spike arrives once. The learned delays of
    Hammouamri et al. 2024, "Learning delays in spiking neural networks using dilated convolutions with learnable
    spacings" (ICLR), here in the recurrent synapses, where a spike cannot arrive before the next step. What trains is ``position``, as in :class:`neuro.DelayedLinear`.

    State is explicit: the cell's own, then the outputs still felt, ``[B, D, *size]``, oldest first, D =
    max_delay / dt. While training, all D matrices ``[N, N]`` are in memory: 6.6 MB at N = 256, D = 25.

    Args:
        cell: the population; ``N`` is its number of neurons.
        max_delay: the longest delay in seconds, a whole number of steps, at least two.
        kind: ``"synapse"``, a delay for each pair; ``"axon"``, one for each presynaptic neuron;
            ``"dendrite"``, one for each postsynaptic neuron.
        sigma: width of the taps in seconds; by default where :func:`neuro.synapses.sigma_schedule`
            starts, which :func:`neuro.fit` follows from epoch to epoch.
        delay: initial delays in seconds, one number or ``[N, N]`` (post, pre), ``[N]``, ``[N]`` by
            kind; by default uniform over the range.
        scale: half-width of the initial weights in units of ``1 / sqrt(N)``.
        weight: initial weights ``[N, N]`` (post, pre) instead.

    Raises:
        InputError: no cell; unknown kind; a delay under one step or longer than ``max_delay``; a
            ``max_delay`` of one step (:class:`neuro.Recurrent` has that).

    >>> import neuro
    >>> echo = DelayedRecurrent(neuro.LIF(1), 5e-3, delay=3e-3, weight=torch.tensor([[30.0]])).eval()
    >>> x = torch.zeros(8, 1, 1)
    >>> x[0] = 30.0
    >>> echo(x)[0].flatten().tolist()
    [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    """

    def __init__(
        self,
        cell: Cell,
        max_delay: float,
        *,
        kind: str = "synapse",
        sigma: float | None = None,
        delay: float | Tensor | None = None,
        scale: float = 1.0,
        weight: Tensor | None = None,
    ) -> None:
        super().__init__(cell, scale=scale, weight=weight)
        neurons = len(self.weight)
        sizes = {"synapse": (neurons, neurons), "axon": (neurons,), "dendrite": (neurons,)}
        self._set_delays(sizes, kind, max_delay, cell.dt, sigma=sigma, delay=delay, shortest=1)

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The cell's initial state and silence in the D steps before, ``[batch, D, *size]``."""
        silent = torch.zeros((batch, self.longest, *self.size), device=device, dtype=dtype)
        return (*self.cell.initial_state(batch, device=device, dtype=dtype), silent)

    def forward(
        self, x: Tensor, state: State | None = None, *, route: Route | None = None, backend: str = "auto"
    ) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: input current ``[T, B, *size]``.
            state: as returned for the steps before; the initial one unless given.
            route: edges that backward ignores; ``cut_recurrence`` also those from spikes to later currents.
            backend: as for :func:`neuro.kernels.scans.recurrent_delayed.delayed_recurrent_scan`.

        Returns:
            Output ``[T, B, *size]`` and the state after the last step.

        Raises:
            InputError: shape, dtype or device that does not fit.
        """
        flat, before, held = self._flatten(x, state)
        spec, values, table, steps = self._given(flat)
        made, after = delayed_recurrent_scan(
            spec, flat, before, values, table, held, steps=steps, route=route, backend=backend, text=self.cell._text
        )
        return made.view(x.shape), self._state(x, made, after, held)

    @torch.no_grad()
    def trace(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Like ``forward`` without gradients, also returning each state before its reset, ``[T, B, *size]``."""
        flat, before, held = self._flatten(x, state)
        spec, values, table, steps = self._given(flat)
        made, after, states = delayed_recurrent_trace(spec, flat, before, values, table, held, steps=steps)
        traced = {name: s.view(x.shape) for name, s in states.items()}
        return made.view(x.shape), self._state(x, made, after, held), traced

    def _given(self, flat: Tensor) -> tuple[ScanSpec, list[Tensor], Tensor, Tensor | None]:
        """The cell, its coefficients, and the synapses as taps or as weights and whole delays."""
        values = self.cell._values(flat.shape[2])
        if self.training:
            return self.cell._spec, values, self._bank(), None
        steps = self.steps.t() if self.kind == "synapse" else self.steps.unsqueeze(int(self.kind == "axon"))
        whole = steps.detach().round().to(torch.int32).expand(self.weight.shape)
        return self.cell._spec, values, self.weight.t(), whole

    def _bank(self) -> Tensor:
        """Weights times taps, ``[D, N, N]`` (lag - 1, pre, post)."""
        steps = self.steps if self.kind != "synapse" else self.steps.t()
        taps = gaussian_taps(steps - 1, self.sigma / self.dt, self.longest).movedim(-1, 0)
        spread = {"synapse": taps, "axon": taps.unsqueeze(-1), "dendrite": taps.unsqueeze(1)}[self.kind]
        return spread * self.weight.t()

    def _flatten(self, x: Tensor, state: State | None) -> tuple[Tensor, list[Tensor], Tensor]:
        name = type(self).__name__
        if x.dim() != 2 + len(self.size) or tuple(x.shape[2:]) != self.size:
            raise InputError(
                f"{name} takes [T, B, {', '.join(map(str, self.size))}] (time first), got {tuple(x.shape)}"
            )
        if state is None:
            state = self.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
        shape = (x.shape[1], self.longest, *self.size)
        if len(state) == 0 or tuple(state[-1].shape) != shape:
            raise InputError(
                f"{name} state must be that of the cell and the outputs held {shape}, got {[tuple(s.shape) for s in state]}"
            )
        flat, before = self.cell._flatten(x, tuple(state[:-1]))
        return flat, before, state[-1].flatten(2).transpose(0, 1)

    def _state(self, x: Tensor, made: Tensor, after: list[Tensor], last: Tensor) -> State:
        held = torch.cat([last, made])[made.shape[0] :].transpose(0, 1)
        return (*(s.view(x.shape[1:]) for s in after), held.reshape(x.shape[1], self.longest, *self.size))

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values, JSON-able."""
        return super().definition() | {"max_delay": self.max_delay, "kind": self.kind}

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> Self:
        """The layer that :meth:`definition` describes, its ``cell`` already built, freshly initialised."""
        return cls(definition["cell"], definition["max_delay"], kind=definition["kind"])

    def extra_repr(self) -> str:
        """Kind, longest delay and sigma."""
        return f"{self.kind}, max_delay={self.max_delay:g} s, sigma={self.sigma:g} s, dt={self.dt:g} s"
