"""Leaky rate units that learn how long they remember."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.route import Route
from neuro.kernels.propagation.dense import dense_linear
from neuro.kernels.scans.recurrent import recurrent_scan
from neuro.kernels.scans.scan import ScanSpec
from neuro.layer import State
from neuro.neurons.gated import RecurrentLayer

__all__ = ["LeakyRNN"]

# share = dt / tau; where the leaky sum is negative, a hundredth of it is passed on.
_EQUATIONS = Equations(
    "LeakyRNN",
    """
    h' = Max(h + share*(x - h), 0.01*(h + share*(x - h)))
    output h
    """,
    {"share": Parameter(1.0, "1", positive=True, doc="what one step replaces")},
)
_SPEC = ScanSpec(_EQUATIONS, "euler", "none", learned=frozenset({"share"}))
_TEXT = _SPEC.to_text()


class LeakyRNN(RecurrentLayer):
    r"""Leaky rate units with learned time constants: ``h = phi((1 - dt/tau) h + dt/tau (W h + W_x x + b))``.

    phi is the leaky ReLU of slope 0.01. ``tau = dt (1 + |raw|)``, so it is never below one step however long training goes
    on, and learns on its own scale: one of a single step can still grow. Units have no synapse onto themselves (the
    diagonal of ``W`` counts as zero): what one remembers by itself is its ``tau``. State: ``(h,)``, which is also the output.

    Args:
        inputs: number of inputs.
        units: number of units.
        tau: bounds, in seconds, of the uniform distribution that time constants are drawn from; 1 and 2 steps unless
            given.
        dt: seconds from step to step.

    Attributes:
        input_weight: ``[units, inputs]``.
        weight: ``[units, units]`` (post, pre); its diagonal is ignored.
        bias: ``[units]``.
        raw: ``[units]``, ``tau / dt - 1``, of either sign.

    Raises:
        InputError: sizes, dt or tau out of range.

    Source: Khajehabdollahi et al. 2024, "Emergent mechanisms for long timescales depend on training curriculum and
    affect performance in memory tasks" (ICLR).

    >>> import neuro
    >>> h, (last,) = neuro.LeakyRNN(1, 8)(torch.ones(5, 4, 1))
    >>> h.shape, bool((h[-1] == last).all())
    (torch.Size([5, 4, 8]), True)
    """

    states: ClassVar[tuple[str, ...]] = ("h",)
    off_diagonal: Tensor

    def __init__(self, inputs: int, units: int, *, tau: tuple[float, float] | None = None, dt: float = 1e-3) -> None:
        super().__init__(inputs, units, dt)
        low, high = (self.dt, 2 * self.dt) if tau is None else tau
        if not (math.isfinite(high) and self.dt <= low < high):
            raise InputError(f"LeakyRNN tau must be two times in seconds, from dt = {dt:g} on and rising, got {tau}")
        drawn, recurrent = nn.Linear(inputs, units), nn.Linear(units, units)
        self.input_weight, self.bias = drawn.weight, drawn.bias
        # Stored column by column, so that the synapses of one presynaptic unit are contiguous.
        self.weight = nn.Parameter(recurrent.weight.detach().t().clone(memory_format=torch.contiguous_format).t())
        self.raw = nn.Parameter(torch.empty(units).uniform_(low / self.dt - 1, high / self.dt - 1))
        self.register_buffer("off_diagonal", 1 - torch.eye(units), persistent=False)

    def time_constants(self) -> Tensor:
        """``tau [units]`` in seconds, differentiable."""
        return self.dt * (1 + self.raw.abs())

    def forward(
        self, x: Tensor, state: State | None = None, *, route: Route | None = None, backend: str = "auto"
    ) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: inputs ``[T, B, inputs]``.
            state: as returned for the steps before; zero unless given.
            route: edges that backward ignores (a property of the learning rule).
            backend: as for :func:`neuro.kernels.scans.recurrent.recurrent_scan`.

        Returns:
            Output ``[T, B, units]`` and the state after the last step.

        Raises:
            InputError: shape, dtype or device that does not fit.
        """
        (before,) = self._before(x, state)
        drive = dense_linear(x, self.input_weight, self.bias)
        values = [1 / (1 + self.raw.abs())]
        weight = self.weight * self.off_diagonal
        options = {"route": route, "backend": backend, "text": _TEXT}
        h, (after,) = recurrent_scan(_SPEC, drive, [before], values, weight, before, **options)  # type: ignore[arg-type]
        return h, (after,)

    @torch.no_grad()
    def trace(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Like ``forward`` without gradients, also returning the states, ``{"h": [T, B, units]}``."""
        h, after = self(x, state)
        return h, after, {"h": h}
