r"""Lyapunov exponents: how fast neighbouring states part, of systems in continuous time and of trained maps.

``lambda_i = lim 1/(T dt) sum_t log |R_ii(t)|`` with ``J(t) Q(t-1) = Q(t) R(t)``: Benettin et al. 1980, "Lyapunov
characteristic exponents for smooth dynamical systems"; Eckmann and Ruelle 1985, "Ergodic theory of chaos and strange
attractors", section V.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from neuro.dynamics.systems import Array, Flow
from neuro.errors import InputError

__all__ = ["flow_exponents", "lyapunov_exponents", "map_exponents"]


def lyapunov_exponents(jacobians: Tensor, *, dt: float = 1.0, skip: int = 0) -> Tensor:
    """All exponents, from the largest, of the product of Jacobians along an orbit, by QR at every step.

    Args:
        jacobians: ``[T, M, M]``, the first step first.
        dt: time of one step; exponents are per unit of it.
        skip: steps at the start in which directions settle and nothing is counted.

    Returns:
        ``[M]``, float64.

    Raises:
        InputError: another shape, or no step left to count.

    >>> lyapunov_exponents(torch.diag(torch.tensor([0.5, 2.0])).expand(50, 2, 2)).exp()
    tensor([2.0000, 0.5000], dtype=torch.float64)
    """
    if jacobians.dim() != 3 or jacobians.shape[1] != jacobians.shape[2]:
        raise InputError(f"jacobians must be [T, M, M], got {list(jacobians.shape)}")
    if not 0 <= skip < len(jacobians) or not dt > 0:
        raise InputError(f"skip must be from 0 to {len(jacobians) - 1} and dt above 0, got {skip} and {dt:g}")
    steps = jacobians.detach().double().cpu().numpy()
    q, total = np.eye(steps.shape[1]), np.zeros(steps.shape[1])
    for t, step in enumerate(steps):
        q, r = np.linalg.qr(step @ q)
        if t >= skip:
            total += np.log(np.abs(np.diag(r)) + 1e-300)
    return torch.from_numpy(np.sort(total / ((len(steps) - skip) * dt))[::-1].copy())


@torch.no_grad()
def map_exponents(
    step: Callable[[Tensor], Tensor],
    jacobian: Callable[[Tensor], Tensor],
    start: Tensor,
    steps: int,
    *,
    dt: float = 1.0,
    skip: int = 100,
) -> Tensor:
    """Exponents ``[M]`` of ``z -> step(z)`` along its own orbit.

    Args:
        step: the map, ``[M]`` to ``[M]``.
        jacobian: its derivative at each of many states, ``[T, M]`` to ``[T, M, M]``.
        start: ``[M]``.
        steps: how many are counted.
        dt: time of one step; exponents are per unit of it.
        skip: steps before the first that counts.

    Raises:
        InputError: the orbit leaves the finite numbers; a number out of range.

    >>> import math
    >>> found = map_exponents(lambda z: 4 * z * (1 - z), lambda z: (4 - 8 * z).unsqueeze(-1),
    ...     torch.tensor([0.3], dtype=torch.float64), 20_000)  # the logistic map: log 2
    >>> bool(abs(found - math.log(2)) < 0.01)
    True
    """
    if steps < 1 or skip < 0:
        raise InputError(f"steps must be 1 or more and skip 0 or more, got {steps} and {skip}")
    orbit, z = [], start
    for _ in range(steps + skip):
        orbit.append(z)
        z = step(z)
    states = torch.stack(orbit)
    if not bool(torch.isfinite(states).all()):
        raise InputError(f"the map leaves the finite numbers within {steps + skip} steps from {start.tolist()}")
    return lyapunov_exponents(jacobian(states), dt=dt, skip=skip)


def flow_exponents(
    flow: Flow, *, duration: float = 1000.0, dt: float = 0.005, skip: float = 20.0, count: int | None = None
) -> Tensor:
    """Exponents of a system in continuous time, per unit of its time.

    Its equations and those of ``count`` tangent vectors, ``V' = J(x) V``, are integrated together by the classical
    Runge-Kutta method of order 4 and the vectors made orthonormal after every step.

    Args:
        flow: the system.
        duration: time over which is averaged.
        dt: time of one step of the integration.
        skip: time before, in which a transient dies away and the vectors settle.
        count: how many of the largest; all unless given.

    Returns:
        ``[count]``, float64, from the largest.

    Raises:
        InputError: a number out of range.

    >>> from neuro.dynamics.systems import Lorenz63
    >>> found = flow_exponents(Lorenz63(), duration=20.0, dt=0.01)
    >>> bool(abs(found.sum() + 10 + 1 + 8 / 3) < 0.01)  # the divergence
    True
    """
    number = flow.dimension if count is None else count
    if not (1 <= number <= flow.dimension and duration >= dt > 0 and skip >= 0):
        seen = f"{number}, {duration:g}, {dt:g}, {skip:g}"
        raise InputError(
            f"count must be 1 to {flow.dimension}, dt above 0, duration at least dt, skip 0 or more, got {seen}"
        )
    joint = np.concatenate([flow.start[:, None], np.eye(flow.dimension)[:, :number]], 1)
    before, counted = round(skip / dt), max(1, round(duration / dt))
    total = np.zeros(number)
    for t in range(before + counted):
        joint = _runge_kutta(flow, joint, dt)
        joint[:, 1:], r = np.linalg.qr(joint[:, 1:])
        if t >= before:
            total += np.log(np.abs(np.diag(r)))
    return torch.from_numpy(np.sort(total / (counted * dt))[::-1].copy())


def _velocity(flow: Flow, joint: Array) -> Array:
    """Of the state, column 0, and of the tangent vectors, the others."""
    x = joint[:, 0]
    made: Array = flow.jacobian(x) @ joint
    made[:, 0] = flow.derivative(x)
    return made


def _runge_kutta(flow: Flow, joint: Array, dt: float) -> Array:
    a = _velocity(flow, joint)
    b = _velocity(flow, joint + dt / 2 * a)
    c = _velocity(flow, joint + dt / 2 * b)
    d = _velocity(flow, joint + dt * c)
    return joint + dt / 6 * (a + 2 * b + 2 * c + d)
