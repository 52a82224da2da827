"""Numba loops of spike-timing-dependent plasticity; see :mod:`neuro.kernels.plasticity.stdp`.

``trace`` and ``amplitude`` are ``[K, B, N]``, for K steps: what a neuron's spikes have left before the step,
and the size of the change its spike of this step makes (0 where it has none). Neurons of the row and of the
column of a matrix have the same part in it, but for the sign: a kernel runs over rows, whichever they are.
``bounds`` and ``limits`` hold w_min, w_max, mu_plus, mu_minus.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = [
    "add_row",
    "collect",
    "dense_bounded",
    "dense_free",
    "moved",
    "run_rows",
    "trace_steps",
    "transpose",
    "within",
]

Array = np.ndarray[Any, Any]
_SILENT = 1e-30  # a trace below counts as 0: denormal numbers would take a hundred times as long


@numba.njit(error_model="numpy", nogil=True, cache=True)
def trace_steps(
    start: Array,
    index: Array,
    state: Array,
    decay: Array,
    size: Array,
    nearest: bool,
    trace: Array,
    amplitude: Array,
    first: int,
    b0: int,
    b1: int,
) -> None:
    """Traces and amplitudes of samples ``b0:b1`` from step ``first`` on; ``state [P, B, N]`` is carried along."""
    planes, batch, neurons = state.shape
    keep = state.dtype.type(0 if nearest else 1)
    one, zero, silent = state.dtype.type(1), state.dtype.type(0), state.dtype.type(_SILENT)
    for t in range(trace.shape[0]):
        for b in range(b0, b1):
            for p in range(planes):
                held, factor = state[p, b], decay[p]
                for n in range(neurons):
                    left = held[n] * factor
                    held[n] = left if left > silent else zero
            for n in range(neurons):
                trace[t, b, n] = state[0, b, n]
                amplitude[t, b, n] = zero
            r = (first + t) * batch + b
            for k in range(start[r], start[r + 1]):
                n = index[k]
                amplitude[t, b, n] = size[0] + size[1] * state[1, b, n] if planes > 1 else size[0]
                for p in range(planes):
                    state[p, b, n] = state[p, b, n] * keep + one


@numba.njit(error_model="numpy", nogil=True, cache=True)
def moved(weight: Any, up: Any, down: Any, limits: tuple[Any, Any, Any, Any]) -> Any:
    """The weight after the changes of one step."""
    low, high, mu_plus, mu_minus = limits
    if mu_plus != 0:
        left = high - weight if high > weight else high - high
        up *= left if mu_plus == 1 else left**mu_plus
    if mu_minus != 0:
        left = weight - low if weight > low else low - low
        down *= left if mu_minus == 1 else left**mu_minus
    new = weight + (up - down)
    new = max(new, low)
    return min(new, high)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _move_row(own: Array, up: Array, down: Array, limits: tuple[Any, Any, Any, Any]) -> None:
    low, high, mu_plus, mu_minus = limits
    if mu_plus == 0 and mu_minus == 0:  # the case of every day, in a loop the compiler makes vectors of
        for j in range(own.shape[0]):
            new = own[j] + (up[j] - down[j])
            new = max(new, low)
            own[j] = min(new, high)
    else:
        for j in range(own.shape[0]):
            own[j] = moved(own[j], up[j], down[j], limits)
    up[:] = 0
    down[:] = 0


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _move_alone(
    own: Array,
    past: Any,
    size: Array,
    t: int,
    index: Array,
    span: tuple[int, int],
    sign: int,
    limits: tuple[Any, Any, Any, Any],
) -> None:
    """Changes by spikes of the columns in a step of one sample in which the row has none."""
    zero = past - past
    for k in range(span[0], span[1]):
        j = index[k]
        change = past * size[t, 0, j]
        if sign > 0:
            own[j] = moved(own[j], zero, change, limits)
        else:
            own[j] = moved(own[j], change, zero, limits)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def add_row(
    weight: Array,
    row: tuple[Array, Array],
    column: tuple[Array, Array],
    start: Array,
    index: Array,
    sign: int,
    first: int,
    i: int,
    steps: tuple[int, int],
    samples: tuple[int, int],
) -> None:
    """Row ``i`` of ``weight [R, C]`` without bounds, over some of the steps and samples.

    ``row`` and ``column`` are (trace, amplitude); ``start`` and ``index`` list the spikes of the columns.
    ``sign`` is that of a change by a spike of the row: 1 if rows are postsynaptic, else -1.
    """
    (row_trace, row_size), (column_trace, column_size) = row, column
    batch, columns = column_trace.shape[1], column_trace.shape[2]
    sign_row = weight.dtype.type(sign)
    own = weight[i]
    for t in range(steps[0], steps[1]):  # no views in here: making one takes as long as ten additions
        for b in range(samples[0], samples[1]):
            past = sign_row * row_trace[t, b, i]
            if past != 0:
                r = (first + t) * batch + b
                for k in range(start[r], start[r + 1]):
                    j = index[k]
                    own[j] -= past * column_size[t, b, j]
            change = sign_row * row_size[t, b, i]
            if change != 0:
                for j in range(columns):
                    own[j] += change * column_trace[t, b, j]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def dense_free(
    weight: Array,
    row: tuple[Array, Array],
    column: tuple[Array, Array],
    start: Array,
    index: Array,
    sign: int,
    first: int,
    r0: int,
    r1: int,
) -> None:
    """:func:`add_row` for ``r0:r1``: each row stays in the nearest cache for all K steps."""
    steps, batch, _ = column[0].shape
    for i in range(r0, r1):
        add_row(weight, row, column, start, index, sign, first, i, (0, steps), (0, batch))


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _move_listed(
    own: Array,
    up: Array,
    down: Array,
    by_column: Array,
    index: Array,
    span: tuple[int, int],
    limits: tuple[Any, Any, Any, Any],
) -> None:
    for k in range(span[0], span[1]):
        j = index[k]
        own[j] = moved(own[j], up[j], down[j], limits)
        by_column[j] = 0


@numba.njit(error_model="numpy", nogil=True, cache=True)
def dense_bounded(
    weight: Array,
    row: tuple[Array, Array],
    column: tuple[Array, Array],
    start: Array,
    index: Array,
    sign: int,
    first: int,
    r0: int,
    r1: int,
    bounds: Array,
) -> None:
    """As :func:`dense_free`, with changes that depend on the weight."""
    (row_trace, row_size), (column_trace, column_size) = row, column
    steps, batch, columns = column_trace.shape
    limits = (bounds[0], bounds[1], bounds[2], bounds[3])
    by_column, by_row = np.zeros(columns, weight.dtype), np.zeros(columns, weight.dtype)
    up, down = (by_row, by_column) if sign > 0 else (by_column, by_row)
    for i in range(r0, r1):
        own = weight[i]
        for t in range(steps):
            r, fired = (first + t) * batch, False
            for b in range(batch):
                change = row_size[t, b, i]
                if change != 0:
                    fired = True
                    for j in range(columns):
                        by_row[j] += change * column_trace[t, b, j]
            alone = batch == 1 and not fired
            for b in range(batch):
                past, span = row_trace[t, b, i], (start[r + b], start[r + b + 1])
                if past != 0:
                    if alone:
                        _move_alone(own, past, column_size, t, index, span, sign, limits)
                    else:
                        for k in range(span[0], span[1]):
                            by_column[index[k]] += past * column_size[t, b, index[k]]
            if fired:
                _move_row(own, up, down, limits)
            elif not alone:
                _move_listed(own, up, down, by_column, index, (start[r], start[r + batch]), limits)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def transpose(indptr: Array, indices: Array, begin: Array, order: Array, source: Array, j0: int, j1: int) -> None:
    """The synapses from ``j0:j1`` by target: ``order[begin[i]:begin[i + 1]]``, and the neurons they come from."""
    for s in range(indptr[j0], indptr[j1]):
        begin[indices[s] + 1] += 1
    for i in range(begin.shape[0] - 1):
        begin[i + 1] += begin[i]
    place = begin.copy()
    for j in range(j0, j1):
        for s in range(indptr[j], indptr[j + 1]):
            at = place[indices[s]]
            place[indices[s]] += 1
            order[at], source[at] = s, j


@numba.njit(error_model="numpy", nogil=True, cache=True)
def collect(
    up: Array,
    down: Array,
    sign: int,
    synapses: tuple[Array, Array, Array, Array, Array],
    pre: tuple[Array, Array],
    post: tuple[Array, Array],
    pre_spikes: Array,
    post_spikes: Array,
) -> None:
    """``up`` and ``sign * down`` of each synapse that a spike of one step and sample reaches.

    ``synapses`` is (indptr, indices, begin, order, source); traces and amplitudes are ``[N]``.
    """
    indptr, indices, begin, order, source = synapses
    sign_down = down.dtype.type(sign)
    for j in pre_spikes:
        size = sign_down * pre[1][j]
        for s in range(indptr[j], indptr[j + 1]):
            down[s] += size * post[0][indices[s]]
    for i in post_spikes:
        size = post[1][i]
        for c in range(begin[i], begin[i + 1]):
            up[order[c]] += size * pre[0][source[c]]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _settle(
    weight: Array,
    up: Array,
    down: Array,
    synapses: tuple[Array, Array, Array, Array, Array],
    pre_spikes: Array,
    post_spikes: Array,
    limits: tuple[Any, Any, Any, Any],
) -> None:
    indptr, _, begin, order, _ = synapses
    for j in pre_spikes:
        for s in range(indptr[j], indptr[j + 1]):
            weight[s] = moved(weight[s], up[s], down[s], limits)
            up[s] = down[s] = 0
    for i in post_spikes:
        for c in range(begin[i], begin[i + 1]):
            s = order[c]
            weight[s] = moved(weight[s], up[s], down[s], limits)
            up[s] = down[s] = 0


@numba.njit(error_model="numpy", nogil=True, cache=True)
def within(spikes: Array, j0: int, j1: int) -> Array:
    """The part of rising ``spikes [E]`` that is in ``j0:j1``."""
    return spikes[np.searchsorted(spikes, j0) : np.searchsorted(spikes, j1)]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def run_rows(
    weight: Array,
    change: tuple[Array, Array],
    synapses: tuple[Array, Array, Array, Array, Array],
    pre: tuple[Array, Array],
    post: tuple[Array, Array],
    pre_events: tuple[Array, Array],
    post_events: tuple[Array, Array],
    bounded: bool,
    bounds: Array,
    first: int,
    j0: int,
    j1: int,
) -> None:
    """Synapses of the presynaptic neurons ``j0:j1``; ``change`` is two arrays like ``weight [S]``, of zeros."""
    steps, batch, _ = pre[0].shape
    up, down = change if bounded else (weight, weight)
    sign = 1 if bounded else -1
    limits = (bounds[0], bounds[1], bounds[2], bounds[3])
    for t in range(steps):
        r = (first + t) * batch
        for b in range(batch):
            k, m = pre_events[0][r + b], post_events[0][r + b]
            ins = within(pre_events[1][k : pre_events[0][r + b + 1]], j0, j1)
            outs = post_events[1][m : post_events[0][r + b + 1]]
            own, other = (pre[0][t, b], pre[1][t, b]), (post[0][t, b], post[1][t, b])
            collect(up, down, sign, synapses, own, other, ins, outs)
        if bounded:
            for b in range(batch):
                k, m = pre_events[0][r + b], post_events[0][r + b]
                ins = within(pre_events[1][k : pre_events[0][r + b + 1]], j0, j1)
                outs = post_events[1][m : post_events[0][r + b + 1]]
                _settle(weight, up, down, synapses, ins, outs, limits)
