"""Numba loop of send-on-delta sampling; see :mod:`neuro.kernels.scans.send_on_delta`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["send"]

Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def send(x: Array, start: Array, step: Array, out: Array, b: int, n0: int, n1: int) -> None:
    """Events ``out [T, B, 2, N]`` of the signals ``n0:n1`` in row ``b`` of ``x [T, B, N]``; ``step [1]``."""
    zero, one, threshold = x.dtype.type(0), x.dtype.type(1), step[0]
    level, first = np.zeros(n1 - n0, x.dtype), start[b, n0:n1]
    for t in range(x.shape[0]):
        now, up, down = x[t, b, n0:n1], out[t, b, 0, n0:n1], out[t, b, 1, n0:n1]
        for n in range(n1 - n0):
            moved = now[n] - (first[n] + threshold * level[n])
            on = one if moved >= threshold else zero
            off = one if moved <= -threshold else zero
            up[n], down[n] = on, off
            level[n] += on - off
