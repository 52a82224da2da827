"""Numba loop of eligibility traces; see :mod:`neuro.kernels.scans.eligibility`.

A call owns the synapses of the neurons ``o0:o1``, whose sums run over time and then the batch,
so any cut into calls gives the same bits. The innermost loops are over contiguous inputs.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["sweep"]

Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def sweep(
    a: Array, b: Array, c: Array, d: Array, u: Array, signal: Array, trace: Array, grad: Array, o0: int, o1: int
) -> None:
    """``trace [S, B, O, I]`` and ``grad [O, I]`` of the neurons ``o0:o1`` over a stretch."""
    states = trace.shape[0]
    moved = np.empty((states, u.shape[2]), u.dtype)
    for o in range(o0, o1):
        total = grad[o]
        for t in range(u.shape[0]):
            for n in range(u.shape[1]):
                given = u[t, n]
                g = signal[t, n, o]
                if g != 0:
                    _add(total, g * d[t, n, o], given)
                    for k in range(states):
                        _add(total, g * c[k, t, n, o], trace[k, n, o])
                if states == 1:
                    _move(trace[0, n, o], a[0, 0, t, n, o], b[0, t, n, o], given)
                    continue
                for k in range(states):
                    row = moved[k]
                    row[:] = trace[k, n, o]
                    _move(row, a[k, k, t, n, o], b[k, t, n, o], given)
                    for j in range(states):
                        if j != k and a[k, j, t, n, o] != 0:
                            _add(row, a[k, j, t, n, o], trace[j, n, o])
                for k in range(states):
                    trace[k, n, o] = moved[k]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _add(total: Array, factor: float, row: Array) -> None:
    if factor != 0:
        for i in range(total.shape[0]):
            total[i] += factor * row[i]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _move(row: Array, decay: float, gain: float, given: Array) -> None:
    for i in range(row.shape[0]):
        row[i] = decay * row[i] + gain * given[i]
