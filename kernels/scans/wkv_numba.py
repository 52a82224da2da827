"""Numba loops of the WKV operator; see :mod:`neuro.kernels.scans.wkv`. The innermost loop is over channels."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

__all__ = ["backward", "forward"]

Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy", nogil=True, cache=True, inline="always")
def _logistic(x: Any) -> Any:
    small = math.exp(-abs(x))
    return 1 / (1 + small) if x >= 0 else small / (1 + small)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def forward(k: Array, v: Array, w: Array, u: Array, out: Array, means: Array, weights: Array, m0: int, m1: int) -> None:
    """Channels ``m0:m1`` of the output ``[T, M]`` and of the states ``[T + 1, M]``, whose first rows are given."""
    for t in range(k.shape[0]):
        for m in range(m0, m1):
            mean, kept = means[t, m], weights[t, m] + w[m]
            apart = v[t, m] - mean
            out[t, m] = mean + _logistic(u[m] + k[t, m] - weights[t, m]) * apart
            means[t + 1, m] = mean + _logistic(k[t, m] - kept) * apart
            weights[t + 1, m] = max(kept, k[t, m]) + math.log1p(math.exp(-abs(k[t, m] - kept)))


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
    for t in range(k.shape[0] - 1, -1, -1):
        for m in range(m0, m1):
            apart, g = v[t, m] - means[t, m], grad[t, m]
            read = _logistic(u[m] + k[t, m] - weights[t, m])
            taken = _logistic(k[t, m] - (weights[t, m] + w[m]))
            from_mean, from_weight = carried[0, m], carried[1, m]
            by_read = g * apart * read * (1 - read)
            by_taken = from_mean * apart * taken * (1 - taken)
            grad_k[t, m] = by_read + by_taken + from_weight * taken
            grad_v[t, m] = g * read + from_mean * taken
            sums[0, m] += from_weight * (1 - taken) - by_taken
            sums[1, m] += by_read
            if cut_time:
                carried[0, m] = 0
                carried[1, m] = 0
            else:
                carried[0, m] = g * (1 - read) + from_mean * (1 - taken)
                carried[1, m] = from_weight * (1 - taken) - by_taken - by_read
