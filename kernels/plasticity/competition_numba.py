"""Numba loops of competitive learning by spike timing; see :mod:`neuro.kernels.plasticity.competition`.

A step costs the weights of the inputs that spike in it, and one pass over the neurons. What depends on earlier spikes is
computed from the time since the last one when it is needed, so silent synapses cost nothing. ``numbers`` and
``traces`` are those of the law.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["compete_block"]

Array = np.ndarray[Any, Any]
# As in neuro.kernels.engines.counter_random.
_GOLDEN = np.int64(0x9E3779B97F4A7C15 - 2**64)
_FIRST = np.int64(0xBF58476D1CE4E5B9 - 2**64)
_SECOND = np.int64(0x94D049BB133111EB - 2**64)
_LOW34, _LOW37, _LOW33, _LOW24 = (np.int64(2**bits - 1) for bits in (34, 37, 33, 24))


@numba.njit(error_model="numpy", nogil=True, cache=True, inline="always")
def _mix(z: Any) -> Any:
    z = z + _GOLDEN
    z = (z ^ ((z >> 30) & _LOW34)) * _FIRST
    z = (z ^ ((z >> 27) & _LOW37)) * _SECOND
    return z ^ ((z >> 31) & _LOW33)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _place(key: Any, place: Any) -> Any:
    return _mix(key ^ (np.int64(place) * _GOLDEN + _GOLDEN))


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _draw(keys: Array, limits: Array, step: int, hot: Array, spikes: Array) -> int:
    """List which of the inputs spike in this step; returns how many. A spike is a 24-bit number below the limit."""
    place = np.int64(step) * _GOLDEN + _GOLDEN
    for k in range(keys.shape[0]):
        hot[k] = ((_mix(keys[k] ^ place) >> 40) & _LOW24) < limits[k]
    count = 0
    for k in range(keys.shape[0]):
        if hot[k]:
            spikes[count] = k
            count += 1
    return count


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _neurons(
    v: Array, g: Array, h: Array, fired: Array, free: Array, limit: Array, t: int, before: int, numbers: Array
) -> int:
    """One step of all neurons; ``fired`` holds the spikes of the step before, ``before`` of them, and then this one's."""
    a, keep_g, keep_h, rest, reset = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    above, below, inhibition = numbers[6], numbers[7], numbers[8]
    one, zero, all_fired = v.dtype.type(1), v.dtype.type(0), v.dtype.type(before)
    count = 0
    for j in range(v.shape[0]):
        held = h[j] * keep_h + inhibition * (all_fired - fired[j])
        h[j] = held
        new = (v[j] + a * ((rest + g[j] * above) + held * below)) / (one + a * ((one + g[j]) + held))
        new = reset if t < free[j] else new
        v[j] = new
        spike = new > limit[j]
        fired[j] = one if spike else zero
        count += spike
        g[j] *= keep_g
    return count


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _depress(row: Array, awake: Array, last: Array, t: int, trace: Array, size: Any) -> None:
    zero = row.dtype.type(0)
    for j in awake:
        new = row[j] - size * trace[t - last[j]]
        row[j] = max(zero, new)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _potentiate(column: Array, pixels: Array, last: Array, t: int, trace: Array, size: Any, most: Any) -> None:
    for i in pixels:
        if last[i] >= 0:
            new = column[i] + trace[t - last[i]] * size
            column[i] = min(most, new)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _normalise(weight: Array, awake: Array, total: Any) -> None:
    factor = np.zeros(awake.shape[0], weight.dtype)
    for i in range(weight.shape[0]):
        for k in range(awake.shape[0]):
            factor[k] += weight[i, awake[k]]
    for k in range(awake.shape[0]):
        factor[k] = total / factor[k] if factor[k] > 0 else weight.dtype.type(1)
    for i in range(weight.shape[0]):
        for k in range(awake.shape[0]):
            weight[i, awake[k]] *= factor[k]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _show(
    weight: Array,
    theta: Array,
    pixels: Array,
    keys: Array,
    limits: Array,
    first: int,
    learn: bool,
    numbers: Array,
    traces: Array,
    refractory: int,
    counts: Array,
) -> int:
    """Show a picture once: ``counts [N]`` is set, weight and theta learn; returns the number of spikes."""
    inputs, neurons = weight.shape
    v, g, h = (
        np.full(neurons, numbers[3], weight.dtype),
        np.zeros(neurons, weight.dtype),
        np.zeros(neurons, weight.dtype),
    )
    fired, limit = np.zeros(neurons, weight.dtype), numbers[5] + theta
    free, last_out, last_in = np.zeros(neurons, np.int64), np.full(neurons, -1), np.full(inputs, -1)
    awake, hot, spikes = np.empty(neurons, np.int64), np.zeros(len(keys), np.uint8), np.empty(len(keys), np.int64)
    waking = before = total = 0
    counts[:] = 0
    for t in range(traces.shape[1]):
        for k in spikes[: _draw(keys, limits, first + t, hot, spikes)]:
            i = pixels[k]
            row = weight[i]
            for j in range(neurons):
                g[j] += row[j]
            if learn:
                _depress(row, awake[:waking], last_out, t, traces[1], numbers[12])
            last_in[i] = t
        before = _neurons(v, g, h, fired, free, limit, t, before, numbers)
        total += before
        if before == 0:
            continue
        for j in range(neurons):
            if fired[j] == 0:
                continue
            v[j], free[j] = numbers[4], t + 1 + refractory
            counts[j] += 1
            if learn and last_out[j] >= 0:
                size = numbers[11] * traces[2, t - last_out[j]]
                _potentiate(weight[:, j], pixels, last_in, t, traces[0], size, numbers[13])
            elif learn:
                awake[waking] = j
                waking += 1
            if learn:
                theta[j] += numbers[9]
                limit[j] = numbers[5] + theta[j]
            last_out[j] = t
    if learn:
        _normalise(weight, awake[:waking], numbers[14])
        theta *= numbers[10]
    return total


@numba.njit(error_model="numpy", nogil=True, cache=True)
def compete_block(
    weight: Array,
    theta: Array,
    pictures: Array,
    rates: tuple[float, float],
    seed: int,
    first: int,
    learn: bool,
    numbers: Array,
    traces: Array,
    refractory: int,
    least: int,
    most: int,
    counts: Array,
    attempts: Array,
) -> None:
    """Show ``pictures [S, I]`` one after the other; ``counts [S, N]`` and ``attempts [S]`` are set.

    ``rates`` are spikes per step of a white pixel, and what each of up to ``most`` attempts adds to them.
    """
    stream = _place(_mix(np.int64(seed)), np.int64(learn))
    for s in range(pictures.shape[0]):
        key = _place(stream, first + s)
        pixels = np.flatnonzero(pictures[s])
        keys, limits = np.empty(len(pixels), np.int64), np.empty(len(pixels), np.int64)
        for k in range(len(pixels)):
            keys[k] = _place(key, pixels[k])
        for attempt in range(most):
            for k in range(len(pixels)):
                chance = np.float64(pictures[s, pixels[k]]) * (rates[0] + attempt * rates[1])
                limits[k] = np.int64(np.ceil(min(chance, 1.0) * 2.0**24 - 0.5))
            attempts[s] = attempt + 1
            start = attempt * traces.shape[1]
            shown = (pixels, keys, limits, start, learn, numbers, traces, refractory, counts[s])
            if _show(weight, theta, *shown) >= least:
                break
