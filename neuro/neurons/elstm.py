"""The eLSTM: gates that see only their own unit's state, so that gradients forward in time are exact and cheap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.route import Route
from neuro.kernels.propagation.dense import dense_linear
from neuro.kernels.scans.eligibility import Traces, eligibility
from neuro.kernels.scans.scan import ScanSpec, scan
from neuro.layer import State
from neuro.neurons.gated import RecurrentLayer

__all__ = ["ELSTM", "ForwardGradient"]

# The logistic function as a hyperbolic tangent: no exponential can overflow.
_EQUATIONS = Equations(
    "ELSTM",
    """
    c' = tanh(z_in + w_z*c) + (c - tanh(z_in + w_z*c)) * (1 + tanh((f_in + w_f*c)/2)) / 2
    output c
    """,
    {"w_z": Parameter(0.0, "1", doc="weight of the state in z"), "w_f": Parameter(0.0, "1", doc="and in f")},
    inputs=("z_in", "f_in"),
)
_SPEC = ScanSpec(_EQUATIONS, "euler", "none", learned=frozenset({"w_z", "w_f"}))
_TEXT = _SPEC.to_text()


@dataclass(frozen=True)
class ForwardGradient:
    """What :meth:`ELSTM.rtrl` made of a stretch.

    Attributes:
        output: ``[T, B, units]``.
        state: after the last step.
        gradients: by name of the parameter, shaped as it is; of the loss of this stretch, through all of the past.
        input_gradient: ``[T, B, inputs]``, through the same step only.
        traces: sensitivities after the last step, for the stretch that follows.
    """

    output: Tensor
    state: State
    gradients: Mapping[str, Tensor]
    input_gradient: Tensor
    traces: Traces


class ELSTM(RecurrentLayer):
    r"""Element-wise LSTM: ``c = f c + (1 - f) z``, ``z = tanh(W_z x + w_z c + b_z)``, ``f = sigmoid(W_f x + w_f c + b_f)``.

    Inside the gates stands ``c`` of the step before, of the same unit only (``w_z``, ``w_f`` are vectors); the output is
    ``h = sigmoid(W_o [x; c] + b_o) c``, with no way back. State: ``(c,)``.

    Because units meet only in the output, the sensitivity of a state to each weight onto its unit is one number:
    :meth:`rtrl` carries those along and gives the exact gradient without a stored past (the gradient of BPTT, to
    rounding, for one layer; what a layer below did in earlier steps it leaves out).

    Args:
        inputs: number of inputs.
        units: number of units.
        forget_bias: added to the initial biases of f.
        dt: seconds from step to step; the equations do not read it.

    Attributes:
        input_weight: ``[2 units, inputs]``, rows of z, then of f.
        input_bias: ``[2 units]``.
        state_weight: ``[2, units]``, ``w_z`` and ``w_f``.
        output_weight: ``[units, inputs + units]``.
        output_bias: ``[units]``.

    Raises:
        InputError: sizes or dt out of range, a forget bias that is no finite number.

    Source: Irie, Gopalakrishnan & Schmidhuber 2024, "Exploring the promise and limits of real-time recurrent learning"
    (ICLR); initial values of the authors' code.

    >>> import neuro
    >>> h, (c,) = neuro.ELSTM(3, 8)(torch.ones(5, 4, 3))
    >>> h.shape, c.shape
    (torch.Size([5, 4, 8]), torch.Size([4, 8]))
    """

    states: ClassVar[tuple[str, ...]] = ("c",)

    def __init__(self, inputs: int, units: int, *, forget_bias: float = 0.0, dt: float = 1e-3) -> None:
        super().__init__(inputs, units, dt)
        if isinstance(forget_bias, bool) or not (
            isinstance(forget_bias, int | float) and abs(forget_bias) < float("inf")
        ):
            raise InputError(f"ELSTM forget_bias must be a finite number, got {forget_bias!r}")
        spread = 0.1
        self.input_weight = nn.Parameter(torch.randn(2 * units, inputs) * spread)
        self.input_bias = nn.Parameter(torch.randn(2 * units) * spread)
        self.state_weight = nn.Parameter(torch.randn(2, units) * spread)
        gate = nn.Linear(inputs + units, units)
        self.output_weight, self.output_bias = gate.weight, gate.bias
        with torch.no_grad():
            self.input_bias[units:] += forget_bias

    def forward(
        self, x: Tensor, state: State | None = None, *, route: Route | None = None, backend: str = "auto"
    ) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: inputs ``[T, B, inputs]``.
            state: as returned for the steps before; zero unless given.
            route: edges that backward ignores (a property of the learning rule).
            backend: as for :func:`neuro.kernels.scans.scan`.

        Returns:
            Output ``[T, B, units]`` and the state after the last step.

        Raises:
            InputError: shape, dtype or device that does not fit.
        """
        (before,) = self._before(x, state)
        c, after = self._run(x, before, route, backend)
        return self._read(x, c), (after,)

    @torch.no_grad()
    def trace(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Like ``forward`` without gradients, also returning the states, ``{"c": [T, B, units]}``."""
        (before,) = self._before(x, state)
        c, after = self._run(x, before, None, "auto")
        return self._read(x, c), (after,), {"c": c}

    def _run(self, x: Tensor, before: Tensor, route: Route | None, backend: str) -> tuple[Tensor, Tensor]:
        drives = list(dense_linear(x, self.input_weight, self.input_bias).chunk(2, 2))
        c, (after,) = scan(_SPEC, drives, [before], self._coefficients(), route=route, backend=backend, text=_TEXT)
        return c, after

    def _coefficients(self) -> list[Tensor]:
        """The parameters of the equations, in the order of the program (by name)."""
        w_z, w_f = self.state_weight
        return [w_f, w_z]

    def _read(self, x: Tensor, c: Tensor) -> Tensor:
        return torch.sigmoid(dense_linear(torch.cat([x, c], 2), self.output_weight, self.output_bias)) * c

    def rtrl(
        self,
        x: Tensor,
        signal: Tensor,
        state: State | None = None,
        traces: Traces | None = None,
        *,
        backend: str = "auto",
    ) -> ForwardGradient:
        """Real-time recurrent learning: the gradient so far of a loss that is a sum over steps.

        Nothing is written to ``.grad``: a rule adds ``gradients`` of each stretch to it. Where the signal of a step
        depends on its output, run ``step`` first, then this for the same step. Memory per sample: 2 units (inputs + 1)
        sensitivities to weights and biases, 2 units to ``state_weight``.

        Args:
            x: inputs ``[T, B, inputs]``; one step online, any number of them at once.
            signal: derivative of each step's own loss with respect to that step's output, ``[T, B, units]``.
            state: as left by the stretch before; zero unless given.
            traces: as left by the stretch before; none yet unless given.
            backend: as for :func:`neuro.kernels.scans.eligibility.eligibility`.

        Raises:
            InputError: shape, dtype or device that does not fit.

        >>> import neuro
        >>> layer, x = neuro.ELSTM(3, 2), torch.ones(4, 1, 3)
        >>> state, traces, total = None, None, 0
        >>> for now in x.split(1):  # online, the loss of a step being the sum of its output
        ...     made = layer.rtrl(now, torch.ones(1, 1, 2), state, traces)
        ...     state, traces, total = made.state, made.traces, total + made.gradients["input_weight"]
        >>> layer(x)[0].sum().backward()
        >>> torch.allclose(layer.input_weight.grad, total, atol=1e-6)
        True
        """
        (before,) = self._before(x, state)
        if not isinstance(signal, Tensor) or signal.shape != (*x.shape[:2], self.units):
            seen = list(signal.shape) if isinstance(signal, Tensor) else type(signal).__name__
            raise InputError(f"signal must be [T, B, units] = {[*x.shape[:2], self.units]}, got {seen}")
        with torch.no_grad():
            drive = dense_linear(x, self.input_weight, self.input_bias)
            ones = torch.cat([x, x.new_ones((*x.shape[:2], 1))], 2)  # the bias is a weight of an input of one
            values = [c.detach() for c in self._coefficients()]
            c, _ = self._run(x, before, None, "auto")
        output, (to_x, to_c, to_weight, to_bias) = self._one_step(x, before, c, signal)
        made = eligibility(_SPEC, drive, ones, to_c, [before.detach()], values, traces, backend=backend)
        w_f, w_z = made.coefficient_grad
        gradients = {
            "input_weight": made.weight_grad[:, :-1],
            "input_bias": made.weight_grad[:, -1],
            "state_weight": torch.stack([w_z, w_f]),
            "output_weight": to_weight,
            "output_bias": to_bias,
        }
        return ForwardGradient(output, (made.state[0],), gradients, to_x, made.traces)

    def _one_step(
        self, x: Tensor, before: Tensor, c: Tensor, signal: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Output, and the gradients of x, c, output weight and bias that go through each step by itself."""
        earlier = torch.cat([before.unsqueeze(0), c])[: len(c)].detach()
        with torch.enable_grad():
            leaf, (w_z, w_f) = x.detach().requires_grad_(), self.state_weight.detach()
            z_in, f_in = F.linear(leaf, self.input_weight.detach(), self.input_bias.detach()).chunk(2, 2)
            z, f = torch.tanh(z_in + w_z * earlier), torch.sigmoid(f_in + w_f * earlier)
            made = z + (earlier - z) * f
            values = (
                leaf,
                made,
                self.output_weight.detach().requires_grad_(),
                self.output_bias.detach().requires_grad_(),
            )
            gate = torch.sigmoid(F.linear(torch.cat([leaf, made], 2), *values[2:]))
            output = gate * made
            to_x, to_c, to_weight, to_bias = torch.autograd.grad(output, values, signal)
        return output.detach(), (to_x, to_c, to_weight, to_bias)
