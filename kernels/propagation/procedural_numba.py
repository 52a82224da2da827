"""Numba loops over connections that are made anew at each use; see :mod:`neuro.kernels.propagation.procedural`."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

__all__ = ["gather", "rows", "scatter"]

Array = np.ndarray[Any, Any]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M32 = np.uint64(0xFFFFFFFF)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _mix(z: Any) -> Any:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _key(seed: Any, stream: int, i: int) -> Any:
    return _mix(_mix(np.uint64(seed) + np.uint64(stream) * _GOLDEN) + np.uint64(i + 1) * _GOLDEN)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _draw(key: Any, k: int) -> Any:
    h = (key + np.uint64(k) * np.uint64(0x9E3779B9)) & _M32
    h = ((h ^ (h >> np.uint64(16))) * np.uint64(0x85EBCA6B)) & _M32
    h = (h ^ (h >> np.uint64(13)) ^ (key >> np.uint64(32))) & _M32
    h = (h * np.uint64(0xC2B2AE35)) & _M32
    return h ^ (h >> np.uint64(16))


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _targets(i: int, seed: Any, post: int, number: int, table: Array, target: Array) -> int:
    """Write the targets of neuron i, return how many; ``number`` is -1 where chance decides."""
    key = _key(seed, 0, i)
    if number >= 0:
        for k in range(number):
            target[k] = np.int32((_draw(key, k) * np.uint64(post)) >> np.uint64(32))
        return number
    steps = table.shape[0] - 256
    j, k, n = 0, 0, 0
    while True:
        u = np.int64(_draw(key, k))
        gap = table[steps + (u >> 24)]
        while gap < steps and table[gap] <= u:
            gap += 1
        j += gap
        k += 1
        if j >= post:
            return n
        if gap < steps:
            target[n] = j
            n += 1
            j += 1


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _weights(i: int, n: int, seed: Any, law: int, a: float, b: float, weight: Array) -> None:
    one = 1.0 / 4294967296.0
    first, second = _key(seed, 1, i), _key(seed, 2, i)
    if law == 1:
        for k in range(n):
            weight[k] = a + (b - a) * (np.float64(_draw(first, k)) * one)
    else:
        for k in range(n):
            radius = math.sqrt(-2.0 * math.log((np.float64(_draw(first, k)) + 1.0) * one))
            weight[k] = a + b * (radius * math.cos(6.283185307179586 * (np.float64(_draw(second, k)) * one)))


@numba.njit(error_model="numpy", nogil=True, cache=True)
def rows(
    seed: Any,
    post: int,
    number: int,
    table: Array,
    law: int,
    a: float,
    b: float,
    counts: Array,
    indptr: Array,
    indices: Array,
    weight: Array,
    i0: int,
    i1: int,
) -> None:
    """Write the matrix out: ``counts [I]`` if ``indptr`` is empty, else ``indices`` and ``weight`` (if not empty)."""
    target = np.empty(max(number, post), np.int32)
    for i in range(i0, i1):
        n = _targets(i, seed, post, number, table, target)
        if indptr.shape[0] == 0:
            counts[i] = n
            continue
        indices[indptr[i] : indptr[i + 1]] = target[:n]
        if law > 0:
            _weights(i, n, seed, law, a, b, weight[indptr[i] : indptr[i + 1]])


@numba.njit(error_model="numpy", nogil=True, cache=True)
def scatter(
    seed: Any,
    post: int,
    number: int,
    table: Array,
    law: int,
    a: float,
    b: float,
    start: Array,
    index: Array,
    value: Array,
    out: Array,
    r0: int,
    r1: int,
) -> None:
    """``out[r, j] += value * w(i, j)`` for the events i of rows ``r0:r1``."""
    graded = value.shape[0] > 0
    target = np.empty(max(number, post), np.int32)
    weight = np.empty(max(number, post) if law > 0 else 0, out.dtype)
    for r in range(r0, r1):
        row = out[r]
        for e in range(start[r], start[r + 1]):
            n = _targets(index[e], seed, post, number, table, target)
            x = value[e] if graded else out.dtype.type(1)
            if law > 0:
                _weights(index[e], n, seed, law, a, b, weight)
                for k in range(n):
                    row[target[k]] += x * weight[k]
            else:
                one = x * out.dtype.type(a)
                for k in range(n):
                    row[target[k]] += one


@numba.njit(error_model="numpy", nogil=True, cache=True)
def gather(
    seed: Any,
    post: int,
    number: int,
    table: Array,
    law: int,
    a: float,
    b: float,
    y: Array,
    out: Array,
    i0: int,
    i1: int,
) -> None:
    """``out[r, i] = sum_j w(i, j) * y[r, j]``: each row of connections is made once for all r."""
    target = np.empty(max(number, post), np.int32)
    weight = np.full(max(number, post), a, out.dtype)
    for i in range(i0, i1):
        n = _targets(i, seed, post, number, table, target)
        if law > 0:
            _weights(i, n, seed, law, a, b, weight)
        for r in range(out.shape[0]):
            total = out.dtype.type(0)
            for k in range(n):
                total += weight[k] * y[r, target[k]]
            out[r, i] = total
