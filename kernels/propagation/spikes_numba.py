"""Numba loops that list the entries of a sparse array; see :mod:`neuro.kernels.propagation.spikes`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["compress", "compress_words", "count", "count_words"]

Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def count(x: Array, counts: Array, r0: int, r1: int) -> None:
    """Of each row ``r0:r1`` of ``x [R, I]``: entries that are not 0, and entries that are 1, into ``counts [2, R]``."""
    for r in range(r0, r1):
        row = x[r]
        some = np.int32(0)
        ones = np.int32(0)
        for i in range(row.shape[0]):
            some += np.int32(row[i] != 0)
            ones += np.int32(row[i] == 1)
        counts[0, r] = some
        counts[1, r] = ones


@numba.njit(error_model="numpy", nogil=True, cache=True)
def compress(x: Array, start: Array, index: Array, value: Array, r0: int, r1: int) -> None:
    """Columns (and, where ``value`` is not empty, values) of the non-zero entries, row by row."""
    graded = value.shape[0] > 0
    for r in range(r0, r1):
        row = x[r]
        width = row.shape[0]
        k = start[r]
        end = start[r + 1]
        i = 0
        while k < end:
            # Most groups of eight hold no spike: one test passes over them.
            if i + 8 <= width:
                first = (row[i] != 0) | (row[i + 1] != 0) | (row[i + 2] != 0) | (row[i + 3] != 0)
                last = (row[i + 4] != 0) | (row[i + 5] != 0) | (row[i + 6] != 0) | (row[i + 7] != 0)
                if not (first | last):
                    i += 8
                    continue
            for j in range(i, min(i + 8, width)):
                if row[j] != 0:
                    index[k] = j
                    if graded:
                        value[k] = row[j]
                    k += 1
            i += 8


@numba.njit(error_model="numpy", nogil=True, cache=True)
def count_words(words: Array, counts: Array) -> None:
    """Bits that are set in each row of ``words [R, W]`` (uint64), into ``counts [R]``."""
    for r in range(words.shape[0]):
        total = 0
        for w in range(words.shape[1]):
            word = words[r, w]
            while word != np.uint64(0):
                word &= word - np.uint64(1)
                total += 1
        counts[r] = total


@numba.njit(error_model="numpy", nogil=True, cache=True)
def compress_words(words: Array, start: Array, index: Array) -> None:
    """Places of the bits that are set in ``words [R, W]`` (uint64), row by row, lowest first."""
    for r in range(words.shape[0]):
        k = start[r]
        for w in range(words.shape[1]):
            word = words[r, w]
            place = 64 * w
            while word != np.uint64(0):
                if word & np.uint64(1):
                    index[k] = place
                    k += 1
                word >>= np.uint64(1)
                place += 1
