"""Numba loops of learnable delays; see :mod:`neuro.kernels.delays.delayed_linear`.

A task owns a few outputs. Input channel by input channel it writes the taps of its synapses
into a table ``[D, width]`` that stays in the first cache, and adds that table to the sequence
(backward: the sequence to a table) once for each event: the D steps an event reaches are
contiguous. The sequence has D - 1 steps of margin at both ends, so no event needs a test.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["backward", "by_channel", "forward"]

Array = np.ndarray[Any, Any]
_NOTHING = 1e-30  # of the largest tap; smaller ones are left out, and with them subnormal numbers


@numba.njit(error_model="numpy", nogil=True, cache=True)
def by_channel(start: Array, index: Array, value: Array, batch: int, first: Array, step: Array, graded: Array) -> None:
    """Events listed for each row ``t * batch + b``, sorted by channel, sample and time.

    ``first [I * B + 1]``: where channel i of sample b begins; ``step``, ``graded``: time and value of each event.
    """
    for r in range(start.shape[0] - 1):
        for k in range(start[r], start[r + 1]):
            first[index[k] * batch + r % batch + 1] += 1
    for k in range(1, first.shape[0]):
        first[k] += first[k - 1]
    place = first.copy()
    for r in range(start.shape[0] - 1):
        for k in range(start[r], start[r + 1]):
            key = index[k] * batch + r % batch
            step[place[key]] = r // batch
            if graded.shape[0] > 0:
                graded[place[key]] = value[k]
            place[key] += 1


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _side(tap: Array, column: int, width: int, n: int, stop: int, move: int, ratio: float, decay: float) -> Any:
    """Taps on one side of tap n, which is 1: each is the one before times a ratio that itself decays."""
    total, moment, g = 0.0, 0.0, 1.0
    d = n + move
    while d != stop and g > 0.0:
        g *= ratio
        ratio *= decay
        if g < _NOTHING:
            g = 0.0
        tap[d * width + column] = g
        total += g
        moment += (d - n) * g
        d += move
    while d != stop:
        tap[d * width + column] = 0.0
        d += move
    return total, moment


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _fill(delay: Array, o0: int, taps: int, sigma: float, tap: Array, mean: Array) -> None:
    """Normalised Gaussian taps ``[taps, width]`` of the synapses from ``o0`` on, and their mean delay ``[width]``."""
    width = mean.shape[0]
    a = 0.5 / (sigma * sigma)
    decay = np.exp(-2.0 * a)
    for j in range(width):
        p = np.float64(delay[o0 + j])
        near = p if p < taps - 1 else np.float64(taps - 1)
        n = int(near + 0.5) if near > 0 else 0
        f = p - n
        tap[n * width + j] = 1.0
        after, forth = _side(tap, j, width, n, taps, 1, np.exp((2.0 * f - 1.0) * a), decay)
        before, back = _side(tap, j, width, n, -1, -1, np.exp((-2.0 * f - 1.0) * a), decay)
        scale = 1.0 / (1.0 + after + before)
        mean[j] = n + (forth + back) * scale
        for d in range(taps):
            tap[d * width + j] *= scale


@numba.njit(error_model="numpy", nogil=True, cache=True)
def forward(
    first: Array,
    step: Array,
    value: Array,
    weight: Array,
    delay: Array,
    sigma: float,
    taps: int,
    out: Array,
    o0: int,
    o1: int,
    b0: int,
    b1: int,
) -> None:
    """``out[t, b, o] = sum of weight[i, o] k(d) x[t - d, b, i]`` for outputs ``o0:o1`` of samples ``b0:b1``."""
    time, batch = out.shape[0], out.shape[1]
    width = o1 - o0
    rows, span = time + 2 * (taps - 1), taps * width
    made = np.zeros((b1 - b0) * rows * width, out.dtype)
    tap, mean = np.empty(span), np.empty(width)
    table = np.empty(span, out.dtype)
    for i in range(weight.shape[0]):
        if first[i * batch + b0] == first[i * batch + b1]:
            continue
        _fill(delay[i], o0, taps, sigma, tap, mean)
        for d in range(taps):
            for j in range(width):
                table[d * width + j] = tap[d * width + j] * weight[i, o0 + j]
        for b in range(b0, b1):
            for k in range(first[i * batch + b], first[i * batch + b + 1]):
                at = ((b - b0) * rows + step[k]) * width
                row = made[at : at + span]
                if value.shape[0] == 0:
                    for j in range(span):
                        row[j] += table[j]
                else:
                    a = value[k]
                    for j in range(span):
                        row[j] += a * table[j]
    for t in range(time):
        for b in range(b0, b1):
            at = ((b - b0) * rows + t + taps - 1) * width
            for j in range(width):
                out[t, b, o0 + j] = made[at + j]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def backward(
    first: Array,
    step: Array,
    value: Array,
    weight: Array,
    delay: Array,
    sigma: float,
    grad: Array,
    grad_weight: Array,
    grad_delay: Array,
    taps: int,
    o0: int,
    o1: int,
    block: int,
) -> None:
    """Gradients of weight and delay ``[I, O]`` for outputs ``o0:o1``, added up over blocks of samples in turn."""
    time, batch = grad.shape[0], grad.shape[1]
    width = o1 - o0
    rows, span = time + 2 * (taps - 1), taps * width
    seen = np.zeros(min(block, batch) * rows * width, grad.dtype)
    tap, mean = np.empty(span), np.empty(width)
    table = np.empty(span, grad.dtype)
    for b0 in range(0, batch, block):
        b1 = min(batch, b0 + block)
        for t in range(time):
            for b in range(b0, b1):
                at = ((b - b0) * rows + t + taps - 1) * width
                for j in range(width):
                    seen[at + j] = grad[t, b, o0 + j]
        for i in range(weight.shape[0]):
            if first[i * batch + b0] == first[i * batch + b1]:
                continue
            table[:] = 0
            for b in range(b0, b1):
                for k in range(first[i * batch + b], first[i * batch + b + 1]):
                    at = ((b - b0) * rows + step[k]) * width
                    row = seen[at : at + span]
                    if value.shape[0] == 0:
                        for j in range(span):
                            table[j] += row[j]
                    else:
                        a = value[k]
                        for j in range(span):
                            table[j] += a * row[j]
            _fill(delay[i], o0, taps, sigma, tap, mean)
            for j in range(width):
                plain, moment = 0.0, 0.0
                for d in range(taps):
                    share = tap[d * width + j] * table[d * width + j]
                    plain += share
                    moment += (d - mean[j]) * share
                grad_weight[i, o0 + j] += plain
                grad_delay[i, o0 + j] += weight[i, o0 + j] * moment / (sigma * sigma)
