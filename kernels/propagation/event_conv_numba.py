"""Numba loops of event-driven convolution; see :mod:`neuro.kernels.propagation.event_conv`.

Channels come last here, so that a spike adds whole rows: one for each place of the kernel it meets.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["gather", "scatter"]

Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _place(position: int, kernel: int, stride: int, padding: int, size: int) -> int:
    """Where in the output an input at ``position`` lands through place ``kernel`` of the kernel; -1 if nowhere."""
    at = position + padding - kernel
    if at < 0 or at % stride != 0 or at // stride >= size:
        return -1
    return at // stride


@numba.njit(error_model="numpy", nogil=True, cache=True)
def gather(start: Array, index: Array, value: Array, weight: Array, out: Array, shape: Any, r0: int, r1: int) -> None:
    """``out [R, H', W', O] += x * weight``, ``weight [C, kh, kw, O]``; ``shape`` is H, W, strides, paddings."""
    height, width, stride_y, stride_x, pad_y, pad_x = shape
    graded = value.shape[0] > 0
    for r in range(r0, r1):
        for k in range(start[r], start[r + 1]):
            c, rest = divmod(index[k], height * width)
            h, w = divmod(rest, width)
            a = value[k] if graded else out.dtype.type(1)
            for i in range(weight.shape[1]):
                y = _place(h, i, stride_y, pad_y, out.shape[1])
                if y < 0:
                    continue
                for j in range(weight.shape[2]):
                    x = _place(w, j, stride_x, pad_x, out.shape[2])
                    if x < 0:
                        continue
                    row, target = weight[c, i, j], out[r, y, x]
                    for o in range(row.shape[0]):
                        target[o] += a * row[o]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def scatter(
    start: Array, index: Array, value: Array, grad: Array, weight_grad: Array, shape: Any, r0: int, r1: int
) -> None:
    """``weight_grad [C, kh, kw, O] += x * grad [R, H', W', O]`` over the rows ``r0:r1``."""
    height, width, stride_y, stride_x, pad_y, pad_x = shape
    graded = value.shape[0] > 0
    for r in range(r0, r1):
        for k in range(start[r], start[r + 1]):
            c, rest = divmod(index[k], height * width)
            h, w = divmod(rest, width)
            a = value[k] if graded else grad.dtype.type(1)
            for i in range(weight_grad.shape[1]):
                y = _place(h, i, stride_y, pad_y, grad.shape[1])
                if y < 0:
                    continue
                for j in range(weight_grad.shape[2]):
                    x = _place(w, j, stride_x, pad_x, grad.shape[2])
                    if x < 0:
                        continue
                    target, row = weight_grad[c, i, j], grad[r, y, x]
                    for o in range(row.shape[0]):
                        target[o] += a * row[o]
