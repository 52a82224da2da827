"""Numba loops of event-driven matrix products; see :mod:`neuro.kernels.propagation.event_linear`.

``x`` is ``[R, I]``, the weight is held transposed, ``[I, O]``, so that a spike adds one
contiguous row. Four rows are added at a time: the sum passes through memory a quarter as often.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["gather", "scatter"]

Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def gather(
    start: Array, index: Array, value: Array, weight: Array, out: Array, r0: int, r1: int, o0: int, o1: int
) -> None:
    """``out[r] += sum_k value[k] * weight[index[k]]`` over the entries of row r."""
    graded = value.shape[0] > 0
    one = weight.dtype.type(1)
    for r in range(r0, r1):
        target = out[r][o0:o1]
        k = start[r]
        end = start[r + 1]
        while k + 4 <= end:
            w0, w1 = weight[index[k]][o0:o1], weight[index[k + 1]][o0:o1]
            w2, w3 = weight[index[k + 2]][o0:o1], weight[index[k + 3]][o0:o1]
            if graded:
                a0, a1, a2, a3 = value[k], value[k + 1], value[k + 2], value[k + 3]
                for o in range(target.shape[0]):
                    target[o] += (a0 * w0[o] + a1 * w1[o]) + (a2 * w2[o] + a3 * w3[o])
            else:
                for o in range(target.shape[0]):
                    target[o] += (w0[o] + w1[o]) + (w2[o] + w3[o])
            k += 4
        while k < end:
            row = weight[index[k]][o0:o1]
            a = value[k] if graded else one
            for o in range(target.shape[0]):
                target[o] += a * row[o]
            k += 1


@numba.njit(error_model="numpy", nogil=True, cache=True)
def scatter(start: Array, index: Array, value: Array, grad: Array, weight_grad: Array, o0: int, o1: int) -> None:
    """``weight_grad[index[k]] += value[k] * grad[r]`` over all entries, for columns ``o0:o1``."""
    graded = value.shape[0] > 0
    one = grad.dtype.type(1)
    for r in range(grad.shape[0]):
        source = grad[r][o0:o1]
        for k in range(start[r], start[r + 1]):
            target = weight_grad[index[k]][o0:o1]
            a = value[k] if graded else one
            for o in range(source.shape[0]):
                target[o] += a * source[o]
