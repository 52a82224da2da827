"""Delays that are learned: what every layer with them shares.

What trains is ``position``, in steps and without limits: the delay follows it between the
shortest and the longest and turns back at both ends, so that no step of an optimizer leaves the
range and none gets stuck there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from neuro.errors import InputError, unknown_name

__all__ = ["KINDS", "LearnedDelays", "count_taps", "sigma_schedule"]

KINDS = ("synapse", "axon", "dendrite")
_NARROWEST = 0.5  # sigma in steps at the end of the schedule: the paper's 0.23 and the 0.27 it adds
_ADDED = 0.27


def sigma_schedule(epoch: int, epochs: int, max_delay: float, *, dt: float = 1e-3) -> float:
    """Width of the taps in an epoch [s]: falls exponentially over the first quarter of training, then stays.

    ``sigma = dt (s0 a^min(epoch, E) + 0.27)``, ``s0 = D // 2``, ``a = (0.23 / s0)^(1 / E)``,
    ``E = epochs // 4``: from half the longest delay to half a step (Hammouamri et al., ICLR
    2024, and the code of its authors, which adds the 0.27).

    Args:
        epoch: from 0 on.
        epochs: of the whole training.
        max_delay: the longest delay in seconds.
        dt: time step in seconds.

    Raises:
        InputError: no epochs; a longest delay that is not a whole number of steps.

    >>> [round(1e3 * sigma_schedule(e, 150, 0.24, dt=0.01), 1) for e in (0, 1, 37, 100)]
    [122.7, 110.5, 5.0, 5.0]
    """
    if epoch < 0 or epochs < 1:
        raise InputError(f"epoch must be from 0 on and epochs at least 1, got {epoch} and {epochs}")
    first, last = max(count_taps(max_delay, dt) // 2, _NARROWEST - _ADDED), max(1, epochs // 4)
    shrunk = first * ((_NARROWEST - _ADDED) / first) ** (min(epoch, last) / last)
    return dt * (float(shrunk) + _ADDED)


def count_taps(max_delay: float, dt: float) -> int:
    """Delays there are from 0 to ``max_delay``, both in seconds, in steps of ``dt``.

    >>> count_taps(4e-3, 1e-3)
    5
    """
    if not (math.isfinite(dt) and dt > 0):
        raise InputError(f"dt must be a finite number of seconds above 0, got {dt}")
    steps = max_delay / dt if math.isfinite(max_delay) else math.nan
    if not (steps > 0.5 and abs(steps - round(steps)) < 1e-6 * max(1.0, steps)):
        raise InputError(f"max_delay must be a whole number of steps of dt={dt:g} s, at least one, got {max_delay} s")
    return round(steps) + 1


class LearnedDelays(nn.Module):
    """A part of a layer: delays from ``shortest`` steps to ``max_delay``, and the width of their taps.

    Attributes:
        position: what trains, in steps; shape by kind.
        shortest: the shortest delay in steps.
        longest: the longest.
        kind, max_delay, dt: as given.
    """

    position: nn.Parameter
    dt: float

    def _set_delays(
        self,
        sizes: Mapping[str, tuple[int, ...]],
        kind: str,
        max_delay: float,
        dt: float,
        *,
        sigma: float | None,
        delay: float | Tensor | None,
        shortest: int = 0,
    ) -> None:
        """Check and take over what the layer was given; ``sizes`` are the shapes of each kind's delays."""
        if kind not in KINDS:
            raise unknown_name("kind", kind, KINDS)
        self.longest, self.shortest = count_taps(max_delay, dt) - 1, shortest
        if self.longest <= shortest:
            raise InputError(f"max_delay must be at least {shortest + 1} steps of dt={dt:g} s, got {max_delay} s")
        self.max_delay, self.kind, self.dt = max_delay, kind, dt
        self.sigma = sigma_schedule(0, 1, max_delay, dt=dt) if sigma is None else sigma
        self.position = nn.Parameter(self._positions(sizes[kind], delay))

    def _positions(self, shape: tuple[int, ...], delay: float | Tensor | None) -> Tensor:
        """Initial delays in steps, checked."""
        if delay is None:
            steps = self.shortest + torch.rand(shape) * (self.longest - self.shortest)
        else:
            given = torch.as_tensor(delay, dtype=torch.get_default_dtype())
            if given.dim() and given.shape != shape:
                raise InputError(f"delay of kind {self.kind!r} must be {list(shape)}, got {list(given.shape)}")
            steps = (given / self.dt).expand(shape)
        low, high = (float(steps.min()), float(steps.max())) if steps.numel() else (self.shortest, self.shortest)
        if not (low >= self.shortest - 1e-3 * bool(self.shortest) and high <= self.longest + 1e-3):
            raise InputError(
                f"delay must be in {self.shortest * self.dt:g}..{self.max_delay:g} s, the longest that is held, "
                f"got {low * self.dt:g}..{high * self.dt:g} s; give a larger max_delay"
            )
        return steps.detach().t().contiguous().t().clone() if steps.dim() == 2 else steps.detach().clone()

    @property
    def sigma(self) -> float:
        """Width of the Gaussian taps in seconds; part of the state dict."""
        return self._sigma

    @sigma.setter
    def sigma(self, value: float) -> None:
        """Set it, in seconds."""
        if not (math.isfinite(value) and value > 0):
            raise InputError(
                f"sigma must be a finite number of seconds above 0, got {value}; .eval() rounds the delays"
            )
        self._sigma = float(value)

    @property
    def steps(self) -> Tensor:
        """Delays in time steps, from ``shortest`` to ``longest``; shape by kind, differentiable in ``position``."""
        span = self.longest - self.shortest
        there = (self.position - self.shortest).remainder(2 * span)
        return self.shortest + torch.where(there <= span, there, 2 * span - there)

    @property
    def delay(self) -> Tensor:
        """Delays in seconds; shape by kind."""
        return self.steps * self.dt

    @torch.no_grad()
    def round_(self) -> Self:
        """Round the delays themselves to whole steps, in place."""
        self.position.copy_(self.steps.round())
        return self

    def get_extra_state(self) -> Tensor:
        """Sigma in seconds (scalar), which a schedule changes."""
        return torch.tensor(self.sigma, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """The inverse of :meth:`get_extra_state` (a scalar)."""
        self.sigma = float(state)
