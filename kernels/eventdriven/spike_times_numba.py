"""Numba loops that list the spikes of a grid and sort them by sample; see :mod:`neuro.kernels.eventdriven.spike_times`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from neuro.kernels.engines.lanes_numba import mask_nonzero, mask_ones, trailing_zeros

__all__ = ["by_sample", "list_spikes"]

Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def list_spikes(x: Array, first: Array) -> Any:
    """Columns of the ones in each row of ``x [R, N]``, listed from ``first[r]`` on; None if an entry is neither 0 nor 1."""
    rows, neurons = x.shape
    whole = neurons // 64 * 64
    index, k = np.empty(max(1024, neurons), np.int32), 0
    for r in range(rows):
        row = x[r]
        first[r] = k
        if k + neurons > index.shape[0]:
            index = np.concatenate((index, np.empty(index.shape[0], np.int32)))
        for i in range(0, whole, 64):
            word = mask_nonzero(row, i)
            if word != mask_ones(row, i):
                return None
            while word != np.uint64(0):
                index[k] = i + trailing_zeros(word)
                k += 1
                word &= word - np.uint64(1)
        for i in range(whole, neurons):
            if row[i] != 0:
                if row[i] != 1:
                    return None
                index[k] = i
                k += 1
    first[rows] = k
    return index[:k]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def by_sample(first: Array, index: Array, batch: int, dt: float, start: Array, time: Array, neuron: Array) -> None:
    """Spikes listed for each row ``t * batch + b`` of ``first`` into ``time`` [s] and ``neuron``, sample after sample."""
    place = start[:-1].copy()
    for row in range(first.shape[0] - 1):
        b = row % batch
        for k in range(first[row], first[row + 1]):
            time[place[b]] = (row // batch) * dt
            neuron[place[b]] = index[k]
            place[b] += 1
