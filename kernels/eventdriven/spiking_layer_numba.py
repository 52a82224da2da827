"""Numba loops of a layer in continuous time; see :mod:`neuro.kernels.eventdriven.spiking_layer`.

A task runs whole samples, one after the other. A layer's states are all held at one time, ``since``: that of the last
event that reached many neurons (:mod:`neuro.kernels.eventdriven.flow_numba` says how one changes in between).
``constants`` is the tuple ``tau_m``, ``tau_s``, ``theta``, ``v_reset``, ``end`` and ``lag`` (of the recurrent synapses).
Weights are ``[pre, post]``.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from neuro.kernels.eventdriven.flow_numba import advance, arrivals, crossing, flow, reach

__all__ = ["forward"]

Array = np.ndarray[Any, Any]
_SLACK = 1e-6  # of the threshold: what float32 may lack of it where a root is looked for all the same
_ROOM = 4096  # spikes of a sample there is room for before it is run; with more it is run again
_CANDIDATES = np.uint64(0x0202020202020202)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _new_upcoming(size: int) -> Any:
    """Of each neuron when it spikes if nothing arrives, inf if it does not; a list of those that do, and marks."""
    words = np.zeros(-(-size // 8), np.uint64)
    return np.full(size, np.inf), np.zeros(size, np.int64), np.zeros(size, np.bool_), words, words.view(np.uint8)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _first(upcoming: Any, count: int) -> Any:
    """The listed neuron that spikes first, the lower one of two, and when; inf if none does."""
    times, listed = upcoming[:2]
    first, when = -1, np.inf
    for n in range(count):
        j = listed[n]
        if times[j] < when or (times[j] == when and j < first):
            first, when = j, times[j]
    return first, when


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _next_spike(v: float, i: float, now: float, until: float, constants: Any) -> float:
    """When a neuron with these states ``now`` spikes if nothing arrives; inf if not by ``until``.

    ``tau_m V' <= i - v`` until then, so that V gains no more than that by the time: no root is sought where it is too little.
    """
    tau_m, tau_s, theta = constants[:3]
    if not i > theta or (v < theta and v + (i - v) * (until - now) / tau_m <= theta):
        return np.inf
    at = now + crossing(v, i, theta, tau_m, tau_s)
    return at if at <= until else np.inf


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _predict(v: Array, i: Array, now: float, until: float, by: Any, upcoming: Any, count: int, constants: Any) -> int:
    """List the neurons that spike before ``until`` if nothing arrives; returns how many. ``by`` is the flow until then.

    Where I is above theta until then, V crosses it before if and only if it is above it then
    (:func:`neuro.kernels.eventdriven.flow_numba.crossing`): two products, and a root is sought for few.
    """
    times, listed, is_listed, words, marks = upcoming
    for n in range(count):
        times[listed[n]] = np.inf
        is_listed[listed[n]] = False
    cast = v.dtype.type
    theta = cast(constants[2])
    em, es, k, enough = cast(by[0]), cast(by[1]), cast(by[2]), cast(constants[2] * (1.0 - _SLACK))
    for j in range(v.shape[0]):
        marks[j] = ((i[j] > theta) & ((em * v[j] + k * i[j] > enough) | (es * i[j] <= theta))) << 1
    count = 0
    for word in range(words.shape[0]):
        if words[word] & _CANDIDATES:
            for j in range(8 * word, min(8 * word + 8, v.shape[0])):
                if marks[j]:
                    times[j] = _next_spike(float(v[j]), float(i[j]), now, until, constants)
                    if times[j] < np.inf:
                        listed[count] = j
                        is_listed[j] = True
                        count += 1
    return count


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _receive(p: int, now: float, at: Array, source: Array, pre: Array, weight: Array, current: Array) -> int:
    """Add the weights of all spikes that arrive ``now``; returns the arrival after them."""
    while p + 3 < at.shape[0] and at[p + 3] == now:
        a, b, c, d = pre[source[p]], pre[source[p + 1]], pre[source[p + 2]], pre[source[p + 3]]
        for j in range(current.shape[0]):
            current[j] += (weight[a, j] + weight[b, j]) + (weight[c, j] + weight[d, j])
        p += 4
    while p < at.shape[0] and at[p] == now:
        a = pre[source[p]]
        for j in range(current.shape[0]):
            current[j] += weight[a, j]
        p += 1
    return p


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _single(
    v: Array,
    i: Array,
    since: float,
    now: float,
    until: float,
    j: int,
    w: float,
    upcoming: Any,
    count: int,
    constants: Any,
) -> int:
    """One weight arrives at one neuron; returns how many neurons are listed."""
    times, listed, is_listed = upcoming[:3]
    em, es, k = flow(now - since, constants[0], constants[1], constants[0])
    here, current = em * v[j] + k * i[j], es * i[j] + w
    v[j] -= k * w / (em * es)
    i[j] += w / es
    times[j] = _next_spike(here, current, now, until, constants)
    if times[j] < np.inf and not is_listed[j]:
        listed[count] = j
        is_listed[j] = True
        count += 1
    return count


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _fire(v: Array, i: Array, since: float, now: float, until: float, j: int, upcoming: Any, constants: Any) -> float:
    """Reset neuron ``j``, which spikes ``now``; returns its current."""
    tau_m, tau_s, _, v_reset = constants[:4]
    em, es, k = flow(now - since, tau_m, tau_s, tau_m)
    current = es * i[j]
    v[j] = (v_reset - k * i[j]) / em
    upcoming[0][j] = _next_spike(v_reset, current, now, until, constants)
    return float(current)


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
    tau_m, tau_s, _, _, end, lag = constants
    time, neuron, current = out
    v, i = np.zeros(weight.shape[1], weight.dtype), np.zeros(weight.shape[1], weight.dtype)
    upcoming, count = _new_upcoming(v.shape[0]), 0
    p, q, m, since, until = 0, m0, m0, 0.0, np.inf
    ahead, by = np.inf, (0.0, 0.0, 0.0)  # the flow over ``ahead`` seconds
    while True:
        arriving = at[p] if p < at.shape[0] else np.inf
        returning = time[q] + lag if recurrent.shape[0] > 0 and q < m else np.inf
        first, spiking = _first(upcoming, count)
        now = min(arriving, returning, spiking)
        if not now <= end:
            return m
        apart = spiking <= now or (delayed and arriving <= returning)  # one neuron alone changes
        if not apart or now - since > reach(tau_m, tau_s):
            if now - since != ahead:
                by = flow(now - since, tau_m, tau_s, tau_m)
            advance(v, i, by)
            since, ahead = now, 0.0
            by = (1.0, 1.0, 0.0)
        if spiking <= now:
            if m == time.shape[0]:
                return -1
            time[m], neuron[m] = now, first
            current[m] = _fire(v, i, since, now, until, first, upcoming, constants)
            m += 1
        elif apart:
            s, j = source[p] // v.shape[0], source[p] % v.shape[0]
            count = _single(v, i, since, now, until, j, float(weight[pre[s], j]), upcoming, count, constants)
            p += 1
        else:
            if not delayed:
                p = _receive(p, now, at, source, pre, weight, i)
            while recurrent.shape[0] > 0 and q < m and time[q] + lag == now:
                for j in range(v.shape[0]):
                    i[j] += recurrent[neuron[q], j]
                q += 1
            until = at[p] if p < at.shape[0] and not delayed else np.inf
            until = min(until, time[q] + lag) if recurrent.shape[0] > 0 and q < m else until
            ahead = until - now
            by = flow(ahead, tau_m, tau_s, tau_m) if until < np.inf else (0.0, 0.0, 0.0)
            count = _predict(v, i, now, until, by, upcoming, count, constants)


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
    out = (np.empty(_ROOM), np.empty(_ROOM, np.int32), np.empty(_ROOM))
    m = 0
    for b in range(b0, b1):
        pre = neuron[start[b] : start[b + 1]]
        at, source = arrivals(time[start[b] : start[b + 1]], pre, delay)
        if out[0].shape[0] - m < _ROOM:
            out = _more_room(out)
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
