"""Numba loops of a layer in continuous time; see :mod:`neuro.kernels.eventdriven.spiking_layer`.

A task runs whole samples, one after the other. ``constants`` is the tuple ``tau_m``, ``tau_s``, ``theta``,
``v_reset``, ``end`` and ``lag`` (of the recurrent synapses). Weights are ``[pre, post]``.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from neuro.kernels.eventdriven.flow_numba import advance_all, advance_one, arrivals, crossing, flow, new_neurons

__all__ = ["backward", "forward"]

Array = np.ndarray[Any, Any]
_FLATTEST = 1e-9  # of the threshold: slope below which a crossing counts as that steep, or rounding would divide by 0


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _add_row(total: Array, row: Array) -> None:
    for j in range(total.shape[0]):
        total[j] += row[j]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _dot(a: Array, b: Array) -> float:
    total = a.dtype.type(0)
    for j in range(a.shape[0]):
        total += a[j] * b[j]
    return float(total)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _predict(v: Array, i: Array, now: float, until: float, upcoming: Array, constants: Any) -> int:
    """When each neuron spikes if nothing arrives, inf if not before ``until``; returns the first of them.

    Where I is above theta until then, V crosses it before if and only if it is above it then
    (:func:`neuro.kernels.eventdriven.flow_numba.crossing`): two products, and a root is sought for few.
    """
    tau_m, tau_s, theta = constants[:3]
    em, es, k = flow(until - now, tau_m, tau_s, tau_m) if until < np.inf else (0.0, 0.0, 0.0)
    first = 0
    for j in range(v.shape[0]):
        upcoming[j] = np.inf
        if i[j] > theta and (em * v[j] + k * i[j] > theta or es * i[j] <= theta):
            upcoming[j] = now + crossing(float(v[j]), float(i[j]), theta, tau_m, tau_s)
            if upcoming[j] < upcoming[first]:
                first = j
    return first


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _receive(p: int, now: float, at: Array, source: Array, pre: Array, weight: Array, current: Array) -> int:
    """Add the weights of all spikes that arrive ``now``; returns the arrival after them."""
    while p < at.shape[0] and at[p] == now:
        _add_row(current, weight[pre[source[p]]])
        p += 1
    return p


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _single(
    neurons: Any, upcoming: Array, first: int, ahead: int, since: float, now: float, j: int, w: float, constants: Any
) -> Any:
    """One weight arrives at one neuron; returns the first neuron to spike and how many are ahead."""
    tau_m, tau_s, theta = constants[:3]
    v, i = neurons[:2]
    ahead = advance_one(neurons, j, ahead, since, now, (tau_m, tau_s, tau_m))
    i[j] += w
    upcoming[j] = now + crossing(float(v[j]), float(i[j]), theta, tau_m, tau_s)
    if upcoming[j] < upcoming[first]:
        first = j
    elif first == j:
        first = int(np.argmin(upcoming))
    return first, ahead


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _sample(
    at: Array,
    source: Array,
    pre: Array,
    delayed: bool,
    weight: Array,
    recurrent: Array,
    constants: Any,
    out: Any,
    m0: int,
) -> int:
    """Run one sample, its spikes written from ``m0`` on; returns where they end, or -1 if there was no room."""
    tau_m, tau_s, theta, v_reset, end, lag = constants
    time, neuron, current = out
    neurons = new_neurons(weight, weight.shape[1])
    v, i = neurons[:2]
    upcoming = np.full(v.shape[0], np.inf)
    taus = (tau_m, tau_s, tau_m)
    p, q, m, first, ahead, since = 0, m0, m0, 0, 0, 0.0
    while True:
        arriving = at[p] if p < at.shape[0] else np.inf
        returning = time[q] + lag if recurrent.shape[0] > 0 and q < m else np.inf
        now = min(arriving, returning)
        if upcoming[first] <= now:
            if not upcoming[first] <= end:
                return m
            if m == time.shape[0]:
                return -1
            ahead = advance_one(neurons, first, ahead, since, upcoming[first], taus)
            time[m], neuron[m], current[m] = upcoming[first], first, i[first]
            v[first] = v_reset
            upcoming[first] += crossing(v_reset, float(i[first]), theta, tau_m, tau_s)
            m += 1
            first = int(np.argmin(upcoming))
        elif not now <= end:
            return m
        elif delayed and arriving <= returning:
            s, j = source[p] // v.shape[0], source[p] % v.shape[0]
            first, ahead = _single(neurons, upcoming, first, ahead, since, now, j, weight[pre[s], j], constants)
            p += 1
        else:
            advance_all(neurons, ahead, since, now, taus)
            since, ahead = now, 0
            if not delayed:
                p = _receive(p, now, at, source, pre, weight, i)
            while recurrent.shape[0] > 0 and q < m and time[q] + lag == now:
                _add_row(i, recurrent[neuron[q]])
                q += 1
            until = np.inf  # a single arrival leaves the others' predictions standing
            if not delayed:
                until = at[p] if p < at.shape[0] else np.inf
                until = min(until, time[q] + lag) if recurrent.shape[0] > 0 and q < m else until
            first = _predict(v, i, now, until, upcoming, constants)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _more_room(out: Any) -> Any:
    time, neuron, current = out
    size = time.shape[0]
    more = (np.empty(2 * size), np.empty(2 * size, np.int32), np.empty(2 * size))
    more[0][:size], more[1][:size], more[2][:size] = time, neuron, current
    return more


@numba.njit(error_model="numpy", nogil=True, cache=True)
def forward(
    b0: int,
    b1: int,
    start: Array,
    time: Array,
    neuron: Array,
    weight: Array,
    delay: Array,
    recurrent: Array,
    constants: Any,
    limit: int,
) -> Any:
    """Where the spikes of each sample end (-1: more than ``limit`` of them), their times (seconds), neurons, currents."""
    ends = np.zeros(b1 - b0, np.int64)
    out = (np.empty(1024), np.empty(1024, np.int32), np.empty(1024))
    m = 0
    for b in range(b0, b1):
        pre = neuron[start[b] : start[b + 1]]
        at, source = arrivals(time[start[b] : start[b + 1]], pre, delay)
        made = _sample(at, source, pre, delay.shape[0] > 1, weight, recurrent, constants, out, m)
        while made < 0 and out[0].shape[0] - m <= limit:
            out = _more_room(out)
            made = _sample(at, source, pre, delay.shape[0] > 1, weight, recurrent, constants, out, m)
        ends[b - b0] = made
        if made < 0 or made - m > limit:
            ends[b - b0] = -1
            break
        m = made
    return ends, out[0][:m], out[1][:m], out[2][:m]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _spike_back(neurons: Any, j: int, current: float, grad_time: float, grad_count: float, constants: Any) -> None:
    """The adjoint of V from after a spike to before it: the time of the spike moves by ``-dV / V'``."""
    tau_m, _, theta, v_reset = constants[:4]
    adjoint = neurons[1]
    slope = max(current - theta, _FLATTEST * theta)
    before = ((current - v_reset) * float(adjoint[j]) - tau_m * grad_time) / slope
    adjoint[j] = before + grad_count / (theta - v_reset)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _single_back(neurons: Any, s: int, j: int, first: int, pre: Array, weight: Array, taus: Any, grads: Any) -> None:
    """What one arrival at one neuron gives to its weight, its delay and the time of its spike."""
    grad_in, grad_weight, grad_delay = grads[:3]
    i = pre[s]
    grad_weight[i, j] += neurons[0][j]
    moved = float(weight[i, j]) * (float(neurons[0][j]) / taus[0] - float(neurons[1][j]) / taus[1])
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
    grads: Any,
    pi: Array,
) -> int:
    """What all arrivals ``now`` give to their weights, delays and times; returns the arrival before them."""
    grad_in, grad_weight, grad_delay, _, wants_time = grads
    while p >= 0 and at[p] == now:
        i = pre[source[p]]
        _add_row(grad_weight[i], pi)
        if wants_time:
            amount = _dot(weight[i], moved)
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
    neurons = new_neurons(weight, weight.shape[1])
    pi, pv = neurons[:2]
    moved = np.zeros_like(pi)
    taus = (tau_s, tau_m, tau_m)
    p, q, ahead, since = at.shape[0] - 1, time.shape[0] - 1, 0, end
    r = q if recurrent.shape[0] > 0 else -1
    while q >= 0 or p >= 0:
        returning = time[r] + lag if r >= 0 else -np.inf
        arriving = at[p] if p >= 0 else -np.inf
        now = max(arriving, returning)
        if q >= 0 and time[q] > now:
            ahead = advance_one(neurons, neuron[q], ahead, since, time[q], taus)
            _spike_back(neurons, neuron[q], current[q], grad_time[q], grad_count[q], constants)
            q -= 1
        elif q == time.shape[0] - 1:  # after the last spike: nothing there matters to the loss
            p, r = (p - 1, r) if arriving >= returning else (p, r - 1)
        elif delayed and arriving >= returning:
            s, j = source[p] // pi.shape[0], source[p] % pi.shape[0]
            ahead = advance_one(neurons, j, ahead, since, now, taus)
            _single_back(neurons, s, j, first, pre, weight, taus, grads)
            p -= 1
        else:
            advance_all(neurons, ahead, since, now, taus)
            since, ahead = now, 0
            for j in range(pi.shape[0]):
                moved[j] = pi[j] / pi.dtype.type(tau_s) - pv[j] / pi.dtype.type(tau_m)
            if not delayed:
                p = _receive_back(p, now, at, source, first, pre, weight, moved, grads, pi)
            while r >= 0 and time[r] + lag == now:
                _add_row(grads[3][neuron[r]], pi)
                grad_time[r] += _dot(recurrent[neuron[r]], moved)
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
