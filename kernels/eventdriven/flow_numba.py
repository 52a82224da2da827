"""The exact flow of membrane and current between events, and when it first reaches the threshold.

With ``tau_m dV/dt = I - V`` and ``tau_s dI/dt = -I``, over a time d

``V <- e_m V + k I``, ``I <- e_s I``, ``e = exp(-d / tau)``, ``k = (e_m - e_s) tau_s / (tau_m - tau_s)``.

The adjoint flows backwards by the transposed map: ``pI <- e_s pI + k pV``, ``pV <- e_m pV``. Both are
``a <- f_a a + k b``, ``b <- f_b b``, so the loops here serve both.

States are held at one time for a whole layer. What happens to a neuron alone at another time, ``d`` seconds on, changes
there what it must have been before to be so then: the map above, inverted. ``d`` is kept short (:func:`reach`), as
the inverse grows with it.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["advance", "arrivals", "crossing", "flow", "reach"]

Array = np.ndarray[Any, Any]
_SAFE = 40  # Newton steps before bisection takes over: near a tangent they close in only linearly
_HALVINGS = 60
_CLOSE = 1e-16


@numba.njit(error_model="numpy", nogil=True, cache=True)
def flow(d: float, tau_a: float, tau_b: float, tau_m: float) -> Any:
    """``f_a``, ``f_b`` and ``k`` after ``d`` seconds; accurate for time constants that are equal, or nearly."""
    fa, fb = np.exp(-d / tau_a), np.exp(-d / tau_b)
    u = abs(d / tau_b - d / tau_a)
    rise = 1.0 - 0.5 * u if u < 1e-8 else -np.expm1(-u) / u
    return fa, fb, d / tau_m * max(fa, fb) * rise


@numba.njit(error_model="numpy", nogil=True, cache=True)
def crossing(v: float, i: float, theta: float, tau_m: float, tau_s: float) -> float:
    """Seconds until V, now ``v``, first reaches ``theta`` if nothing arrives; inf if it does not.

    V rises only while I > V, so I is above theta at a crossing: none if ``i <= theta``, and none after
    ``bound = tau_s log(i / theta)``, where I is theta. V has one maximum, and up to the bound it stays above
    theta once there, so it crosses if and only if ``V(bound) > theta``. On its way up V is concave, so that
    Newton's steps from the left never pass the root.
    """
    if not i > theta:
        return np.inf
    if v >= theta:
        return 0.0
    if tau_m == 2.0 * tau_s:
        return _square(v, i, theta, tau_m)
    bound = tau_s * np.log(i / theta)
    em, _, k = flow(bound, tau_m, tau_s, tau_m)
    if not em * v + k * i > theta:
        return np.inf
    d = min(_guess(v, i, theta, tau_m, tau_s), bound)
    for _ in range(_SAFE):
        em, es, k = flow(d, tau_m, tau_s, tau_m)
        now = em * v + k * i
        slope = (es * i - now) / tau_m
        if not slope > 0.0:  # the guess is beyond the maximum, or the root is one with it
            if d == 0.0 or now <= theta:
                return _halved(v, i, theta, tau_m, tau_s, d, bound)
            d = 0.0
            continue
        step = (theta - now) / slope
        bend = (es * i / tau_s + slope) / tau_m
        d = min(max(d + step, 0.0), bound)
        if bend * step * step <= _CLOSE * slope * tau_s:  # twice the error that is left, times the slope
            return float(d)
    return _halved(v, i, theta, tau_m, tau_s, 0.0, bound)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _guess(v: float, i: float, theta: float, tau_m: float, tau_s: float) -> float:
    """About when V reaches ``theta``: the smaller root of its parabola at 0, or 0 if that has none."""
    slope = (i - v) / tau_m
    bend = (i / tau_s + slope) / tau_m
    inside = slope * slope - 2.0 * bend * (theta - v)
    return 2.0 * (theta - v) / (slope + np.sqrt(inside)) if inside > 0.0 else 0.0


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _square(v: float, i: float, theta: float, tau_m: float) -> float:
    """For ``tau_m = 2 tau_s``, where ``x = exp(-d / tau_m)`` solves ``i x^2 - (v + i) x + theta = 0``; the larger root."""
    b = v + i
    inside = b * b - 4.0 * i * theta
    if b <= 0.0 or inside <= 0.0:
        return np.inf
    x = (b + np.sqrt(inside)) / (2.0 * i)
    return -tau_m * np.log(x) if x < 1.0 else 0.0


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _halved(v: float, i: float, theta: float, tau_m: float, tau_s: float, low: float, high: float) -> float:
    """The root between ``low``, where V is below theta or at it, and ``high``, where it is above."""
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        em, _, k = flow(middle, tau_m, tau_s, tau_m)
        if em * v + k * i > theta:
            high = middle
        else:
            low = middle
    return high


@numba.njit(error_model="numpy", nogil=True, cache=True)
def reach(tau_m: float, tau_s: float) -> float:
    """Seconds from the time of a layer within which one neuron of it may change: rounding grows by e at most."""
    return min(tau_m, tau_s)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def advance(a: Array, b: Array, by: Any) -> None:
    """Bring a layer to another time; ``by`` is the :func:`flow` until then."""
    fa, fb, k = a.dtype.type(by[0]), a.dtype.type(by[1]), a.dtype.type(by[2])
    for j in range(a.shape[0]):
        a[j] = fa * a[j] + k * b[j]
        b[j] = fb * b[j]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def arrivals(time: Array, neuron: Array, delay: Array) -> Any:
    """When spikes arrive, in order, and which: number of the spike, times O plus the target where it has one alone.

    ``delay`` is ``[0, 0]`` (none), ``[1, I]`` (by presynaptic neuron) or ``[O, I]`` (by synapse), in seconds.
    """
    outputs = max(1, delay.shape[0])
    at = np.empty(time.shape[0] * outputs)
    for s in range(time.shape[0]):
        for j in range(outputs):
            at[s * outputs + j] = time[s] + (delay[j, neuron[s]] if delay.shape[0] > 0 else 0.0)
    order = np.arange(at.shape[0])
    if delay.shape[0] > 0:
        order = np.argsort(at, kind="mergesort")
    return at[order], order
