"""Numba loops of modulated plasticity; see :mod:`neuro.kernels.plasticity.modulated`.

Eligibilities are held divided by a ``scale [K]`` that all share and that shrinks from step to step, so that
their decay costs nothing; where it has become small, they are multiplied by ``rebase [K]`` and it starts from 1.
Amplitudes come divided by the scale. ``modulator`` is ``[K, B, O]``; ``active [K]`` says in which steps it is not 0 everywhere.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from neuro.kernels.plasticity.stdp_numba import add_row, collect, within

__all__ = ["modulate_dense", "modulate_sparse"]

Array = np.ndarray[Any, Any]
Pair = tuple[Array, Array]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _clip(value: Any, low: Any, high: Any) -> Any:
    value = max(value, low)
    return min(value, high)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _reward_row(own: Array, held: Array, factor: Array, shared: bool, scale: Any, bounds: Array) -> None:
    """``own[j] += scale * sum_b factor[b, j] held[b, j]`` in bounds; ``factor [B, 1]`` if the row ``shared`` it."""
    low, high = bounds[0], bounds[1]
    for j in range(own.shape[0]):
        total = own.dtype.type(0)
        for b in range(held.shape[0]):
            total += factor[b, 0 if shared else j] * held[b, j]
        own[j] = _clip(own[j] + scale * total, low, high)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def modulate_dense(
    weight: Array,
    eligibility: Array,
    row: Pair,
    column: Pair,
    start: Array,
    index: Array,
    sign: int,
    decay: Pair,
    modulator: Array,
    active: Array,
    bounds: Array,
    first: int,
    r0: int,
    r1: int,
) -> None:
    """Rows ``r0:r1`` of ``weight [R, C]`` and ``eligibility [B, R, C]``; ``decay`` is (scale, rebase)."""
    steps, batch, _ = column[0].shape
    scale, rebase = decay
    for i in range(r0, r1):
        held, done = eligibility[:, i], 0
        for t in range(steps):
            if rebase[t] != 1:
                for b in range(batch):
                    add_row(eligibility[b], row, column, start, index, sign, first, i, (done, t), (b, b + 1))
                    for j in range(held.shape[1]):
                        held[b, j] *= rebase[t]
                done = t
            if active[t] or t == steps - 1:
                for b in range(batch):
                    add_row(eligibility[b], row, column, start, index, sign, first, i, (done, t + 1), (b, b + 1))
                done = t + 1
            if active[t]:
                factor = modulator[t, :, i : i + 1] if sign > 0 else modulator[t]
                _reward_row(weight[i], held, factor, sign > 0, scale[t], bounds)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _reward_rows(
    weight: Array, eligibility: Array, factor: Array, indices: Array, scale: Any, bounds: Array, s0: int, s1: int
) -> None:
    low, high = bounds[0], bounds[1]
    for s in range(s0, s1):
        total = weight.dtype.type(0)
        for b in range(eligibility.shape[0]):
            total += factor[b, indices[s]] * eligibility[b, s]
        weight[s] = _clip(weight[s] + scale * total, low, high)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def modulate_sparse(
    weight: Array,
    eligibility: Array,
    synapses: tuple[Array, Array, Array, Array, Array],
    pre: Pair,
    post: Pair,
    pre_events: Pair,
    post_events: Pair,
    decay: Pair,
    modulator: Array,
    active: Array,
    bounds: Array,
    first: int,
    j0: int,
    j1: int,
) -> None:
    """Synapses of the presynaptic neurons ``j0:j1``: ``weight [S]``, ``eligibility [B, S]``."""
    steps, batch, _ = pre[0].shape
    s0, s1 = synapses[0][j0], synapses[0][j1]
    for t in range(steps):
        for b in range(batch):
            r, held = (first + t) * batch + b, eligibility[b]
            if decay[1][t] != 1:
                for s in range(s0, s1):
                    held[s] *= decay[1][t]
            ins = within(pre_events[1][pre_events[0][r] : pre_events[0][r + 1]], j0, j1)
            outs = post_events[1][post_events[0][r] : post_events[0][r + 1]]
            own, other = (pre[0][t, b], pre[1][t, b]), (post[0][t, b], post[1][t, b])
            collect(held, held, -1, synapses, own, other, ins, outs)
        if active[t]:
            _reward_rows(weight, eligibility, modulator[t], synapses[1], decay[0][t], bounds, s0, s1)
