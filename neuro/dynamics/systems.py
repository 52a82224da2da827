"""Chaotic systems in continuous time: their equations, Jacobians, and trajectories to a stated tolerance."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro.errors import InputError

__all__ = ["Flow", "Lorenz63", "Lorenz96", "Roessler", "simulate"]

Array = NDArray[np.float64]


class Flow(ABC):
    """``dx/dt = f(x)``; time is without unit, as in the papers."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """How many variables."""

    @property
    @abstractmethod
    def start(self) -> Array:
        """A state in the basin of the attractor, ``[M]``."""

    @abstractmethod
    def derivative(self, x: Array) -> Array:
        """``f(x)``, ``[..., M]``."""

    @abstractmethod
    def jacobian(self, x: Array) -> Array:
        """``df/dx [..., M, M]`` at ``x [..., M]``."""


@dataclass(frozen=True)
class Lorenz63(Flow):
    """``x' = sigma (y - x)``, ``y' = x (rho - z) - y``, ``z' = x y - beta z``.

    Its Lyapunov exponents are 0.9056, 0 and -14.5723 (Sprott 2003, "Chaos and time-series analysis"); their sum is
    the divergence, ``-(sigma + 1 + beta)``. Source: Lorenz 1963, "Deterministic nonperiodic flow", eqs. 25-27.

    >>> Lorenz63().derivative(np.array([1.0, 1.0, 1.0])).round(4).tolist()
    [0.0, 26.0, -1.6667]
    """

    sigma: float = 10.0
    rho: float = 28.0
    beta: float = 8 / 3

    @property
    def dimension(self) -> int:
        """Three."""
        return 3

    @property
    def start(self) -> Array:
        """``[3]``, near the unstable origin."""
        return np.array([1.0, 1.0, 1.0])

    def derivative(self, x: Array) -> Array:
        """As in :meth:`Flow.derivative`."""
        a, b, c = np.moveaxis(x, -1, 0)
        return np.stack([self.sigma * (b - a), a * (self.rho - c) - b, a * b - self.beta * c], -1)

    def jacobian(self, x: Array) -> Array:
        """As in :meth:`Flow.jacobian`."""
        made = np.zeros((*x.shape, 3))
        made[..., 0, 0], made[..., 0, 1] = -self.sigma, self.sigma
        made[..., 1, 0], made[..., 1, 1], made[..., 1, 2] = self.rho - x[..., 2], -1, -x[..., 0]
        made[..., 2, 0], made[..., 2, 1], made[..., 2, 2] = x[..., 1], x[..., 0], -self.beta
        return made


@dataclass(frozen=True)
class Lorenz96(Flow):
    """``x_k' = (x_{k+1} - x_{k-2}) x_{k-1} - x_k + F`` on a ring of ``size`` variables; ``F = 8`` is chaotic.

    The exponents sum to ``-size``. Source: Lorenz 1996, "Predictability: a problem partly solved", eq. 1.

    >>> Lorenz96(4, force=8.0).derivative(np.full(4, 8.0)).tolist()
    [0.0, 0.0, 0.0, 0.0]
    """

    size: int = 20
    force: float = 8.0

    def __post_init__(self) -> None:
        if self.size < 4:
            raise InputError(f"Lorenz96 size must be at least 4, got {self.size}")

    @property
    def dimension(self) -> int:
        """``size``."""
        return self.size

    @property
    def start(self) -> Array:
        """``[size]``, the unstable fixed point but for one variable."""
        made = np.full(self.size, self.force)
        made[0] += 0.01
        return made

    def derivative(self, x: Array) -> Array:
        """As in :meth:`Flow.derivative`."""
        made: Array = (np.roll(x, -1, -1) - np.roll(x, 2, -1)) * np.roll(x, 1, -1) - x + self.force
        return made

    def jacobian(self, x: Array) -> Array:
        """As in :meth:`Flow.jacobian`."""
        made, k = np.zeros((*x.shape, self.size)), np.arange(self.size)
        made[..., k, k] = -1
        made[..., k, (k + 1) % self.size] += np.roll(x, 1, -1)
        made[..., k, (k - 2) % self.size] -= np.roll(x, 1, -1)
        made[..., k, (k - 1) % self.size] += np.roll(x, -1, -1) - np.roll(x, 2, -1)
        return made


@dataclass(frozen=True)
class Roessler(Flow):
    """``x' = -y - z``, ``y' = x + a y``, ``z' = b + z (x - c)``; its largest exponent is 0.0714 (Sprott 2003).

    Source: Roessler 1976, "An equation for continuous chaos", eq. 2.

    >>> Roessler().derivative(np.array([1.0, 2.0, 0.0])).round(4).tolist()
    [-2.0, 1.4, 0.2]
    """

    a: float = 0.2
    b: float = 0.2
    c: float = 5.7

    @property
    def dimension(self) -> int:
        """Three."""
        return 3

    @property
    def start(self) -> Array:
        """``[3]``."""
        return np.array([1.0, 1.0, 0.0])

    def derivative(self, x: Array) -> Array:
        """As in :meth:`Flow.derivative`."""
        p, q, r = np.moveaxis(x, -1, 0)
        return np.stack([-q - r, p + self.a * q, self.b + r * (p - self.c)], -1)

    def jacobian(self, x: Array) -> Array:
        """As in :meth:`Flow.jacobian`."""
        made = np.zeros((*x.shape, 3))
        made[..., 0, 1], made[..., 0, 2], made[..., 1, 0], made[..., 1, 1] = -1, -1, 1, self.a
        made[..., 2, 0], made[..., 2, 2] = x[..., 2], x[..., 0] - self.c
        return made


def simulate(
    flow: Flow, steps: int, dt: float, *, start: Array | None = None, skip: float = 0.0, tolerance: float = 1e-9
) -> Tensor:
    """States of a system at equal distances in time, by the Dormand-Prince method of order 8.

    Args:
        flow: the system.
        steps: how many states.
        dt: time from one to the next, in the system's own unit.
        start: ``[M]``; the system's own unless given.
        skip: time that passes before the first of them, in which a transient dies away.
        tolerance: error allowed at each inner step, relative and absolute. Chaos multiplies it by
            ``exp(lambda_max t)``: two tolerances give the same attractor, not the same late states.

    Returns:
        ``[steps, M]``, float64.

    Raises:
        InputError: a number out of range, or a start of another shape.

    >>> simulate(Lorenz63(), 3, 0.01).shape
    torch.Size([3, 3])
    """
    if steps < 1 or not (math.isfinite(dt) and dt > 0) or not 0 <= skip < math.inf or not 0 < tolerance < 1:
        seen = f"{steps}, {dt:g}, {skip:g}, {tolerance:g}"
        raise InputError(f"steps must be 1 or more, dt above 0, skip 0 or more, tolerance between 0 and 1, got {seen}")
    first = flow.start if start is None else np.asarray(start, np.float64)
    if first.shape != (flow.dimension,):
        raise InputError(f"start must be [{flow.dimension}], got {list(first.shape)}")
    from scipy.integrate import solve_ivp

    times = skip + dt * np.arange(steps)
    found = solve_ivp(
        lambda _, x: flow.derivative(x),
        (0.0, max(float(times[-1]), 1e-300)),
        first,
        method="DOP853",
        t_eval=times,
        rtol=max(tolerance, 1e-13),
        atol=tolerance,
    )
    if not found.success:
        raise InputError(f"the system cannot be followed from {first.tolist()}: {found.message}")
    return torch.from_numpy(np.ascontiguousarray(found.y.T))
