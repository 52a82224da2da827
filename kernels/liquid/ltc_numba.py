"""Numba loops of liquid time-constant cells; see :mod:`neuro.kernels.liquid.ltc`.

``LANES`` samples are carried side by side, in the innermost loops. Lanes without a sample have ``h = 0`` and
a state of zero: they stay there and add nothing to any gradient. The two sums of a neuron, over ``w s E`` and over
``w s``, lie in one row of ``2 LANES``: the fewer arrays a loop has, the fewer overlaps it must rule out. ``given`` is ``(x, first, elapsed, neuron,
synapses, sensory, reach, pre, sensory_reach, sensory_pre)`` as :func:`neuro.kernels.liquid.ltc.ltc_scan` has them.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from neuro.kernels.engines.logistic_numba import LANES, add_lanes, fused, logistic
from neuro.kernels.engines.numba_backend import run_blocks

__all__ = ["backward", "forward"]

Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _load(rows: Array, lanes: Array, b0: int) -> None:
    """Samples ``b0:`` of ``rows [B, N]`` as ``lanes [N, LANES]``."""
    for b in range(b0, min(b0 + LANES, rows.shape[0])):
        for i in range(rows.shape[1]):
            lanes[i, b - b0] = rows[b, i]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _store(lanes: Array, rows: Array, b0: int) -> None:
    for b in range(b0, min(b0 + LANES, rows.shape[0])):
        for i in range(rows.shape[1]):
            rows[b, i] = lanes[i, b - b0]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _gather(u: Array, values: Array, pre: Array, s0: int, s1: int, sums: Array) -> None:
    """Add ``w s(sigma (u - mu)) E`` and ``w s(sigma (u - mu))`` of synapses ``s0:s1`` to the lanes of one neuron."""
    for s in range(s0, s1):
        row, mu, sigma, w = u[pre[s]], values[0, s], values[1, s], values[2, s]
        e = w * values[3, s]
        for b in range(LANES):
            open_ = logistic(sigma * (row[b] - mu))
            sums[b] = fused(e, open_, sums[b])
            sums[LANES + b] = fused(w, open_, sums[LANES + b])


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _spread(
    u: Array, values: Array, pre: Array, s0: int, s1: int, force: Array, du: Array, sums: Array, buf: Array
) -> None:
    """The adjoint of :func:`_gather`: from that of its sums (``force``) to ``du``, and the sums for each synapse.

    With ``f = E force[:LANES] + force[LANES:]`` these are, over all lanes, of ``w f s (1 - s)``, of that times ``u - mu``, of ``f s``
    and of ``force[:LANES] s``: up to factors of the synapse the gradients of mu, sigma, w and E.
    """
    for s in range(s0, s1):
        row, out = u[pre[s]], du[pre[s]]
        mu, sigma, w, e = values[0, s], values[1, s], values[2, s], values[3, s]
        for b in range(LANES):
            away = row[b] - mu
            open_ = logistic(sigma * away)
            pulled = fused(e, force[b], force[LANES + b]) * open_
            slope = w * (pulled - pulled * open_)
            out[b] = fused(sigma, slope, out[b])
            buf[b] = slope
            buf[LANES + b] = slope * away
            buf[2 * LANES + b] = pulled
            buf[3 * LANES + b] = force[b] * open_
        add_lanes(buf, sums[s])


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _drive(u: Array, given: Any, drive: Array) -> None:
    """What does not change between unfolds: the leak and the sensory synapses."""
    neuron, sensory, reach, pre = given[3], given[5], given[8], given[9]
    for i in range(drive.shape[0]):
        drive[i, :LANES] = neuron[1, i] * neuron[2, i]
        drive[i, LANES:] = neuron[1, i]
        _gather(u, sensory, pre, reach[i], reach[i + 1], drive[i])


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _unfold(v: Array, after: Array, given: Any, h: Array, drive: Array, work: Array, den: Array) -> None:
    """One semi-implicit step ``v -> after``; its denominators to ``den``."""
    neuron, synapses, reach, pre = given[3], given[4], given[6], given[7]
    for i in range(v.shape[0]):
        work[:] = drive[i]
        _gather(v, synapses, pre, reach[i], reach[i + 1], work)
        c = neuron[0, i]
        for b in range(LANES):
            below = c + h[b] * work[LANES + b]
            den[i, b] = below
            after[i, b] = (c * v[i, b] + h[b] * work[b]) / below


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _begin(given: Any, t: int, b0: int, unfolds: int, u: Array, h: Array, drive: Array) -> None:
    """Inputs, elapsed time and drive of step ``t``."""
    x, elapsed = given[0], given[2]
    _load(x[t], u, b0)
    for b in range(b0, min(b0 + LANES, x.shape[1])):
        h[b - b0] = elapsed[t, b] / elapsed.dtype.type(unfolds)
    _drive(u, given, drive)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _forward(given: Any, unfolds: int, out: Array, b0: int) -> None:
    """Samples ``b0 : b0 + LANES``; ``out [T, B, N]``."""
    x, first = given[0], given[1]
    neurons = first.shape[1]
    states = np.zeros((2, neurons, LANES), x.dtype)
    u = np.zeros((x.shape[2], LANES), x.dtype)
    drive, den = np.zeros((neurons, 2 * LANES), x.dtype), np.zeros((neurons, LANES), x.dtype)
    h, work = np.zeros(LANES, x.dtype), np.zeros(2 * LANES, x.dtype)
    _load(first, states[0], b0)
    now = 0
    for t in range(x.shape[0]):
        _begin(given, t, b0, unfolds, u, h, drive)
        for _ in range(unfolds):
            _unfold(states[now], states[1 - now], given, h, drive, work, den)
            now = 1 - now
        _store(states[now], out[t], b0)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _unfold_back(
    v: Array, after: Array, den: Array, given: Any, h: Array, adjoint: Array, before: Array, forces: Array, work: Array
) -> None:
    """From the adjoint of ``after`` to what ``v`` gets directly (``before``) and to those of the sums (``forces``)."""
    neuron = given[3]
    for i in range(v.shape[0]):
        c, leak, rest = neuron[0, i], neuron[1, i], neuron[2, i]
        for b in range(LANES):
            q = adjoint[i, b] / den[i, b]
            pull = h[b] * q
            before[i, b] = q * c
            forces[i, b] = pull
            forces[i, LANES + b] = -pull * after[i, b]
            work[0, i, b] += q * (v[i, b] - after[i, b])
            work[1, i, b] += pull * (rest - after[i, b])
            work[2, i, b] += pull * leak


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _step_back(
    given: Any, unfolds: int, h: Array, states: Array, dens: Array, adjoint: Array, total: Array, sums: Any, buf: Array
) -> None:
    """All unfolds of one step backwards; ``adjoint`` is replaced, the forces of the drive add up in ``total``."""
    synapses, reach, pre = given[4], given[6], given[7]
    neurons = adjoint.shape[0]
    before = np.zeros_like(adjoint)
    forces = np.zeros_like(total)
    for k in range(unfolds - 1, -1, -1):
        v = states[k]
        _unfold_back(v, states[k + 1], dens[k], given, h, adjoint, before, forces, sums[0])
        for i in range(neurons):
            _spread(v, synapses, pre, reach[i], reach[i + 1], forces[i], before, sums[1], buf)
        adjoint[:] = before
        total += forces


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _backward(given: Any, unfolds: int, out: Array, grad: Array, grads: Any, sums: Any, b0: int) -> None:
    """Samples ``b0 : b0 + LANES``: the unfolds of a step are made again from the state before it.

    Args:
        given: the tuple described above.
        unfolds: of each step.
        out: as forward made it, ``[T, B, N]``.
        grad: its gradient.
        grads: gradients of ``x [T, B, I]`` and ``first [B, N]``, written to.
        sums: of ``neuron [3, N, LANES]``, ``synapses [S, 4]``, ``sensory [R, 4]``, added to.
        b0: the first sample.
    """
    x, first, sensory, reach, pre = given[0], given[1], given[5], given[8], given[9]
    neurons = first.shape[1]
    u, du = np.zeros((x.shape[2], LANES), x.dtype), np.zeros((x.shape[2], LANES), x.dtype)
    h, buf, work = np.zeros(LANES, x.dtype), np.zeros(4 * LANES, x.dtype), np.zeros(2 * LANES, x.dtype)
    states = np.zeros((unfolds + 1, neurons, LANES), x.dtype)
    dens = np.zeros((unfolds, neurons, LANES), x.dtype)
    drive, total = np.zeros((neurons, 2 * LANES), x.dtype), np.zeros((neurons, 2 * LANES), x.dtype)
    adjoint, arriving = np.zeros((neurons, LANES), x.dtype), np.zeros((neurons, LANES), x.dtype)
    for t in range(x.shape[0] - 1, -1, -1):
        _load(out[t - 1] if t > 0 else first, states[0], b0)
        _load(grad[t], arriving, b0)
        adjoint += arriving
        _begin(given, t, b0, unfolds, u, h, drive)
        for k in range(unfolds):
            _unfold(states[k], states[k + 1], given, h, drive, work, dens[k])
        total[:] = 0
        du[:] = 0
        _step_back(given, unfolds, h, states, dens, adjoint, total, sums, buf)
        for i in range(neurons):
            _spread(u, sensory, pre, reach[i], reach[i + 1], total[i], du, sums[2], buf)
        _store(du, grads[0][t], b0)
    _store(adjoint, grads[1], b0)


def _arrays(tensors: tuple[Tensor, ...]) -> tuple[Array, ...]:
    return tuple(t.detach().contiguous().numpy() for t in tensors)


def forward(given: tuple[Tensor, ...], unfolds: int) -> Tensor:
    """States ``[T, B, N]`` after each step.

    Args:
        given: the ten tensors described above; ``x [T, B, I]``, ``first [B, N]``.
        unfolds: inner steps for each.
    """
    x, first = given[0], given[1]
    out = x.new_empty((*x.shape[:2], first.shape[1]))
    arrays = _arrays(given)
    starts = range(0, x.shape[1], LANES)
    run_blocks([lambda b=b: _forward(arrays, unfolds, out.numpy(), b) for b in starts])  # type: ignore[misc]
    return out


def backward(given: tuple[Tensor, ...], unfolds: int, out: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
    """Gradients of ``x``, ``first``, ``neuron``, ``synapses``, ``sensory``, each shaped like what it is of.

    Args:
        given: as for :func:`forward`.
        unfolds: as there.
        out: what it made, ``[T, B, N]``.
        grad: gradient of that.
    """
    x, first, _, neuron, synapses, sensory = given[:6]
    starts = range(0, x.shape[1], LANES)
    arrays = _arrays(given)
    made, arriving = _arrays((out, grad))
    grads = (torch.zeros_like(x, memory_format=torch.contiguous_format), x.new_zeros(first.shape))
    # Each block of samples has sums of its own, added in an order that no number of threads changes.
    shapes = ((*neuron.shape, LANES), synapses.t().shape, sensory.t().shape)
    sums = [x.new_zeros((len(starts), *shape)) for shape in shapes]

    def block(k: int, b: int) -> None:
        own = tuple(s[k].numpy() for s in sums)
        _backward(arrays, unfolds, made, arriving, tuple(g.numpy() for g in grads), own, b)

    run_blocks([lambda k=k, b=b: block(k, b) for k, b in enumerate(starts)])  # type: ignore[misc]
    return *grads, sums[0].sum((0, 3)), _of_values(sums[1], synapses), _of_values(sums[2], sensory)


def _of_values(sums: Tensor, values: Tensor) -> Tensor:
    """``[4, S]``: gradients of mu, sigma, w, E from the sums of :func:`_spread`, ``[blocks, S, 4]``."""
    mu, sigma, w, e = sums.sum(0).t()
    return torch.stack([-values[1] * mu, sigma, w, values[2] * e])
