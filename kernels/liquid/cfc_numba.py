"""Numba loops of closed-form continuous-time cells, between the dense products; see :mod:`neuro.kernels.liquid.cfc`.

``heads [T, B, K N]`` are overwritten by their functions: f1, f2 and the gate s in the first three N columns; of the
mode ``"pure"`` the one linear head stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from torch import Tensor

from neuro.kernels.engines.logistic_numba import logistic

__all__ = ["backward_steps", "forward_steps"]

Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _activate(z: Array, k: int) -> None:
    """``z[k] <- 1.7159 tanh(0.666 z[k])``; tanh from the logistic function of twice its argument."""
    one = z.dtype.type
    row = z[k].reshape(-1)
    for m in range(row.shape[0]):
        row[m] = one(1.7159) * (one(2) * logistic(one(1.332) * row[m]) - one(1))


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _gates(heads: Array, elapsed: Array, out: Array, gated: bool, k: int, t: int) -> None:
    neurons = out.shape[2]
    one, two = heads.dtype.type(1), heads.dtype.type(2)
    for b in range(out.shape[1]):
        row, dt = heads[k, b], elapsed[t, b]
        f1, f2, a, c = row[:neurons], row[neurons : 2 * neurons], row[2 * neurons : 3 * neurons], row[3 * neurons :]
        made = out[t, b]
        for i in range(neurons):
            p = two * logistic(two * f1[i]) - one
            q = two * logistic(two * f2[i]) - one
            s = logistic(a[i] * dt + c[i])
            f1[i], f2[i], a[i] = p, q, s
            made[i] = (p * (one - s) if gated else p) + s * q


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _gates_back(heads: Array, elapsed: Array, grad: Array, dheads: Array, gated: bool, t: int) -> None:
    neurons = grad.shape[2]
    one = heads.dtype.type(1)
    for b in range(grad.shape[1]):
        row, d, dt, arriving = heads[t, b], dheads[t, b], elapsed[t, b], grad[t, b]
        f1, f2, gate = row[:neurons], row[neurons : 2 * neurons], row[2 * neurons : 3 * neurons]
        d1, d2, da, dc = d[:neurons], d[neurons : 2 * neurons], d[2 * neurons : 3 * neurons], d[3 * neurons :]
        for i in range(neurons):
            g, p, q, s = arriving[i], f1[i], f2[i], gate[i]
            slope = g * (q - p if gated else q) * s * (one - s)
            d1[i] = (g * (one - s) if gated else g) * (one - p * p)
            d2[i] = g * s * (one - q * q)
            da[i] = slope * dt
            dc[i] = slope


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _solution(heads: Array, elapsed: Array, extra: Array, out: Array, k: int, t: int) -> None:
    for b in range(out.shape[1]):
        for i in range(out.shape[2]):
            f = heads[k, b, i]
            left = math.exp(-elapsed[t, b] * (abs(extra[0, i]) + abs(f)))
            out[t, b, i] = extra[1, i] - extra[1, i] * left * f


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _solution_back(
    heads: Array, elapsed: Array, extra: Array, grad: Array, dheads: Array, dextra: Array, t: int
) -> None:
    one = heads.dtype.type(1)
    for b in range(grad.shape[1]):
        dt = elapsed[t, b]
        for i in range(grad.shape[2]):
            f, g = heads[t, b, i], grad[t, b, i]
            left = math.exp(-dt * (abs(extra[0, i]) + abs(f)))
            pull = g * extra[1, i] * left
            dheads[t, b, i] = -pull * (one - dt * abs(f))
            dextra[0, i] += pull * f * dt * np.sign(extra[0, i])
            dextra[1, i] += g * (one - left * f)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _activate_back(z: Array, dz: Array, t: int) -> None:
    """``dz`` through the function of the hidden layer; its slope from its value."""
    one = z.dtype.type
    row, grad = z[t].reshape(-1), dz[t].reshape(-1)
    for m in range(row.shape[0]):
        y = row[m] / one(1.7159)
        grad[m] *= one(1.7159 * 0.666) * (one(1) - y * y)


def forward_steps(
    z: Tensor, heads: Tensor, elapsed: Tensor, extra: Tensor, out: Tensor, mode: int
) -> tuple[Callable[[int], None], Callable[[int, int], None]]:
    """``activate(k)`` of row ``k`` of ``z``, and ``combine(k, t)``: state ``t`` from row ``k`` of ``heads``.

    Args:
        z: hidden layer ``[T, B, H]`` (or one row of it), contiguous, as all are.
        heads: ``[T, B, K N]`` (or one row).
        elapsed: ``[T, B]``, seconds.
        extra: ``[2, N]`` or empty.
        out: ``[T, B, N]``, written to.
        mode: place in :data:`neuro.kernels.liquid.cfc.MODES`.
    """
    layer, read, dt, constants, made = (a.detach().numpy() for a in (z, heads, elapsed, extra, out))

    def activate(k: int) -> None:
        _activate(layer, k)

    def combine(k: int, t: int) -> None:
        if mode == 2:
            _solution(read, dt, constants, made, k, t)
        else:
            _gates(read, dt, made, mode == 0, k, t)

    return activate, combine


def backward_steps(
    heads: Tensor,
    elapsed: Tensor,
    extra: Tensor,
    grad: Tensor,
    dheads: Tensor,
    dextra: Tensor,
    z: Tensor,
    dz: Tensor,
    mode: int,
) -> tuple[Callable[[int], None], Callable[[int], None]]:
    """For a step t: from ``grad`` to ``dheads`` (and ``dextra``); and ``dz`` through the hidden layer, in place.

    Args:
        heads: as forward left them, ``[T, B, K N]``, contiguous, as all are.
        elapsed: ``[T, B]``, seconds.
        extra: ``[2, N]`` or empty.
        grad: ``[T, B, N]``.
        dheads: ``[T, B, K N]``, written to.
        dextra: like ``extra``, added to.
        z: as forward left it, ``[T, B, H]``.
        dz: ``[T, B, H]``.
        mode: place in :data:`neuro.kernels.liquid.cfc.MODES`.
    """
    given = (heads, elapsed, extra, grad, dheads, dextra, z, dz)
    read, dt, constants, arriving, made, sums, layer, below = (a.detach().numpy() for a in given)

    def through_heads(t: int) -> None:
        if mode == 2:
            _solution_back(read, dt, constants, arriving, made, sums, t)
        else:
            _gates_back(read, dt, arriving, made, mode == 0, t)

    def through_hidden(t: int) -> None:
        _activate_back(layer, below, t)

    return through_heads, through_hidden
