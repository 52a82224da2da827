"""Recurrent layers with gates: the base of those that read an input of their own size, and the event-based GRU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.propagation.event_linear import event_linear
from neuro.kernels.scans.egru import egru_scan
from neuro.layer import Population, State

__all__ = ["EGRU", "RecurrentLayer"]


class RecurrentLayer(Population):
    """Base of layers with input weights inside: ``x [T, B, inputs] -> [T, B, units]``, states ``[B, units]`` each.

    Args:
        inputs: number of inputs.
        units: number of units.
        dt: seconds from step to step.

    Attributes:
        states: names of the state variables.
    """

    states: ClassVar[tuple[str, ...]]

    def __init__(self, inputs: int, units: int, dt: float) -> None:
        super().__init__()
        name = type(self).__name__
        for what, value in (("inputs", inputs), ("units", units)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} {what} must be an integer from 1 on, got {value!r}")
        if isinstance(dt, bool) or not (isinstance(dt, int | float) and math.isfinite(dt) and dt > 0):
            raise InputError(f"{name} dt must be a positive number of seconds, got {dt!r}")
        self.inputs, self.units, self.dt, self.size = inputs, units, float(dt), (units,)

    def extra_repr(self) -> str:
        """Sizes and time step, for ``repr``."""
        return f"{self.inputs}, {self.units}, dt={self.dt:g}"

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Zero, ``[batch, units]`` each."""
        return tuple(torch.zeros((batch, self.units), device=device, dtype=dtype) for _ in self.states)

    def _before(self, x: Tensor, state: State | None) -> State:
        name = type(self).__name__
        if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != self.inputs:
            seen = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"{name} takes [T, B, {self.inputs}] (time first), got {seen}")
        if state is None:
            return self.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
        shape = (x.shape[1], self.units)
        if len(state) != len(self.states) or any(s.shape != shape for s in state):
            wanted = f"({', '.join(self.states)}), each {shape}"
            raise InputError(f"{name} state must be {wanted}, got {[tuple(s.shape) for s in state]}")
        return state

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values, JSON-able."""
        return {"inputs": self.inputs, "units": self.units, "dt": self.dt}


def by_column(weight: Tensor) -> nn.Parameter:
    """The weight ``[O, I]`` stored so that the synapses of one input are contiguous."""
    return nn.Parameter(weight.detach().t().clone(memory_format=torch.contiguous_format).t())


def checked_share(name: str, value: float) -> float:
    """``value``, if it can be the share of something that is left out: from 0 on, below 1."""
    if isinstance(value, bool) or not (isinstance(value, int | float) and 0 <= value < 1):
        raise InputError(f"{name} must be a share from 0 on and below 1, got {value!r}")
    return float(value)


class EGRU(RecurrentLayer):
    r"""Event-based gated recurrent units: a GRU whose units speak only when they pass their threshold.

    ``r, z = sigmoid(W x + R y + b)``, ``n = tanh(W_n x + b_n + r (R_n y + b_Rn))``, ``c~ = z c + (1 - z) n``; where
    ``c~ > threshold`` the unit sends ``y = c~``, to the next layer and to itself a step later, and ``c = c~ - threshold``
    remains (:mod:`neuro.kernels.scans.egru`). State: ``(c, y)``. Weights are those of ``torch.nn.GRU``, row for row.

    The paper's gradient follows every edge: train with ``neuro.rules.BPTT(cut_reset=False)``.

    Args:
        inputs: number of inputs.
        units: number of units.
        threshold: mean of the Beta(3 m / (1 - m), 3) distribution that the thresholds are drawn from, one each.
        dropconnect: share of the recurrent weights left out, drawn anew for each sequence in training.
        surrogate: derivative that stands in for that of an event. A ``width`` of ``1 / 3.6`` and ``1 / 1.7`` is that of
            the authors' language models and gestures.
        dt: seconds from step to step; the equations do not read it.

    Raises:
        InputError: sizes, threshold, dropconnect or dt out of range.

    Source: Subramoney et al. 2023, "Efficient recurrent architectures through activity sparsity and sparse
    back-propagation through time" (ICLR), with initial values of the authors' code.

    >>> import neuro
    >>> y, (c, last) = neuro.EGRU(3, 8)(torch.ones(5, 4, 3))
    >>> y.shape, c.shape, bool((last == y[-1]).all())
    (torch.Size([5, 4, 8]), torch.Size([4, 8]), True)
    """

    states: ClassVar[tuple[str, ...]] = ("c", "y")

    def __init__(
        self,
        inputs: int,
        units: int,
        *,
        threshold: float = 0.3,
        dropconnect: float = 0.0,
        surrogate: Surrogate | None = None,
        dt: float = 1e-3,
    ) -> None:
        super().__init__(inputs, units, dt)
        if not (isinstance(threshold, int | float) and 0 < threshold < 1):
            raise InputError(f"EGRU threshold is the mean of values between 0 and 1, got {threshold!r}")
        self.surrogate = surrogate if surrogate is not None else Surrogate("triangle", width=1.0, peak=0.7)
        if not isinstance(self.surrogate, Surrogate):
            raise InputError(f"EGRU surrogate must be a neuro.Surrogate, got {surrogate!r}")
        self.dropconnect = checked_share("EGRU dropconnect", dropconnect)
        self.input_weight = by_column(nn.init.xavier_normal_(torch.empty(3 * units, inputs)))
        self.weight = by_column(nn.init.xavier_normal_(torch.empty(3 * units, units)))
        self.input_bias, self.bias = nn.Parameter(torch.zeros(3 * units)), nn.Parameter(torch.zeros(3 * units))
        spread = 3.0  # second parameter of the Beta distribution
        drawn = torch.distributions.Beta(spread * threshold / (1 - threshold), spread).sample(torch.Size([units]))
        self.v_threshold = nn.Parameter(drawn.to(self.bias.dtype))

    def forward(
        self, x: Tensor, state: State | None = None, *, route: Route | None = None, backend: str = "auto"
    ) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: inputs ``[T, B, inputs]``; cost follows those that are not zero.
            state: as returned for the steps before; zero unless given.
            route: edges that backward ignores (a property of the learning rule).
            backend: as for :func:`neuro.kernels.scans.egru.egru_scan`.

        Returns:
            Output ``[T, B, units]`` and the state after the last step.

        Raises:
            InputError: shape, dtype or device that does not fit.
        """
        y, after, _ = self._run(x, state, route, backend, keep_states=False)
        return y, after

    @torch.no_grad()
    def trace(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Like ``forward`` without gradients, also returning the state before its reset, ``{"c": [T, B, units]}``."""
        y, after, seen = self._run(x, state, None, "auto", keep_states=True)
        return y, after, {"c": seen}

    def _run(
        self, x: Tensor, state: State | None, route: Route | None, backend: str, *, keep_states: bool
    ) -> tuple[Tensor, State, Tensor]:
        c, y = self._before(x, state)
        drive = event_linear(x, self.input_weight, self.input_bias)
        weight = F.dropout(self.weight, self.dropconnect, self.training) if self.dropconnect else self.weight
        values = (weight, self.bias, self.v_threshold)
        options: dict[str, Any] = {"route": route, "backend": backend, "keep_states": keep_states}
        out, after, seen = egru_scan(drive, c, y, *values, surrogate=self.surrogate, **options)
        return out, (after, out[-1] if x.shape[0] else y), seen

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values, JSON-able."""
        spike = {"family": self.surrogate.family, "width": self.surrogate.width, "peak": self.surrogate.peak}
        return {**super().definition(), "dropconnect": self.dropconnect, "surrogate": spike}

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> Self:
        """The layer that :meth:`definition` describes, freshly initialised."""
        options = dict(definition)
        return cls(
            options.pop("inputs"), options.pop("units"), surrogate=Surrogate(**options.pop("surrogate")), **options
        )
