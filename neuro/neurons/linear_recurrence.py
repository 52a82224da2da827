"""Linear recurrences whose eigenvalues follow the input, within (0, 1) or, signed, within (-1, 1)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.errors import InputError, unknown_name
from neuro.kernels.compiler.equations import Equations
from neuro.kernels.compiler.route import Route
from neuro.kernels.scans.scan import ScanSpec, scan
from neuro.layer import Population, State

__all__ = ["GatedLRU", "LRUBlock"]

_SPEC = ScanSpec(Equations("GatedLRU", "h' = gate*h + x\noutput h", {}, ("x", "gate")), "euler", "none")
_TEXT = _SPEC.to_text()
_EIGENVALUES = ("positive", "signed")


class GatedLRU(Population):
    r"""Linear recurrence with a gate: ``h[t] = a[t] h[t-1] + V x[t] + c``, element-wise, the output is ``h``.

    ``a = sigmoid(W x + b)`` (``"positive"``), or ``a = 2 sigmoid(W x + b) - 1`` (``"signed"``). A state that can
    change its sign counts modulo 2: parity at any length, which no positive gate can do. Linear in the state, so that
    no step's gradient passes a nonlinearity.

    Args:
        inputs: number of inputs.
        units: number of states.
        eigenvalues: ``"positive"`` or ``"signed"``.
        dt: time step in seconds; the layer itself knows steps only.

    Raises:
        InputError: sizes or dt out of range, unknown eigenvalues.

    Gates that count saturate, and the gradient of a saturated gate is small: ``gate_weight`` and ``gate_bias`` learn to
    count far beyond the lengths trained on only at a larger learning rate than the rest (30 times, in the tests).
    Source: Grazzi et al. 2025, "Unlocking state-tracking in linear RNNs through negative eigenvalues" (ICLR).

    >>> import neuro
    >>> layer = neuro.GatedLRU(2, 3, eigenvalues="signed")
    >>> h, state = layer(torch.zeros(5, 4, 2))
    >>> h.shape, state[0].shape
    (torch.Size([5, 4, 3]), torch.Size([4, 3]))
    """

    def __init__(self, inputs: int, units: int, *, eigenvalues: str = "positive", dt: float = 1e-3) -> None:
        super().__init__()
        for name, value in (("inputs", inputs), ("units", units)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"GatedLRU {name} must be an integer from 1 on, got {value!r}")
        if not (math.isfinite(dt) and dt > 0):
            raise InputError(f"GatedLRU dt must be a finite time above 0 s, got {dt!r}")
        if eigenvalues not in _EIGENVALUES:
            raise unknown_name("GatedLRU eigenvalues", eigenvalues, _EIGENVALUES)
        self.inputs, self.units, self.size, self.dt, self.eigenvalues = inputs, units, (units,), float(dt), eigenvalues
        made = nn.Linear(inputs, 2 * units)
        self.weight = nn.Parameter(made.weight.detach()[:units].clone())
        self.bias = nn.Parameter(torch.zeros(units))
        self.gate_weight = nn.Parameter(made.weight.detach()[units:].clone())
        # Memories from a step to some hundred.
        self.gate_bias = nn.Parameter(torch.linspace(0.0, 6.0, units) if units > 1 else torch.zeros(1))

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Zero, ``[batch, units]``."""
        return (torch.zeros((batch, self.units), device=device, dtype=dtype),)

    def gate(self, x: Tensor) -> Tensor:
        """The eigenvalues of each step, ``[T, B, inputs] -> [T, B, units]``."""
        a = torch.sigmoid(F.linear(x, self.gate_weight, self.gate_bias))
        return 2 * a - 1 if self.eigenvalues == "signed" else a

    def forward(
        self, x: Tensor, state: State | None = None, *, route: Route | None = None, backend: str = "auto"
    ) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: input ``[T, B, inputs]``.
            state: as returned for the steps before; zero unless given.
            route: edges that backward ignores.
            backend: as for :func:`neuro.kernels.scans.scan.scan`.

        Returns:
            Output ``[T, B, units]`` and the state after the last step.

        Raises:
            InputError: shape, dtype or device that does not fit.
        """
        if x.dim() != 3 or x.shape[2] != self.inputs:
            raise InputError(f"GatedLRU takes [T, B, {self.inputs}] (time first), got {tuple(x.shape)}")
        shape = (x.shape[1], self.units)
        if state is None:
            state = self.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
        if len(state) != 1 or tuple(state[0].shape) != shape:
            raise InputError(f"GatedLRU state must be one tensor {shape}, got {[tuple(s.shape) for s in state]}")
        driven = [F.linear(x, self.weight, self.bias), self.gate(x)]
        h, after = scan(_SPEC, driven, list(state), [], route=route, backend=backend, text=_TEXT)
        return h, tuple(after)

    @torch.no_grad()
    def trace(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Like ``forward`` without gradients, also the state and the gate, ``{"h", "gate"}``, ``[T, B, units]``."""
        h, after = self(x, state)
        return h, after, {"h": h, "gate": self.gate(x)}

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values, JSON-able."""
        return {"inputs": self.inputs, "units": self.units, "eigenvalues": self.eigenvalues, "dt": self.dt}

    def extra_repr(self) -> str:
        """Sizes, eigenvalues and time step."""
        return f"{self.inputs}, {self.units}, eigenvalues={self.eigenvalues!r}, dt={self.dt:g} s"


class LRUBlock(Population):
    """A residual block around a :class:`GatedLRU`: ``x + GLU(U gelu(h))``, ``h`` of the normalised ``x``.

    Args:
        size: number of channels, in and out.
        units: states of the recurrence; ``size`` unless given.
        eigenvalues: as for :class:`GatedLRU`.
        dt: time step in seconds.

    Raises:
        InputError: sizes or dt out of range, unknown eigenvalues.

    Source: the block of Orvieto et al. 2023, "Resurrecting recurrent neural networks for long sequences" (ICML).

    >>> import neuro
    >>> y, (h,) = neuro.LRUBlock(4, units=6, eigenvalues="signed")(torch.zeros(5, 2, 4))
    >>> y.shape, h.shape
    (torch.Size([5, 2, 4]), torch.Size([2, 6]))
    """

    def __init__(self, size: int, *, units: int | None = None, eigenvalues: str = "positive", dt: float = 1e-3) -> None:
        super().__init__()
        self.core = GatedLRU(size, size if units is None else units, eigenvalues=eigenvalues, dt=dt)
        self.size, self.dt = (size,), self.core.dt
        self.norm, self.mix = nn.LayerNorm(size), nn.Linear(self.core.units, 2 * size)

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """That of the recurrence: zero, ``[batch, units]``."""
        return self.core.initial_state(batch, device=device, dtype=dtype)

    def forward(
        self, x: Tensor, state: State | None = None, *, route: Route | None = None, backend: str = "auto"
    ) -> tuple[Tensor, State]:
        """Run a sequence ``[T, B, size]``; arguments as for :meth:`GatedLRU.forward`.

        Raises:
            InputError: shape, dtype or device that does not fit.
        """
        if x.dim() != 3 or tuple(x.shape[2:]) != self.size:
            raise InputError(f"LRUBlock takes [T, B, {self.size[0]}] (time first), got {tuple(x.shape)}")
        h, after = self.core(self.norm(x), state, route=route, backend=backend)
        return x + F.glu(self.mix(F.gelu(h)), -1), after

    @torch.no_grad()
    def trace(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Like ``forward`` without gradients, also the state and the gate of the recurrence, ``[T, B, units]``."""
        y, after = self(x, state)
        return y, after, self.core.trace(self.norm(x), state)[2]

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values, JSON-able."""
        core = self.core.definition()
        return {"size": core.pop("inputs"), **core}

    def extra_repr(self) -> str:
        """Size and time step."""
        return f"{self.size[0]}, dt={self.dt:g} s"
