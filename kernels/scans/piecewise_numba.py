"""Numba loops of :mod:`neuro.kernels.scans.piecewise`; the innermost loop is over samples ``b0:b1``."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["backward", "forward"]

Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _force(s: Array, z: Array, x: Array, alpha: float, b0: int, b1: int) -> None:
    """``s = (1 - alpha) z + alpha x``, ``[M, lanes]``; z is that of all samples or of these only."""
    keep, take = s.dtype.type(1 - alpha), s.dtype.type(alpha)
    for m in range(s.shape[0]):
        into, own, given = s[m], z[m][b0:b1], x[m][b0:b1]
        for b in range(into.shape[0]):
            into[b] = keep * own[b] + take * given[b]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _drive(u: Array, s: Array, row: Array) -> None:
    """``u = row @ s`` for ``s [M, lanes]``."""
    u[:] = 0
    for m in range(row.shape[0]):
        w, given = row[m], s[m]
        for b in range(u.shape[0]):
            u[b] += w * given[b]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def forward(
    x: Array, before: Array, a: Array, outer: Array, inner: Array, h1: Array, h2: Array,
    alpha: float, clipped: bool, out: Array, b0: int, b1: int,
) -> None:  # fmt: skip
    """Fill ``out[:, :, b0:b1]``; ``x``, ``out`` ``[T, M, B]``, ``before [M, B]``."""
    size = a.shape[0]
    s, u = np.empty((size, b1 - b0), x.dtype), np.empty(b1 - b0, x.dtype)
    zero = x.dtype.type(0)
    for t in range(x.shape[0]):
        _force(s, before if t == 0 else out[t - 1], x[t], alpha, b0, b1)
        for m in range(size):
            target, given = out[t, m][b0:b1], s[m]
            for b in range(u.shape[0]):
                target[b] = a[m] * given[b] + h1[m]
        for k in range(h2.shape[0]):
            _drive(u, s, inner[k])
            for b in range(u.shape[0]):
                u[b] = max(u[b] + h2[k], zero) - (max(u[b], zero) if clipped else zero)
            for m in range(size):
                target, w = out[t, m][b0:b1], outer[m, k]
                for b in range(u.shape[0]):
                    target[b] += w * u[b]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _hidden_back(
    k: int, s: Array, g: Array, ds: Array, outer: Array, inner: Array, h2: Array, clipped: bool,
    u: Array, q: Array, r: Array, outer_sums: Array, inner_sums: Array, h2_sums: Array,
) -> None:  # fmt: skip
    """One hidden unit's share in the adjoint; sums have a lane for each sample."""
    zero = u.dtype.type(0)
    _drive(u, s, inner[k])
    q[:] = 0
    for m in range(s.shape[0]):
        w, given = outer[m, k], g[m]
        for b in range(u.shape[0]):
            q[b] += w * given[b]
    sums, shift = h2_sums[k], h2[k]
    for b in range(u.shape[0]):
        shifted = u[b] + shift
        kept = q[b] if shifted > zero else zero
        taken = u[b] > zero and clipped
        r[b] = max(shifted, zero) - (u[b] if taken else zero)
        sums[b] += kept
        q[b] = kept - (q[b] if taken else zero)
    for m in range(s.shape[0]):
        sums, given = outer_sums[m, k], g[m]
        for b in range(u.shape[0]):
            sums[b] += given[b] * r[b]
        sums, given = inner_sums[k, m], s[m]
        for b in range(u.shape[0]):
            sums[b] += q[b] * given[b]
        target, w = ds[m], inner[k, m]
        for b in range(u.shape[0]):
            target[b] += q[b] * w


@numba.njit(error_model="numpy", nogil=True, cache=True)
def backward(
    grad: Array, z: Array, x: Array, before: Array, a: Array, outer: Array, inner: Array, h2: Array,
    alpha: float, clipped: bool, grad_x: Array, grad_before: Array, grad_a: Array, grad_outer: Array,
    grad_inner: Array, grad_h1: Array, grad_h2: Array, b0: int, b1: int,
) -> None:  # fmt: skip
    """The adjoint of :func:`forward`; the gradients of the map belong to the block."""
    size, hidden, lanes, dtype = a.shape[0], h2.shape[0], b1 - b0, x.dtype
    s, g, ds = np.empty((size, lanes), dtype), np.empty((size, lanes), dtype), np.zeros((size, lanes), dtype)
    u, q, r = np.empty(lanes, dtype), np.empty(lanes, dtype), np.empty(lanes, dtype)
    a_sums, h1_sums, h2_sums = (
        np.zeros((size, lanes), dtype), np.zeros((size, lanes), dtype), np.zeros((hidden, lanes), dtype)
    )  # fmt: skip
    outer_sums, inner_sums = np.zeros((size, hidden, lanes), dtype), np.zeros((hidden, size, lanes), dtype)
    keep, take = dtype.type(1 - alpha), dtype.type(alpha)
    for t in range(x.shape[0] - 1, -1, -1):
        _force(s, before if t == 0 else z[t - 1], x[t], alpha, b0, b1)
        for m in range(size):
            came = grad[t, m][b0:b1]
            for b in range(lanes):
                g[m, b] = came[b] + keep * ds[m, b]
                ds[m, b] = a[m] * g[m, b]
                a_sums[m, b] += g[m, b] * s[m, b]
                h1_sums[m, b] += g[m, b]
        for k in range(hidden):
            _hidden_back(k, s, g, ds, outer, inner, h2, clipped, u, q, r, outer_sums, inner_sums, h2_sums)
        for m in range(size):
            for b in range(lanes):
                grad_x[t, m, b0 + b] = take * ds[m, b]
    for m in range(size):
        for b in range(lanes):
            grad_before[m, b0 + b] = keep * ds[m, b]
        grad_a[m], grad_h1[m] = a_sums[m].sum(), h1_sums[m].sum()
        for k in range(hidden):
            grad_outer[m, k], grad_inner[k, m] = outer_sums[m, k].sum(), inner_sums[k, m].sum()
    for k in range(hidden):
        grad_h2[k] = h2_sums[k].sum()
