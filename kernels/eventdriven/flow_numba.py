"""The exact flow of membrane and current between events, and when it first reaches the threshold.

With ``tau_m dV/dt = I - V`` and ``tau_s dI/dt = -I``, over a time d

``V <- e_m V + k I``, ``I <- e_s I``, ``e = exp(-d / tau)``, ``k = (e_m - e_s) tau_s / (tau_m - tau_s)``.

The adjoint flows backwards by the transposed map: ``pI <- e_s pI + k pV``, ``pV <- e_m pV``. Both are
``a <- f_a a + k b``, ``b <- f_b b``, so the loops here serve both.

``neurons`` is one tuple of arrays: a, b, the time each was last brought up to, whether that is
later than the whole layer's, the list of those, and room for two values of each.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["advance_all", "advance_one", "arrivals", "crossing", "flow", "new_neurons"]

Array = np.ndarray[Any, Any]
_SAFE = 40  # Newton steps before bisection takes over: near a tangent they close in only linearly
_HALVINGS = 60


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
    d = 0.0
    for _ in range(_SAFE):
        em, es, k = flow(d, tau_m, tau_s, tau_m)
        now = em * v + k * i
        slope = (es * i - now) / tau_m
        step = (theta - now) / slope if slope > 0.0 else 0.0
        if not step > 4e-16 * (d + tau_s):
            return d if slope > 0.0 else _halved(v, i, theta, tau_m, tau_s, d, bound)
        d = min(d + step, bound)
    return _halved(v, i, theta, tau_m, tau_s, d, bound)


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
def new_neurons(like: Array, size: int) -> Any:
    """The tuple of arrays of ``size`` neurons; a and b of the dtype of ``like``."""
    a, b = np.zeros(size, like.dtype), np.zeros(size, like.dtype)
    return a, b, np.zeros(size), np.zeros(size, np.bool_), np.zeros(size, np.int64), a.copy(), b.copy()


@numba.njit(error_model="numpy", nogil=True, cache=True)
def advance_one(neurons: Any, j: int, ahead: int, since: float, now: float, taus: Any) -> int:
    """Bring neuron ``j`` from where it is to ``now``; returns how many are ahead of the layer, which is at ``since``."""
    a, b, last, is_ahead, listed, _, _ = neurons
    fa, fb, k = flow(abs(now - (last[j] if is_ahead[j] else since)), *taus)
    a[j], b[j] = fa * a[j] + k * b[j], fb * b[j]
    last[j] = now
    if not is_ahead[j]:
        is_ahead[j] = True
        listed[ahead] = j
        ahead += 1
    return ahead


@numba.njit(error_model="numpy", nogil=True, cache=True)
def advance_all(neurons: Any, ahead: int, since: float, now: float, taus: Any) -> None:
    """Bring the whole layer to ``now``, the ``ahead`` neurons each from their own time."""
    a, b, last, is_ahead, listed, spare_a, spare_b = neurons
    for q in range(ahead):
        j = listed[q]
        fa, fb, k = flow(abs(now - last[j]), *taus)
        spare_a[q], spare_b[q] = fa * a[j] + k * b[j], fb * b[j]
    fa, fb, k = flow(abs(now - since), *taus)
    ga, gb, gk = a.dtype.type(fa), a.dtype.type(fb), a.dtype.type(k)
    for j in range(a.shape[0]):
        a[j] = ga * a[j] + gk * b[j]
        b[j] = gb * b[j]
    for q in range(ahead):
        j = listed[q]
        a[j], b[j] = spare_a[q], spare_b[q]
        is_ahead[j] = False


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
