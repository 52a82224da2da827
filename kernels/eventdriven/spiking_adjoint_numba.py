"""Numba loops of the adjoint of a layer in continuous time; see :mod:`neuro.kernels.eventdriven.spiking_layer`.

``constants`` and the form of weights are those of :mod:`neuro.kernels.eventdriven.spiking_layer_numba`.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from neuro.kernels.eventdriven.flow_numba import advance, arrivals, flow, reach

__all__ = ["backward"]

Array = np.ndarray[Any, Any]
_FLATTEST = 1e-9  # of the threshold: slope below which a crossing counts as that steep, or rounding would divide by 0
_FEW = 16  # terms that are added one after the other


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _dot(a: Array, b: Array, i: int, spare: Array) -> float:
    """The product of ``a`` and row ``i`` of ``b``, the sum folded in halves: loops without a chain, in a fixed order."""
    size = a.shape[0]
    for j in range(size):
        spare[j] = a[j] * b[i, j]
    while size > _FEW:
        half = (size + 1) // 2
        for j in range(size - half):
            spare[j] += spare[j + half]
        size = half
    total = 0.0
    for j in range(size):
        total += spare[j]
    return total


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _spike_back(
    pi: Array, pv: Array, j: int, ahead: float, current: float, grad_time: float, grad_count: float, constants: Any
) -> None:
    """The adjoint of V from after a spike to before it: the time of the spike moves by ``-dV / V'``."""
    tau_m, tau_s, theta, v_reset = constants[:4]
    es, em, k = flow(ahead, tau_s, tau_m, tau_m)
    after = em * pv[j]
    slope = max(current - theta, _FLATTEST * theta)
    before = ((current - v_reset) * after - tau_m * grad_time) / slope + grad_count / (theta - v_reset)
    pi[j] -= k * (before - after) / (em * es)
    pv[j] = before / em


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _single_back(
    pi: Array,
    pv: Array,
    ahead: float,
    s: int,
    j: int,
    first: int,
    pre: Array,
    weight: Array,
    constants: Any,
    grads: Any,
) -> None:
    """What one arrival at one neuron gives to its weight, its delay and the time of its spike."""
    grad_in, grad_weight, grad_delay = grads[:3]
    tau_m, tau_s = constants[:2]
    i = pre[s]
    es, em, k = flow(ahead, tau_s, tau_m, tau_m)
    here = es * pi[j] + k * pv[j]
    grad_weight[i, j] += here
    moved = weight[i, j] * (here / tau_s - em * pv[j] / tau_m)
    grad_in[first + s] += moved
    grad_delay[j, i] += moved


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _receive_back(
    p: int,
    now: float,
    at: Array,
    source: Array,
    first: int,
    pre: Array,
    weight: Array,
    moved: Array,
    spare: Array,
    grads: Any,
    pi: Array,
) -> int:
    """What all arrivals ``now`` give to their weights, delays and times; returns the arrival before them."""
    grad_in, grad_weight, grad_delay, _, wants_time = grads
    while p >= 0 and at[p] == now:
        i = pre[source[p]]
        for j in range(pi.shape[0]):
            grad_weight[i, j] += pi[j]
        if wants_time:
            amount = _dot(moved, weight, i, spare)
            grad_in[first + source[p]] += amount
            if grad_delay.shape[0] > 0:
                grad_delay[0, i] += amount
        p -= 1
    return p


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _sample_back(
    first: int,
    at: Array,
    source: Array,
    pre: Array,
    delayed: bool,
    weight: Array,
    recurrent: Array,
    constants: Any,
    spikes: Any,
    grads: Any,
) -> None:
    """The adjoint of one sample, from its end to its beginning."""
    tau_m, tau_s, _, _, end, lag = constants
    time, neuron, current, grad_time, grad_count = spikes
    pi, pv = np.zeros(weight.shape[1], weight.dtype), np.zeros(weight.shape[1], weight.dtype)
    moved, spare = np.zeros_like(pi), np.zeros_like(pi)
    per_s, per_m = pi.dtype.type(1.0 / tau_s), pi.dtype.type(1.0 / tau_m)
    p, q, since = at.shape[0] - 1, time.shape[0] - 1, end
    r = q if recurrent.shape[0] > 0 else -1
    while q >= 0 or p >= 0:
        returning = time[r] + lag if r >= 0 else -np.inf
        arriving = at[p] if p >= 0 else -np.inf
        now = max(arriving, returning)
        if q == time.shape[0] - 1 and not time[q] > now:  # after the last spike: nothing there matters to the loss
            p, r = (p - 1, r) if arriving >= returning else (p, r - 1)
            continue
        spiked = q >= 0 and time[q] > now
        now = time[q] if spiked else now
        apart = spiked or (delayed and arriving >= returning)
        if not apart or since - now > reach(tau_m, tau_s):
            advance(pi, pv, flow(since - now, tau_s, tau_m, tau_m))
            since = now
        if spiked:
            _spike_back(pi, pv, neuron[q], since - now, current[q], grad_time[q], grad_count[q], constants)
            q -= 1
        elif apart:
            s, j = source[p] // pi.shape[0], source[p] % pi.shape[0]
            _single_back(pi, pv, since - now, s, j, first, pre, weight, constants, grads)
            p -= 1
        else:
            if grads[4] or returning == now:
                for j in range(pi.shape[0]):
                    moved[j] = pi[j] * per_s - pv[j] * per_m
            if not delayed:
                p = _receive_back(p, now, at, source, first, pre, weight, moved, spare, grads, pi)
            while r >= 0 and time[r] + lag == now:
                for j in range(pi.shape[0]):
                    grads[3][neuron[r], j] += pi[j]
                grad_time[r] += _dot(moved, recurrent, neuron[r], spare)
                r -= 1


@numba.njit(error_model="numpy", nogil=True, cache=True)
def backward(
    b0: int,
    b1: int,
    start: Array,
    time: Array,
    neuron: Array,
    weight: Array,
    delay: Array,
    recurrent: Array,
    constants: Any,
    made: Any,
    grads: Any,
) -> None:
    """Adjoint of samples ``b0:b1``; times and delays in seconds.

    ``made``: starts, times, neurons and currents of the layer's own spikes, gradients of their times (added to) and
    counts; ``grads``: of the times of the input, of weights, delays and recurrent weights, and whether times are wanted.
    """
    own = made[0]
    for b in range(b0, b1):
        here = slice(start[b], start[b + 1])
        spikes = (
            made[1][own[b] : own[b + 1]],
            made[2][own[b] : own[b + 1]],
            made[3][own[b] : own[b + 1]],
            made[4][own[b] : own[b + 1]],
            made[5][own[b] : own[b + 1]],
        )
        if spikes[0].shape[0] > 0:
            at, source = arrivals(time[here], neuron[here], delay)
            delayed = delay.shape[0] > 1
            _sample_back(start[b], at, source, neuron[here], delayed, weight, recurrent, constants, spikes, grads)
