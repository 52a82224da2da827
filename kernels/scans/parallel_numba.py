"""Numba loops of a causal filter; see :mod:`neuro.kernels.scans.parallel`. The innermost loop is over neurons."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["backward", "forward"]

Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def forward(x: Array, weight: Array, bias: Array, out: Array, m0: int, m1: int) -> None:
    """``out[t] = sum_i weight[i] x[t + i] + bias`` for the neurons ``m0:m1``; sums in the order of i, bias last."""
    for t in range(out.shape[0]):
        target = out[t][m0:m1]
        row, w = x[t][m0:m1], weight[0]
        for m in range(target.shape[0]):
            target[m] = w * row[m]
        for i in range(1, weight.shape[0]):
            row, w = x[t + i][m0:m1], weight[i]
            for m in range(target.shape[0]):
                target[m] += w * row[m]
        for m in range(target.shape[0]):
            target[m] += bias[()]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def backward(grad: Array, x: Array, weight: Array, grad_x: Array, grad_weight: Array, m0: int, m1: int) -> None:
    """The adjoint of :func:`forward`; ``grad_weight [K]`` belongs to the block and is added to."""
    products = np.zeros(m1 - m0, x.dtype)
    for t in range(x.shape[0]):
        target = grad_x[t][m0:m1]
        target[:] = 0
        for i in range(weight.shape[0]):
            if 0 <= t - i < grad.shape[0]:
                row, w = grad[t - i][m0:m1], weight[i]
                for m in range(target.shape[0]):
                    target[m] += w * row[m]
    for i in range(weight.shape[0]):
        products[:] = 0
        for t in range(grad.shape[0]):
            row, given = grad[t][m0:m1], x[t + i][m0:m1]
            for m in range(products.shape[0]):
                products[m] += row[m] * given[m]
        grad_weight[i] += products.sum()
