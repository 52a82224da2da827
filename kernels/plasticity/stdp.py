"""Spike-timing-dependent plasticity of dense and sparse weights, at a cost of spikes times fan.

A presynaptic spike changes the synapses that leave its neuron, a postsynaptic one those that reach it; between
spikes nothing is done but to let the traces, one or two for each neuron, decay.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.engines.operators import operator
from neuro.kernels.plasticity.law import TimingLaw, Traces
from neuro.kernels.plasticity.sides import (
    Side,
    Spikes,
    check,
    chunk_steps,
    limits_of,
    listed,
    make_side,
    numbers,
    row_blocks,
)
from neuro.kernels.plasticity.stdp_cuda import cuda_change
from neuro.kernels.propagation.csr import CSR
from neuro.kernels.propagation.spikes import EventList

__all__ = ["by_target", "reference_step", "stdp", "stdp_reference"]

Pair = tuple[Tensor, Tensor]


def reference_step(
    x: Tensor, z: Tensor, law: TimingLaw, traces: Traces, connections: CSR | None
) -> tuple[Tensor, Tensor, Traces]:
    """The definition of one step: what moves each synapse up and down in each sample, and the traces after it.

    Args:
        x: ``[B, I]``.
        z: ``[B, O]``.
        traces: ``[P, B, I]`` and ``[P, B, O]``.

    Returns:
        ``[B, O, I]`` (``[B, S]`` with connections), twice, and the traces.
    """
    r = traces.pre * traces.pre.new_tensor(law.pre_decay()).view(-1, 1, 1)
    o = traces.post * traces.post.new_tensor(law.post_decay()).view(-1, 1, 1)
    size_pre, size_post = x * (law.a2_minus + law.a3_minus * r[-1]), z * (law.a2_plus + law.a3_plus * o[-1])
    if connections is None:
        up, down = size_post[:, :, None] * r[0][:, None, :], o[0][:, :, None] * size_pre[:, None, :]
    else:
        i, j = connections.indices.long(), connections.rows()
        up, down = size_post[:, i] * r[0][:, j], o[0][:, i] * size_pre[:, j]
    pre = r * (1 - x) + x if law.nearest_pre else r + x
    post = o * (1 - z) + z if law.nearest_post else o + z
    return up, down, Traces(pre, post)


def stdp_reference(
    weight: Tensor, x: Tensor, z: Tensor, law: TimingLaw, traces: Traces, connections: CSR | None = None
) -> tuple[Tensor, Traces]:
    """The definition: ``weight [O, I]`` (or ``[S]``), ``x [T, B, I]``, ``z [T, B, O]``, step by step."""
    for t in range(x.shape[0]):
        up, down, traces = reference_step(x[t], z[t], law, traces, connections)
        weight = law.moved(weight, up.sum(0), down.sum(0))
    return weight, traces


def _dense(weight: Tensor, pre: Side, post: Side, limits: Tensor, time: int) -> None:
    """Change ``weight [O, I]``, which lies in memory row by row or column by column, in place."""
    rows_are_post = weight.is_contiguous()
    matrix, row, column = (weight, post, pre) if rows_are_post else (weight.t(), pre, post)
    sign = 1 if rows_are_post else -1
    chunks = chunk_steps(time, pre.state.shape[1], sum(weight.shape))
    rooms = [side.buffers(chunks[0][1] if chunks else 0) for side in (row, column)]
    for first, last in chunks:
        traces = [side.carry(room, first, last) for side, room in zip((row, column), rooms, strict=True)]
        if weight.is_cuda:
            cuda_change(matrix, None, traces[0], traces[1], limits, sign)
        else:
            _dense_chunk(matrix, traces, column, limits, sign, first)


def _dense_chunk(matrix: Tensor, traces: list[Pair], column: Side, limits: Tensor, sign: int, first: int) -> None:
    from neuro.kernels.plasticity.stdp_numba import dense_bounded, dense_free

    own, other = (tuple(a.numpy() for a in pair) for pair in traces)
    given: Any = (matrix.numpy(), own, other, column.start.numpy(), column.index.numpy(), sign, first)
    blocks = row_blocks(matrix.shape[0])
    if bool(torch.isinf(limits[:2]).all()):
        run_blocks([lambda block=block: dense_free(*given, *block) for block in blocks])  # type: ignore[misc]
        return
    bounds = limits.numpy()
    calls: list[Any] = [(*given, *block, bounds) for block in blocks]
    run_blocks([lambda call=call: dense_bounded(*call) for call in calls])  # type: ignore[misc]


def by_target(indptr: Tensor, indices: Tensor, post: int) -> list[Any]:
    """For each block of rows, its synapses in the order of their targets: (block, arrays of the loops)."""
    from neuro.kernels.plasticity.stdp_numba import transpose

    blocks, bounds = row_blocks(indptr.shape[0] - 1), indptr.numpy()
    begin = np.zeros((len(blocks), post + 1), np.int64)
    order, source = np.empty(len(indices), np.int64), np.empty(len(indices), np.int32)
    made: list[Any] = []
    for own, (j0, j1) in zip(begin, blocks, strict=True):
        part = slice(bounds[j0], bounds[j1])
        made.append(((j0, j1), (bounds, indices.numpy(), own, order[part], source[part])))
    run_blocks([lambda arrays=arrays, block=block: transpose(*arrays, *block) for block, arrays in made])  # type: ignore[misc]
    return made


def _sparse(weight: Tensor, pre: Side, post: Side, csr: Pair, limits: Tensor, time: int) -> None:
    """Change ``weight [S]`` in place."""
    neurons = pre.state.shape[2] + post.state.shape[2]
    chunks = chunk_steps(time, pre.state.shape[1], neurons)
    rooms = [side.buffers(chunks[0][1] if chunks else 0) for side in (pre, post)]
    if weight.is_cuda:
        places = (torch.repeat_interleave(csr[0].diff()).int(), csr[1])
    else:
        blocks, scratch = by_target(*csr, post.state.shape[2]), weight.new_zeros((2, *weight.shape))
    for first, last in chunks:
        traces = [side.carry(room, first, last) for side, room in zip((pre, post), rooms, strict=True)]
        if weight.is_cuda:
            cuda_change(weight, places, traces[0], traces[1], limits, -1)
        else:
            _sparse_chunk(weight, traces, (pre, post), blocks, limits, (scratch[0], scratch[1]), first)


def _sparse_chunk(
    weight: Tensor,
    traces: list[Pair],
    sides: tuple[Side, Side],
    blocks: list[Any],
    limits: Tensor,
    scratch: Pair,
    first: int,
) -> None:
    from neuro.kernels.plasticity.stdp_numba import run_rows

    neurons: Any = tuple(tuple(a.numpy() for a in pair) for pair in traces)
    events: Any = tuple((side.start.numpy(), side.index.numpy()) for side in sides)
    change: Any = tuple(a.numpy() for a in scratch)
    rest: Any = (not bool(torch.isinf(limits[:2]).all()), limits.numpy(), first)
    array = weight.numpy()
    calls: list[Any] = [(array, change, synapses, *neurons, *events, *rest, *block) for block, synapses in blocks]
    run_blocks([lambda call=call: run_rows(*call) for call in calls])  # type: ignore[misc]


@operator("neuro::stdp")
def _stdp_op(
    weight: Tensor,
    x: Tensor | None,
    pre_start: Tensor,
    pre_index: Tensor,
    z: Tensor | None,
    post_start: Tensor,
    post_index: Tensor,
    indptr: Tensor,
    indices: Tensor,
    pre: Tensor,
    post: Tensor,
    law: list[float],
    nearest_pre: bool,
    nearest_post: bool,
    time: int,
) -> tuple[Tensor, Tensor, Tensor]:
    before = make_side((x, pre_start, pre_index), pre, law, nearest_pre, post=False)
    after = make_side((z, post_start, post_index), post, law, nearest_post, post=True)
    changed = weight.detach().clone()
    limits = limits_of(law, weight)
    if weight.dim() == 2:
        _dense(changed, before, after, limits, time)
    else:
        _sparse(changed, before, after, (indptr, indices), limits, time)
    return changed, before.state, after.state


@_stdp_op.register_fake
def _stdp_fake(
    weight: Tensor,
    x: Tensor | None,
    pre_start: Tensor,
    pre_index: Tensor,
    z: Tensor | None,
    post_start: Tensor,
    post_index: Tensor,
    indptr: Tensor,
    indices: Tensor,
    pre: Tensor,
    post: Tensor,
    law: list[float],
    nearest_pre: bool,
    nearest_post: bool,
    time: int,
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(weight), pre.new_empty(pre.shape), post.new_empty(post.shape)


def stdp(
    weight: Tensor,
    x: Spikes,
    z: Spikes,
    law: TimingLaw,
    traces: Traces | None = None,
    *,
    connections: CSR | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Traces]:
    """The weights after a sequence of pre- and postsynaptic spikes, by :class:`TimingLaw`.

    Each step adds up the changes of all samples; divide ``a2_*`` and ``a3_*`` by B for their mean. Without bounds,
    ``weight`` of zeros gives the sum over pairs itself. Neither the pieces of a sequence nor the number of threads
    changes a bit on the CPU. No gradient passes.

    Args:
        weight: ``[O, I]`` (as in :class:`neuro.Linear`; either order in memory), or ``[S]`` with connections.
        x: presynaptic spikes ``[T, B, I]``, 0 or 1, or a list of them.
        z: postsynaptic spikes ``[T, B, O]``, the same.
        law: windows, triplets, bounds; its ``dt`` is that of a step.
        traces: those returned for the steps before; None is no past.
        connections: I to O, without delays.
        backend: ``"numba"``, ``"cuda"``, ``"reference"``, or ``"auto"``, the one for the weight's device.

    Returns:
        The weights, in the order of memory they came in, and the traces after step T.

    Raises:
        InputError: shapes, dtypes or devices that do not fit; weights out of their bounds; an entry that is no spike.

    >>> x, z = torch.zeros(3, 1, 1), torch.zeros(3, 1, 1)
    >>> x[0], z[2] = 1, 1
    >>> weight, traces = stdp(torch.zeros(1, 1), x, z, TimingLaw(a2_plus=1.0, tau_plus=2e-3))
    >>> round(weight.item(), 6), traces.post.item()  # exp(-2 ms / 2 ms), and the trace of a spike just now
    (0.367879, 1.0)
    """
    traces = check(weight, x, z, law, traces, connections, backend)
    if backend == "reference":
        raster = [a.dense() if isinstance(a, EventList) else a.detach() for a in (x, z)]
        with torch.no_grad():
            return stdp_reference(weight.detach(), raster[0], raster[1], law, traces, connections)
    none = torch.empty(0, dtype=torch.int64, device=weight.device)
    csr = (connections.indptr, connections.indices) if connections else (none, none.int())
    given = (*listed(x, "x"), *listed(z, "z"), *csr, traces.pre.detach(), traces.post.detach(), numbers(law))
    out, *after = _stdp_op(weight.detach(), *given, law.nearest_pre, law.nearest_post, x.shape[0])
    return out, Traces(*after)
