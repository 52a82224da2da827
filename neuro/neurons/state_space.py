"""Structured state spaces as layers: a diagonal linear system per channel, run by steps or as a convolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from neuro.errors import InputError, unknown_name
from neuro.kernels.compiler.route import Route
from neuro.kernels.scans.state_space import MODES, state_space
from neuro.layer import Population, State

__all__ = ["S4D"]


def _legs(states: int) -> Tensor:
    """Upper half of the spectrum of the normal part of HiPPO-LegS of even size ``states``."""
    root = torch.sqrt(2.0 * torch.arange(states, dtype=torch.float64) + 1)
    lower = torch.tril(root[:, None] * root[None, :] / 2, -1)
    frequencies: Tensor = torch.linalg.eigvalsh(-1j * (lower - lower.t()).to(torch.complex128))
    return frequencies[states // 2 :]


_FREQUENCIES: Mapping[str, Callable[[int], Tensor]] = MappingProxyType(
    {
        "legs": _legs,
        "lin": lambda states: math.pi * torch.arange(states // 2, dtype=torch.float64),
        "inv": lambda states: (
            states / math.pi * (states / (2 * torch.arange(states // 2, dtype=torch.float64) + 1) - 1)
        ),
    }
)
_DISCRETISATIONS = ("zoh", "bilinear")


class S4D(Population):
    r"""Diagonal state spaces, one per channel: ``ds/dt = rate (A s + x)``, ``y = 2 Re(C s) + D x``.

    ``A = -exp(log_decay) + i frequency`` holds one of each pair of complex eigenvalues, so that the system is stable
    whatever is learned. With ``\Delta = rate dt``, learned through its logarithm, a step is
    ``\bar A = exp(\Delta A)``, ``\bar B = (\bar A - 1) / A`` (``"zoh"``), or ``\bar A = (1 + \Delta A / 2) / (1 - \Delta A / 2)``,
    ``\bar B = \Delta / (1 - \Delta A / 2)`` (``"bilinear"``). State: real and imaginary part of ``s / \bar B``,
    each ``[B, size, modes]``.

    Args:
        size: number of channels.
        modes: complex states per channel; half the state size of the papers.
        initial: where the frequencies begin: ``"legs"`` (the normal part of HiPPO-LegS), ``"lin"`` (``pi n``), ``"inv"``.
        discretisation: ``"zoh"`` (zero-order hold, exact for an input constant over a step) or ``"bilinear"``.
        steps: least and greatest ``\Delta`` at the start, drawn log-uniformly.
        dt: time step in seconds.
        mode: ``"auto"``, ``"recurrence"`` or ``"convolution"``, as for :func:`neuro.kernels.scans.state_space.state_space`.

    Raises:
        InputError: sizes, steps or dt out of range, an unknown name.

    Source: Gu et al. 2022, "On the parameterization and initialization of diagonal state space models" (NeurIPS),
    sections 3 and 4; bilinear steps as in Gu et al. 2021, "Combining recurrent, convolutional, and
    continuous-time models with linear state-space layers" (NeurIPS).

    >>> import neuro
    >>> y, (re, im) = neuro.S4D(4, modes=8)(torch.zeros(50, 2, 4))
    >>> y.shape, re.shape
    (torch.Size([50, 2, 4]), torch.Size([2, 4, 8]))
    """

    def __init__(
        self,
        size: int,
        *,
        modes: int = 32,
        initial: str = "legs",
        discretisation: str = "zoh",
        steps: tuple[float, float] = (1e-3, 1e-1),
        dt: float = 1e-3,
        mode: str = "auto",
    ) -> None:
        super().__init__()
        for name, value in (("size", size), ("modes", modes)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"S4D {name} must be an integer from 1 on, got {value!r}")
        if not (math.isfinite(dt) and dt > 0):
            raise InputError(f"S4D dt must be a finite time above 0 s, got {dt!r}")
        if len(steps) != 2 or not 0 < steps[0] <= steps[1] < math.inf:
            raise InputError(f"S4D steps must be two numbers above 0, the least first, got {steps!r}")
        options = (("initial", initial, _FREQUENCIES), ("mode", mode, MODES))
        for name, given, known in (*options, ("discretisation", discretisation, _DISCRETISATIONS)):
            if given not in known:
                raise unknown_name(f"S4D {name}", given, known)
        self.size, self.modes, self.dt, self.mode = (size,), modes, float(dt), mode
        self.initial, self.discretisation, self.steps = initial, discretisation, (float(steps[0]), float(steps[1]))
        low, high = (math.log(step / dt) for step in steps)
        self.log_rate = nn.Parameter(torch.empty(size).uniform_(low, high))
        self.log_decay = nn.Parameter(torch.full((size, modes), math.log(0.5)))
        self.frequency = nn.Parameter(_FREQUENCIES[initial](2 * modes).to(self.log_rate).expand(size, modes).clone())
        self.c_re, self.c_im = (nn.Parameter(torch.randn(size, modes) * math.sqrt(0.5)) for _ in range(2))
        self.skip = nn.Parameter(torch.randn(size))

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Rest: real and imaginary part, each ``[batch, size, modes]``."""
        shape = (batch, *self.size, self.modes)
        return torch.zeros(shape, device=device, dtype=dtype), torch.zeros(shape, device=device, dtype=dtype)

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        route: Route | None = None,
        mode: str | None = None,
        backend: str = "auto",
    ) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: input ``[T, B, size]``.
            state: as returned for the steps before; rest unless given.
            route: edges that backward ignores; one that cuts time takes the recurrence.
            mode: instead of the layer's own.
            backend: engine of the recurrence, as for :func:`neuro.kernels.scans.scan.scan`.

        Returns:
            Output ``[T, B, size]`` and the state after the last step.

        Raises:
            InputError: shape, dtype or device that does not fit; a route that cuts and ``mode="convolution"``.
        """
        before = self._before(x, state)
        exponent, gain = self._step()
        weight = 2 * torch.complex(self.c_re, self.c_im) * gain
        mode = self.mode if mode is None else mode
        y, after = state_space(x, exponent, weight, before, mode=mode, route=route, backend=backend)
        return y + self.skip * x, (after.real, after.imag)

    @torch.no_grad()
    def trace(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Like ``forward`` without gradients, also the states by name, ``{"re", "im"}``, ``[T, B, size, modes]``."""
        y, after = self(x, state)
        before, pole = self._before(x, state), torch.exp(self._step()[0])
        now = torch.zeros_like(pole).expand(x.shape[1], *pole.shape) if before is None else before
        states = []
        for u in x:
            now = pole * now + u.unsqueeze(2)
            states.append(now)
        seen = torch.stack(states) if states else now.new_empty((0, *now.shape))
        return y, after, {"re": seen.real, "im": seen.imag}

    def eigenvalues(self) -> Tensor:
        """Eigenvalues of one step, complex ``[size, modes]``, all within the unit circle; detached."""
        return torch.exp(self._step()[0]).detach()

    def _step(self) -> tuple[Tensor, Tensor]:
        """Logarithm of the eigenvalues of one step, and what the input is multiplied by, complex ``[H, N]``."""
        pole = torch.complex(-torch.exp(self.log_decay), self.frequency)
        span = torch.exp(self.log_rate + math.log(self.dt))[:, None] * torch.ones_like(pole)
        if self.discretisation == "zoh":
            return span * pole, torch.expm1(span * pole) / pole
        denominator = 1 - span * pole / 2
        return torch.log((1 + span * pole / 2) / denominator), span / denominator

    def _before(self, x: Tensor, state: State | None) -> Tensor | None:
        if x.dim() != 3 or tuple(x.shape[2:]) != self.size:
            raise InputError(f"S4D takes [T, B, {self.size[0]}] (time first), got {tuple(x.shape)}")
        if state is None:
            return None
        shape = (x.shape[1], *self.size, self.modes)
        if len(state) != 2 or any(tuple(s.shape) != shape for s in state):
            raise InputError(f"S4D state must be two tensors {shape}, got {[tuple(s.shape) for s in state]}")
        return torch.complex(*state)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values, JSON-able."""
        names = ("modes", "initial", "discretisation", "dt", "mode")
        return {"size": self.size[0], **{n: getattr(self, n) for n in names}, "steps": list(self.steps)}

    def extra_repr(self) -> str:
        """Sizes, time step and discretisation."""
        return f"{self.size[0]}, modes={self.modes}, dt={self.dt:g} s, discretisation={self.discretisation!r}, mode={self.mode!r}"
