"""Numba loops of a readout in continuous time; see :mod:`neuro.kernels.eventdriven.membrane`.

A membrane without spikes is linear: of an arrival of weight 1, ``kept_v`` is in V after d seconds, ``kept_i`` in I, and
``area`` is the integral of V until then. ``taus`` is the membrane's time constant and the synapse's, 0 if a spike moves
V at once.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from neuro.kernels.eventdriven.flow_numba import arrivals, flow

__all__ = ["backward", "forward"]

Array = np.ndarray[Any, Any]
_SLACK = 1e-9  # of a step: what rounding may add to a time that stands for a whole step


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _kept(d: float, taus: Any) -> Any:
    """Of an arrival ``d`` seconds ago: what is in V and in I, by how much each falls per second, and the area of V."""
    tau_m, tau_s = taus
    if tau_s == 0.0:
        lost = -np.expm1(-d / tau_m)
        return 1.0 - lost, 0.0, (1.0 - lost) / tau_m, 0.0, tau_m * lost
    _, es, k = flow(d, tau_m, tau_s, tau_m)
    return k, es, (k - es) / tau_m, es / tau_s, -tau_s * np.expm1(-d / tau_s) - tau_m * k


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _whole_step(dt: float, taus: Any) -> Any:
    """The map of a step, ``e_m``, ``e_s`` and ``k``, and what V and I of its beginning add to the mean of V over it."""
    tau_m = taus[0]
    em = np.exp(-dt / tau_m)
    mean_v = -tau_m * np.expm1(-dt / tau_m) / dt
    if taus[1] == 0.0:
        return em, 0.0, 0.0, mean_v, 0.0
    k, es, _, _, area = _kept(dt, taus)
    return em, es, k, mean_v, area / dt


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _step(at: float, dt: float) -> int:
    """The step that an arrival falls into."""
    return int(np.floor(at / dt + _SLACK))


@numba.njit(error_model="numpy", nogil=True, cache=True)
def forward(
    b0: int,
    b1: int,
    start: Array,
    time: Array,
    neuron: Array,
    weight: Array,
    delay: Array,
    dt: float,
    taus: Any,
    out: Array,
) -> None:
    """``out [T, B, O]`` of samples ``b0:b1``; weights ``[pre, post]``, times in seconds."""
    steps, outputs = out.shape[0], out.shape[2]
    cast = out.dtype.type
    em, es, k, mean_v, mean_i = _whole_step(dt, taus)
    for b in range(b0, b1):
        pre = neuron[start[b] : start[b + 1]]
        at, source = arrivals(time[start[b] : start[b + 1]], pre, delay)
        v, i = np.zeros(outputs, out.dtype), np.zeros(outputs, out.dtype)
        p = 0
        for t in range(steps):
            for j in range(outputs):
                out[t, b, j] = cast(mean_v) * v[j] + cast(mean_i) * i[j]
                v[j] = cast(em) * v[j] + cast(k) * i[j]
                i[j] = cast(es) * i[j]
            while p < at.shape[0] and _step(at[p], dt) <= t:
                keep_v, keep_i, _, _, area = _kept(max(0.0, (t + 1) * dt - at[p]), taus)
                s, j0, j1 = source[p], 0, outputs
                if delay.shape[0] > 1:
                    s, j0, j1 = source[p] // outputs, source[p] % outputs, source[p] % outputs + 1
                row = weight[pre[s]]
                for j in range(j0, j1):
                    v[j] += cast(keep_v) * row[j]
                    i[j] += cast(keep_i) * row[j]
                    out[t, b, j] += cast(area / dt) * row[j]
                p += 1


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _arrival_back(
    kept: Any, dt: float, i: int, j0: int, j1: int, weight: Array, pv: Array, pi: Array, grad: Array, grads: Any
) -> float:
    """What an arrival at neurons ``j0:j1`` gives to its weights and delays; returns what it gives to its time."""
    keep_v, keep_i, fall_v, fall_i, area = kept
    _, grad_weight, grad_delay = grads
    total = 0.0
    for j in range(j0, j1):
        here = float(grad[j]) / dt
        grad_weight[i, j] += keep_v * pv[j] + keep_i * pi[j] + area * here
        moved = float(weight[i, j]) * (fall_v * pv[j] + fall_i * pi[j] - keep_v * here)
        total += moved
        if grad_delay.shape[0] > 1:
            grad_delay[j, i] += moved
    if grad_delay.shape[0] == 1:
        grad_delay[0, i] += total
    return total


@numba.njit(error_model="numpy", nogil=True, cache=True)
def backward(
    b0: int,
    b1: int,
    start: Array,
    time: Array,
    neuron: Array,
    weight: Array,
    delay: Array,
    dt: float,
    taus: Any,
    grad: Array,
    grads: Any,
) -> None:
    """Adjoint for the gradient ``grad [T, B, O]``; ``grads``: of times [s], weights and delays, added to."""
    steps, outputs = grad.shape[0], grad.shape[2]
    em, es, k, mean_v, mean_i = _whole_step(dt, taus)
    for b in range(b0, b1):
        pre = neuron[start[b] : start[b + 1]]
        at, source = arrivals(time[start[b] : start[b + 1]], pre, delay)
        pv, pi = np.zeros(outputs), np.zeros(outputs)
        p = at.shape[0] - 1
        while p >= 0 and _step(at[p], dt) >= steps:
            p -= 1
        for t in range(steps - 1, -1, -1):
            while p >= 0 and _step(at[p], dt) == t:
                s, j0, j1 = source[p], 0, outputs
                if delay.shape[0] > 1:
                    s, j0, j1 = source[p] // outputs, source[p] % outputs, source[p] % outputs + 1
                kept = _kept(max(0.0, (t + 1) * dt - at[p]), taus)
                grads[0][start[b] + s] += _arrival_back(kept, dt, pre[s], j0, j1, weight, pv, pi, grad[t, b], grads)
                p -= 1
            for j in range(outputs):
                pi[j] = es * pi[j] + k * pv[j] + mean_i * grad[t, b, j]
                pv[j] = em * pv[j] + mean_v * grad[t, b, j]
