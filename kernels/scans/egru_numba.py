"""Numba loops of event-based gated recurrent units, between the products; see :mod:`neuro.kernels.scans.egru`.

A call owns the rows of the batch ``b0:b1``; every number is made by itself, so any cut gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from torch import Tensor

from neuro.kernels.engines.logistic_numba import logistic
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.propagation.spikes import ranges

__all__ = ["backward_steps", "forward_steps"]

_UNITS = 8192  # units worth a task of their own
Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _advance(
    drive: Array,
    back: Array,
    threshold: Array,
    state: Array,
    seen: Array,
    gates: Array,
    out: Array,
    t: int,
    k: int,
    b0: int,
    b1: int,
) -> None:
    n = threshold.shape[0]
    one, two = out.dtype.type(1), out.dtype.type(2)
    zero = out.dtype.type(0)
    for b in range(b0, b1):
        a, h, kept = drive[t, b], back[b], gates[k, b]
        c, membrane, y = state[b], seen[k, b], out[t, b]
        kept_r, kept_z, kept_n, kept_h = kept[:n], kept[n : 2 * n], kept[2 * n : 3 * n], kept[3 * n :]
        a_r, a_z, a_n = a[:n], a[n : 2 * n], a[2 * n :]
        h_r, h_z, h_n = h[:n], h[n : 2 * n], h[2 * n :]
        for i in range(n):
            r, z = logistic(a_r[i] + h_r[i]), logistic(a_z[i] + h_z[i])
            m = two * logistic(two * (a_n[i] + r * h_n[i])) - one
            v = z * c[i] + (one - z) * m
            kept_r[i], kept_z[i], kept_n[i], kept_h[i] = r, z, m, h_n[i]
            membrane[i] = v
            y[i] = v if v > threshold[i] else zero
            c[i] = v - threshold[i] if v > threshold[i] else v


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _retreat(
    first: Array,
    threshold: Array,
    seen: Array,
    gates: Array,
    slopes: Array,
    arriving: Array,
    carried: Array,
    drive: Array,
    back: Array,
    sums: Array,
    cut_time: bool,
    cut_reset: bool,
    t: int,
    b0: int,
    b1: int,
) -> None:
    n = threshold.shape[0]
    one, zero = seen.dtype.type(1), seen.dtype.type(0)
    for b in range(b0, b1):
        kept, dc, dy, psi, v, total = gates[t, b], carried[b], arriving[t, b], slopes[t, b], seen[t, b], sums[b]
        before = first[b] if t == 0 else seen[t - 1, b]
        kept_r, kept_z, kept_n, kept_h = kept[:n], kept[n : 2 * n], kept[2 * n : 3 * n], kept[3 * n :]
        to_r, to_z, to_n = drive[t, b, :n], drive[t, b, n : 2 * n], drive[t, b, 2 * n :]
        back_r, back_z, back_n = back[t, b, :n], back[t, b, n : 2 * n], back[t, b, 2 * n :]
        for i in range(n):
            r, z, m, theta = kept_r[i], kept_z[i], kept_n[i], threshold[i]
            e = one if v[i] > theta else zero
            event = psi[i] * (v[i] * dy[i] - (zero if cut_reset else theta * dc[i]))
            total[i] -= e * dc[i] + event
            dv = e * dy[i] + event + dc[i]
            c = before[i] - (theta if t > 0 and before[i] > theta else zero)
            inner = dv * (one - z) * (one - m * m)
            reset = inner * kept_h[i] * r * (one - r)
            update = dv * (c - m) * z * (one - z)
            to_r[i], to_z[i], to_n[i] = reset, update, inner
            back_r[i], back_z[i], back_n[i] = reset, update, inner * r
            dc[i] = zero if cut_time else dv * z


def _blocks(batch: int, neurons: int) -> list[tuple[int, int]]:
    return ranges(batch, max(1, _UNITS // max(1, neurons)))


def forward_steps(
    drive: Tensor, threshold: Tensor, state: Tensor, seen: Tensor, gates: Tensor, out: Tensor
) -> Callable[[int, int, Tensor], None]:
    """``step(t, k, back)``: state and output ``t`` from ``back [B, 3N]``; what backward reads goes to row ``k``.

    Args:
        drive: ``[T, B, 3N]``, contiguous, as all are.
        threshold: ``[N]``.
        state: ``[B, N]``, written to.
        seen: ``[T, B, N]`` (or one row of it), written to.
        gates: ``[T, B, 4N]`` (or one row), written to.
        out: ``[T, B, N]``, written to.
    """
    a, theta, c, membrane, kept, y = (x.numpy() for x in (drive, threshold, state, seen, gates, out))
    blocks = _blocks(*state.shape)

    def step(t: int, k: int, back: Tensor) -> None:
        given = (a, back.numpy(), theta, c, membrane, kept, y, t, k)
        run_blocks([lambda block=block: _advance(*given, *block) for block in blocks])  # type: ignore[misc]

    return step


def backward_steps(
    first: Tensor,
    threshold: Tensor,
    seen: Tensor,
    gates: Tensor,
    slopes: Tensor,
    arriving: Tensor,
    carried: Tensor,
    drive: Tensor,
    back: Tensor,
    sums: Tensor,
    cut_time: bool,
    cut_reset: bool,
) -> Callable[[int], None]:
    """For a step t: from ``arriving`` and ``carried`` to the gradients of ``drive`` and what was fed ``back``.

    Args:
        first: ``[B, N]``, contiguous, as all are.
        threshold: ``[N]``.
        seen, gates: as forward left them, ``[T, B, N]`` and ``[T, B, 4N]``.
        slopes: surrogate derivative of the events, ``[T, B, N]``.
        arriving: gradient of the output, ``[T, B, N]``.
        carried: of the state, ``[B, N]``, written to.
        drive, back: ``[T, B, 3N]``, written to.
        sums: of the threshold, ``[B, N]``, added to.
        cut_time, cut_reset: edges to ignore.
    """
    given = (first, threshold, seen, gates, slopes, arriving, carried, drive, back, sums)
    arrays: Any = (*(x.numpy() for x in given), cut_time, cut_reset)
    blocks = _blocks(*first.shape)

    def step(t: int) -> None:
        calls: Any = [(*arrays, t, *block) for block in blocks]
        run_blocks([lambda call=call: _retreat(*call) for call in calls])  # type: ignore[misc]

    return step
