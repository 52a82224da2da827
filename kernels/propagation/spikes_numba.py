"""Numba loops that list the entries of a sparse array; see :mod:`neuro.kernels.propagation.spikes`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from neuro.kernels.engines.lanes_numba import mask_nonzero, mask_ones, population, store_bits, trailing_zeros

__all__ = ["compress", "compress_words", "count", "count_words", "pack_rows", "unpack_rows"]

Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def count(x: Array, counts: Array, r0: int, r1: int) -> None:
    """Of each row ``r0:r1`` of ``x [R, I]``: entries that are not 0, and entries that are 1, into ``counts [2, R]``."""
    whole = x.shape[1] // 64 * 64
    for r in range(r0, r1):
        row = x[r]
        some = 0
        ones = 0
        for i in range(0, whole, 64):
            some += population(mask_nonzero(row, i))
            ones += population(mask_ones(row, i))
        for i in range(whole, row.shape[0]):
            some += 1 if row[i] != 0 else 0
            ones += 1 if row[i] == 1 else 0
        counts[0, r] = some
        counts[1, r] = ones


@numba.njit(error_model="numpy", nogil=True, cache=True)
def compress(x: Array, start: Array, index: Array, value: Array, r0: int, r1: int) -> None:
    """Columns (and, where ``value`` is not empty, values) of the non-zero entries, row by row."""
    graded = value.shape[0] > 0
    whole = x.shape[1] // 64 * 64
    for r in range(r0, r1):
        row = x[r]
        k = start[r]
        for i in range(0, whole, 64):
            word = mask_nonzero(row, i)
            while word != np.uint64(0):
                index[k] = i + trailing_zeros(word)
                k += 1
                word &= word - np.uint64(1)
        for i in range(whole, row.shape[0]):
            if row[i] != 0:
                index[k] = i
                k += 1
        if graded:
            for j in range(start[r], k):
                value[j] = row[index[j]]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def pack_rows(x: Array, words: Array, r0: int, r1: int) -> None:
    """Bit ``i % 64`` of ``words[r, i // 64]`` tells whether ``x[r, i]`` is not 0; bits past the row are 0."""
    whole = x.shape[1] // 64 * 64
    for r in range(r0, r1):
        row = x[r]
        for i in range(0, whole, 64):
            words[r, i // 64] = mask_nonzero(row, i)
        word = np.uint64(0)
        for i in range(whole, row.shape[0]):
            word |= np.uint64(row[i] != 0) << np.uint64(i - whole)
        if whole < row.shape[0]:
            words[r, whole // 64] = word


@numba.njit(error_model="numpy", nogil=True, cache=True)
def unpack_rows(words: Array, out: Array, r0: int, r1: int) -> None:
    """``out[r, i]`` is bit ``i % 64`` of ``words[r, i // 64]``."""
    whole = out.shape[1] // 64 * 64
    for r in range(r0, r1):
        row = out[r]
        for i in range(0, whole, 64):
            store_bits(row, i, words[r, i // 64])
        for i in range(whole, row.shape[0]):
            row[i] = 1 if (words[r, whole // 64] >> np.uint64(i - whole)) & np.uint64(1) else 0


@numba.njit(error_model="numpy", nogil=True, cache=True)
def count_words(words: Array, counts: Array) -> None:
    """Bits that are set in each row of ``words [R, W]`` (uint64), into ``counts [R]``."""
    for r in range(words.shape[0]):
        total = 0
        for w in range(words.shape[1]):
            total += population(words[r, w])
        counts[r] = total


@numba.njit(error_model="numpy", nogil=True, cache=True)
def compress_words(words: Array, start: Array, index: Array) -> None:
    """Places of the bits that are set in ``words [R, W]`` (uint64), row by row, lowest first."""
    for r in range(words.shape[0]):
        k = start[r]
        for w in range(words.shape[1]):
            word = words[r, w]
            while word != np.uint64(0):
                index[k] = 64 * w + trailing_zeros(word)
                k += 1
                word &= word - np.uint64(1)
