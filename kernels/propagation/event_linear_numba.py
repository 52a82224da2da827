"""Numba loops of event-driven matrix products; see :mod:`neuro.kernels.propagation.event_linear`.

``x`` is ``[R, I]``, the weight is held transposed, ``[I, O]``, so that a spike adds one
contiguous row. The sums of a row are held in registers, as many outputs at a time as fit there.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from neuro.kernels.engines.lanes_numba import (
    NARROW,
    WIDE,
    add_rows_narrow,
    add_rows_wide,
    add_to_rows_narrow,
    add_to_rows_wide,
)

__all__ = ["gather", "scatter"]

Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def gather(
    start: Array,
    index: Array,
    value: Array,
    weight: Array,
    bias: Array,
    out: Array,
    r0: int,
    r1: int,
    o0: int,
    o1: int,
) -> None:
    """``out[r] = bias + sum_k value[k] * weight[index[k]]`` over the entries of row r, in their order."""
    graded = value.shape[0] > 0
    o = o0
    while o + WIDE // out.itemsize <= o1:
        for r in range(r0, r1):
            add_rows_wide(out[r], o, weight, index, value, start[r], start[r + 1], bias)
        o += WIDE // out.itemsize
    while o + NARROW // out.itemsize <= o1:
        for r in range(r0, r1):
            add_rows_narrow(out[r], o, weight, index, value, start[r], start[r + 1], bias)
        o += NARROW // out.itemsize
    if o == o1:
        return
    for r in range(r0, r1):
        out[r, o:o1] = bias[o:o1]
        for k in range(start[r], start[r + 1]):
            a = value[k] if graded else out.dtype.type(1)
            for p in range(o, o1):
                out[r, p] += a * weight[index[k], p]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def scatter(start: Array, index: Array, value: Array, grad: Array, weight_grad: Array, o0: int, o1: int) -> None:
    """``weight_grad[index[k]] += value[k] * grad[r]`` over all entries, for columns ``o0:o1``."""
    graded = value.shape[0] > 0
    wide, narrow = WIDE // grad.itemsize, NARROW // grad.itemsize
    o = o0
    # A tile of columns is summed apart: in the table its rows may lie so that they drive each other from the cache.
    tile = np.zeros((weight_grad.shape[0], wide), grad.dtype)
    while o + wide <= o1:
        for r in range(grad.shape[0]):
            add_to_rows_wide(grad[r][o : o + wide], 0, tile, index, value, start[r], start[r + 1])
        for i in range(tile.shape[0]):
            for p in range(wide):
                weight_grad[i, o + p] += tile[i, p]
                tile[i, p] = 0
        o += wide
    while o + narrow <= o1:
        for r in range(grad.shape[0]):
            add_to_rows_narrow(grad[r], o, weight_grad, index, value, start[r], start[r + 1])
        o += narrow
    if o == o1:
        return
    for r in range(grad.shape[0]):
        for k in range(start[r], start[r + 1]):
            a = value[k] if graded else grad.dtype.type(1)
            for p in range(o, o1):
                weight_grad[index[k], p] += a * grad[r, p]
