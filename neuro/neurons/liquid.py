"""Liquid cells: neurons whose time constants follow their input, solved step by step (LTC) or in closed form (CfC)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.errors import InputError, unknown_name
from neuro.kernels.compiler.route import Route
from neuro.kernels.liquid.cfc import HEADS, MODES, cfc_scan
from neuro.kernels.liquid.ltc import Reach, ltc_scan
from neuro.layer import Population, State
from neuro.neurons.wiring import FullyConnected, Wiring, wiring_of

__all__ = ["LIQUID", "LTC", "CfC", "Liquid"]


class Liquid(Population):
    """Base of the liquid cells: ``x [T, B, inputs] -> [T, B, outputs]``, state ``(v [B, units],)``.

    Time between steps is ``dt`` seconds, or given with each sequence (``timespans``).
    """

    def __init__(self, inputs: int, units: int, dt: float) -> None:
        super().__init__()
        for name, value in (("inputs", inputs), ("units", units)):
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{type(self).__name__} {name} must be an integer from 1 on, got {value!r}")
        if not (isinstance(dt, int | float) and math.isfinite(dt) and dt > 0):
            raise InputError(f"{type(self).__name__} dt must be a finite time above 0 s, got {dt!r}")
        self.inputs, self.units, self.dt, self.size = inputs, units, float(dt), (units,)

    def extra_repr(self) -> str:
        """Sizes and time step, for ``repr``."""
        return f"{self.inputs}, {self.units}, dt={self.dt:g} s"

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Zero, ``[batch, units]``."""
        return (torch.zeros((batch, self.units), device=device, dtype=dtype),)

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        timespans: Tensor | None = None,
        *,
        route: Route | None = None,
        backend: str = "auto",
    ) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: inputs ``[T, B, inputs]``.
            state: as returned for the steps before; zero unless given.
            timespans: seconds from the step before to each step, ``[T]`` or ``[T, B]``; ``dt`` unless given.
            route: must cut nothing: a liquid cell learns through time, by its recurrence.
            backend: as for :func:`neuro.kernels.liquid.ltc.ltc_scan`.

        Returns:
            Output ``[T, B, outputs]`` and the state after the last step.

        Raises:
            InputError: shape, dtype or device that does not fit; negative time; a route that cuts.
        """
        if route is not None and (route.cut_time or route.cut_recurrence):
            raise InputError(f"{type(self).__name__} learns through time; use a rule that cuts no edge (bptt)")
        before = self._before(x, state)
        states = self._states(x, before, self._elapsed(x, timespans), backend)
        return self._output(states), (states[-1] if x.shape[0] else before,)

    def step(
        self, x: Tensor, state: State, timespans: Tensor | None = None, *, route: Route | None = None
    ) -> tuple[Tensor, State]:
        """One time step: ``x`` is ``[B, inputs]``, ``timespans [B]`` seconds; returns output and the new state."""
        y, after = self(x.unsqueeze(0), state, None if timespans is None else timespans.unsqueeze(0), route=route)
        return y[0], after

    @torch.no_grad()
    def trace(
        self, x: Tensor, state: State | None = None, timespans: Tensor | None = None
    ) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Like ``forward`` without gradients, also returning all states, ``{"state": [T, B, units]}``."""
        before = self._before(x, state)
        states = self._states(x, before, self._elapsed(x, timespans), "auto")
        return self._output(states), (states[-1] if x.shape[0] else before,), {"state": states}

    def _before(self, x: Tensor, state: State | None) -> Tensor:
        if x.dim() != 3 or x.shape[2] != self.inputs:
            raise InputError(f"{type(self).__name__} takes [T, B, {self.inputs}] (time first), got {tuple(x.shape)}")
        if state is None:
            return x.new_zeros((x.shape[1], self.units))
        if len(state) != 1 or state[0].shape != (x.shape[1], self.units):
            seen = [tuple(s.shape) for s in state]
            raise InputError(f"{type(self).__name__} state must be one [B, N] = {(x.shape[1], self.units)}, got {seen}")
        return state[0]

    def _elapsed(self, x: Tensor, timespans: Tensor | None) -> Tensor:
        if timespans is None:
            return x.new_full(x.shape[:2], self.dt)
        if timespans.shape == x.shape[:1]:
            timespans = timespans.unsqueeze(1)
        elif timespans.shape != x.shape[:2]:
            raise InputError(f"timespans must be [T] or [T, B] = {tuple(x.shape[:2])}, got {tuple(timespans.shape)}")
        return timespans.to(x).expand(x.shape[:2])

    def _states(self, x: Tensor, before: Tensor, elapsed: Tensor, backend: str) -> Tensor:
        raise NotImplementedError

    def _output(self, states: Tensor) -> Tensor:
        return states


