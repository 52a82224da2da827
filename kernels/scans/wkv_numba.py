"""Numba loops of the WKV operator; see :mod:`neuro.kernels.scans.wkv`.

The innermost loop is over channels and compiles to vector instructions. With ``d = k - (l + w)`` and ``p = s(-|d|)``,
at most a half, ``log(e^{l + w} + e^k) = max(l + w, k) - log(1 - p)``, whose series is short.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import overload

from neuro.kernels.engines.logistic_numba import logistic

__all__ = ["backward", "forward", "log_rest"]

Array = np.ndarray[Any, Any]
_F = np.float32


def log_rest(p: Any) -> Any:
    """``-log(1 - p)`` of a scalar from 0 to 1/2; in compiled loops ``2 artanh(p / (2 - p))`` by its series."""
    return -math.log1p(-p)


@numba.njit(error_model="numpy", cache=True)
def _single(p: Any) -> Any:
    s = p / (_F(2) - p)
    q = s * s
    total = q * _F(1 / 15) + _F(1 / 13)
    total = total * q + _F(1 / 11)
    total = total * q + _F(1 / 9)
    total = total * q + _F(1 / 7)
    total = total * q + _F(1 / 5)
    total = total * q + _F(1 / 3)
    total = total * q + _F(1)
    return (s + s) * total


@numba.njit(error_model="numpy", cache=True)
def _double(p: Any) -> Any:
    s = p / (2.0 - p)
    q = s * s
    total = q / 33 + 1 / 31
    total = total * q + 1 / 29
    total = total * q + 1 / 27
    total = total * q + 1 / 25
    total = total * q + 1 / 23
    total = total * q + 1 / 21
    total = total * q + 1 / 19
    total = total * q + 1 / 17
    total = total * q + 1 / 15
    total = total * q + 1 / 13
    total = total * q + 1 / 11
    total = total * q + 1 / 9
    total = total * q + 1 / 7
    total = total * q + 1 / 5
    total = total * q + 1 / 3
    total = total * q + 1.0
    return (s + s) * total


@overload(log_rest, inline="always")
def _log_rest(p: Any) -> Any:
    def single(p: Any) -> Any:
        return _single(p)

    def double(p: Any) -> Any:
        return _double(p)

    return single if p == types.float32 else double


@numba.njit(error_model="numpy", nogil=True, cache=True)
def forward(k: Array, v: Array, w: Array, u: Array, out: Array, means: Array, weights: Array, m0: int, m1: int) -> None:
    """Channels ``m0:m1`` of the output ``[T, M]`` and of the states ``[T + 1, M]``, whose first rows are given."""
    rate, first = w[m0:m1], u[m0:m1]
    for t in range(k.shape[0]):
        keys, values, made = k[t][m0:m1], v[t][m0:m1], out[t][m0:m1]
        mean, weight = means[t][m0:m1], weights[t][m0:m1]
        next_mean, next_weight = means[t + 1][m0:m1], weights[t + 1][m0:m1]
        for m in range(m1 - m0):
            kept = weight[m] + rate[m]
            apart, d = values[m] - mean[m], keys[m] - kept
            small = logistic(-abs(d))
            rest = mean[m] + small * apart if d < 0 else values[m] - small * apart
            made[m] = mean[m] + logistic(first[m] + keys[m] - weight[m]) * apart
            next_mean[m] = rest
            next_weight[m] = (kept if d < 0 else keys[m]) + log_rest(small)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def backward(
    grad: Array,
    k: Array,
    v: Array,
    w: Array,
    u: Array,
    means: Array,
    weights: Array,
    grad_k: Array,
    grad_v: Array,
    sums: Array,
    carried: Array,
    cut_time: bool,
    m0: int,
    m1: int,
) -> None:
    """The adjoint of :func:`forward`.

    ``carried [2, M]`` holds the gradients of the state, at first the last one's; ``sums [2, M]``, those of w and u,
    are added to.
    """
    rate, first, sum_w, sum_u = w[m0:m1], u[m0:m1], sums[0][m0:m1], sums[1][m0:m1]
    from_mean, from_weight = carried[0][m0:m1], carried[1][m0:m1]
    one = w.dtype.type(1)
    for t in range(k.shape[0] - 1, -1, -1):
        keys, values, upon = k[t][m0:m1], v[t][m0:m1], grad[t][m0:m1]
        mean, weight, to_k, to_v = means[t][m0:m1], weights[t][m0:m1], grad_k[t][m0:m1], grad_v[t][m0:m1]
        # Two loops: with too many arrays in one, the compiler gives up on vectors.
        for m in range(m1 - m0):
            read = logistic(first[m] + keys[m] - weight[m])
            to_v[m] = upon[m] * read
            by_read = to_v[m] * (values[m] - mean[m]) * (one - read)
            to_k[m] = by_read
            sum_u[m] += by_read
        for m in range(m1 - m0):
            taken = logistic(keys[m] - (weight[m] + rate[m]))
            by_taken = from_mean[m] * (values[m] - mean[m]) * taken * (one - taken)
            by_kept = from_weight[m] * (one - taken) - by_taken
            by_read, through = to_k[m], from_mean[m] * taken
            to_k[m] = by_read + by_taken + from_weight[m] * taken
            sum_w[m] += by_kept
            from_weight[m] = by_kept - by_read
            from_mean[m] += upon[m] - to_v[m] - through
            to_v[m] += through
        if cut_time:
            from_mean[:] = 0
            from_weight[:] = 0