def _softplus_inverse(y: Tensor) -> Tensor:
    return y + torch.log(-torch.expm1(-y))


class LTC(Liquid):
    r"""Liquid time-constant neurons: ``C dv/dt = g (v_leak - v) + sum_s w_s sigmoid(sigma_s (u_s - mu_s)) (E_s - v)``.

    Solved by ``unfolds`` semi-implicit steps per sample (:func:`neuro.kernels.liquid.ltc.ltc_scan`). Each time constant
    stays in ``[C / (g + sum w), C / g]``, and the state between the least and the greatest of ``v_leak``, ``E`` and where
    it began. Capacitances, leaks and weights stay positive: they are the softplus of what is learned.
    Only the synapses of the wiring have parameters.

    Args:
        inputs: number of inputs.
        units: number of neurons, all connected; or a wiring such as ``neuro.AutoNCP(28, 4)``.
        dt: seconds between steps, where no timespans are given. The initial values (C from 0.4, g up to 1)
            mean time constants of the order of a second.
        unfolds: inner steps of the solver for each time step.

    Raises:
        InputError: sizes, dt or unfolds out of range.

    Source: Hasani et al. 2021, "Liquid time-constant networks"; initial values and the affine maps of input
    and output as in Lechner et al. 2020.

    >>> import neuro
    >>> cell = neuro.LTC(3, neuro.AutoNCP(12, 2))
    >>> y, (v,) = cell(torch.zeros(5, 4, 3), timespans=torch.full((5, 4), 0.5))
    >>> y.shape, v.shape
    (torch.Size([5, 4, 2]), torch.Size([4, 12]))
    """

    start: Tensor
    pre: Tensor
    sensory_start: Tensor
    sensory_pre: Tensor

    def __init__(self, inputs: int, units: int | Wiring, *, dt: float = 1.0, unfolds: int = 6) -> None:
        wiring = units if isinstance(units, Wiring) else FullyConnected(units)
        super().__init__(inputs, wiring.units, dt)
        if not isinstance(unfolds, int) or unfolds < 1:
            raise InputError(f"LTC unfolds must be an integer from 1 on, got {unfolds!r}")
        self.wiring, self.unfolds = wiring, unfolds
        self._connect("", wiring.internal())
        self._connect("sensory_", wiring.sensory(inputs))
        for name, low, high in (("capacitance", 0.4, 0.6), ("leak", 0.001, 1.0)):
            self.register_parameter(name, nn.Parameter(_softplus_inverse(torch.empty(self.units).uniform_(low, high))))
        self.v_leak = nn.Parameter(torch.empty(self.units).uniform_(-0.2, 0.2))
        self.input_scale, self.input_shift = nn.Parameter(torch.ones(inputs)), nn.Parameter(torch.zeros(inputs))
        self.output_scale = nn.Parameter(torch.ones(wiring.motor))
        self.output_shift = nn.Parameter(torch.zeros(wiring.motor))

    def _connect(self, kind: str, polarity: Tensor) -> None:
        """Parameters of the synapses that ``polarity [pre, post]`` says there are, and where they lead."""
        reach = Reach.of(polarity)
        self.register_buffer(f"{kind}start", reach.start, persistent=False)
        self.register_buffer(f"{kind}pre", reach.pre, persistent=False)
        number = reach.pre.shape[0]
        drawn = (("mu", 0.3, 0.8), ("sigma", 3.0, 8.0), ("weight", 0.001, 1.0))
        for name, low, high in drawn:
            value = torch.empty(number).uniform_(low, high)
            value = _softplus_inverse(value) if name == "weight" else value
            self.register_parameter(kind + name, nn.Parameter(value))
        reversal = polarity[reach.pre.long(), reach.post()].to(torch.get_default_dtype())
        self.register_parameter(f"{kind}reversal", nn.Parameter(reversal))

    @property
    def synapses(self) -> tuple[int, int]:
        """Number of synapses between neurons, and from inputs."""
        return self.pre.shape[0], self.sensory_pre.shape[0]

    def time_constants(self) -> tuple[Tensor, Tensor]:
        """Least and greatest time constant that each neuron can have, ``[units]``, seconds."""
        c, leak, _ = self._neuron()
        post = Reach(self.start, self.pre).post(), Reach(self.sensory_start, self.sensory_pre).post()
        most = leak.index_add(0, post[0], F.softplus(self._own("weight")))
        return c / most.index_add(0, post[1], F.softplus(self._own("sensory_weight"))), c / leak

    def _own(self, name: str) -> Tensor:
        return self.get_parameter(name)

    def _neuron(self) -> Tensor:
        return torch.stack([F.softplus(self._own("capacitance")), F.softplus(self._own("leak")), self.v_leak])

    def _synapses(self, kind: str) -> Tensor:
        mu, sigma, weight, reversal = (self._own(kind + name) for name in ("mu", "sigma", "weight", "reversal"))
        return torch.stack([mu, sigma, F.softplus(weight), reversal])

    def _states(self, x: Tensor, before: Tensor, elapsed: Tensor, backend: str) -> Tensor:
        return ltc_scan(
            x * self.input_scale + self.input_shift,
            before,
            elapsed,
            self._neuron(),
            self._synapses(""),
            self._synapses("sensory_"),
            Reach(self.start, self.pre),
            Reach(self.sensory_start, self.sensory_pre),
            unfolds=self.unfolds,
            backend=backend,
        )

    def _output(self, states: Tensor) -> Tensor:
        return states[:, :, : self.wiring.motor] * self.output_scale + self.output_shift

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values, JSON-able."""
        wiring = self.wiring.definition()
        return {"inputs": self.inputs, "units": wiring, "dt": self.dt, "unfolds": self.unfolds}

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> Self:
        """The layer that :meth:`definition` describes, freshly initialised."""
        options = dict(definition)
        return cls(options.pop("inputs"), wiring_of(options.pop("units")), **options)


class CfC(Liquid):
    r"""Closed-form continuous-time neurons: what an LTC would reach after the elapsed time, without a solver.

    The equations of the three modes are those of :mod:`neuro.kernels.liquid.cfc`.

    Args:
        inputs: number of inputs.
        units: number of neurons.
        mode: ``"default"`` (gated), ``"no_gate"``, or ``"pure"`` (the closed form itself).
        hidden: neurons of the layer that reads input and state.
        dt: seconds between steps, where no timespans are given.

    Raises:
        InputError: sizes or dt out of range, an unknown mode.

    Source: Hasani et al. 2022, "Closed-form continuous-time neural networks".

    >>> import neuro
    >>> y, (h,) = neuro.CfC(3, 8)(torch.zeros(5, 4, 3), timespans=torch.tensor([0.1, 2.0, 0.3, 0.3, 1.0]))
    >>> y.shape, h.shape
    (torch.Size([5, 4, 8]), torch.Size([4, 8]))
    """

    def __init__(self, inputs: int, units: int, *, mode: str = "default", hidden: int = 128, dt: float = 1.0) -> None:
        super().__init__(inputs, units, dt)
        if mode not in MODES:
            raise unknown_name("mode", mode, MODES)
        if not isinstance(hidden, int) or hidden < 1:
            raise InputError(f"CfC hidden must be an integer from 1 on, got {hidden!r}")
        self.mode, self.hidden = mode, hidden
        heads = HEADS[MODES.index(mode)]
        backbone = nn.Linear(inputs + units, hidden)
        nn.init.xavier_uniform_(backbone.weight)
        self.input_weight = nn.Parameter(backbone.weight.detach()[:, :inputs].clone())
        self.state_weight = nn.Parameter(backbone.weight.detach()[:, inputs:].clone())
        self.hidden_bias = backbone.bias
        made = [nn.Linear(hidden, units) for _ in range(heads)]
        for head in made:
            nn.init.xavier_uniform_(head.weight)
        self.head_weight = nn.Parameter(torch.cat([head.weight.detach() for head in made]))
        self.head_bias = nn.Parameter(torch.cat([head.bias.detach() for head in made]))
        if mode == "pure":  # w_tau, of which the absolute value counts: not at 0, where its gradient vanishes
            self.constants = nn.Parameter(torch.stack([torch.empty(units).uniform_(0.01, 0.5), torch.ones(units)]))
        else:
            self.register_buffer("constants", torch.empty(0, units), persistent=False)

    def _states(self, x: Tensor, before: Tensor, elapsed: Tensor, backend: str) -> Tensor:
        drive = F.linear(x, self.input_weight, self.hidden_bias)
        heads = self.head_weight, self.head_bias, self.constants
        return cfc_scan(drive, before, elapsed, self.state_weight, *heads, mode=self.mode, backend=backend)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values, JSON-able."""
        sizes = {"inputs": self.inputs, "units": self.units, "hidden": self.hidden}
        return {**sizes, "mode": self.mode, "dt": self.dt}


LIQUID: Mapping[str, type[LTC | CfC]] = MappingProxyType({"LTC": LTC, "CfC": CfC})
"""The liquid cells by name."""
