"""Compile and run the recurrent scan's Numba kernels; see :mod:`neuro.kernels.scans.recurrent`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from neuro.kernels.compiler.program import Program, derive_backward, saved_states
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.engines.numba_backend import _module, run_blocks
from neuro.kernels.scans.recurrent_source import GROUP, recurrent_backward_source, recurrent_forward_source

__all__ = ["backward", "forward", "weight_gradient"]

_ROWS = 32  # rows of the batch a task runs: enough to use each weight row it reads several times
_EVENT_ROWS = 1024  # rows of the output a task lists the events of
_COLUMNS = (
    512  # columns of the weight gradient a task owns: long rows, and a table that stays in the second-level cache
)
Array = np.ndarray[Any, Any]
Kernel = Callable[..., None]


@lru_cache(maxsize=256)
def _forward_kernel(program: Program, dtype: str, saved: tuple[int, ...], keep_current: bool) -> Kernel:
    kernel: Kernel = _module(recurrent_forward_source(program, dtype, saved, keep_current)).kernel
    return kernel


@lru_cache(maxsize=256)
def _backward_kernel(
    program: Program, route: Route, learned: tuple[int, ...], dtype: str, family: str, feedback: bool
) -> Kernel:
    made = derive_backward(program, route, learned)
    source = recurrent_backward_source(program, made, dtype, saved_states(program, made), family, feedback)
    kernel: Kernel = _module(source).kernel
    return kernel


def _ranges(size: int, step: int) -> list[tuple[int, int]]:
    return [(a, min(size, a + step)) for a in range(0, size, step)]


def _run(kernel: Kernel, arguments: tuple[Any, ...], ranges: list[tuple[int, int]]) -> None:
    run_blocks([lambda r=r: kernel(*arguments, *r) for r in ranges])  # type: ignore[misc]


def _array(tensor: Tensor) -> Array:
    return tensor.detach().contiguous().numpy()


def forward(
    program: Program,
    x: Tensor,
    state: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    before: Tensor,
    saved: tuple[int, ...],
    keep_current: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run the whole sequence.

    Args:
        x: input current ``[T, B, N]``.
        state: ``[S, B, N]``; not written to.
        coefficients: ``[K, N]``.
        weight: ``[N, N]`` (post, pre).
        before: output of the step before the first one, ``[B, N]``.
        saved: indices of the states to keep for backward.
        keep_current: whether to keep the whole input current too.

    Returns:
        Output ``[T, B, N]``, final state ``[S, B, N]``, saved states ``[len(saved), T, B, N]``,
        whole current ``[T, B, N]`` (or ``[0, B, N]``).
    """
    time, batch, neurons = x.shape
    output = torch.empty_like(x, memory_format=torch.contiguous_format)
    final = state.detach().clone(memory_format=torch.contiguous_format)
    trace = x.new_empty((len(saved), time, batch, neurons))
    current = x.new_empty((time if keep_current else 0, batch, neurons))
    kernel = _forward_kernel(program, str(output.numpy().dtype), saved, keep_current)
    given = (_array(x), _array(before), final.numpy(), _array(coefficients), _array(weight.t()))
    _run(kernel, (*given, output.numpy(), trace.numpy(), current.numpy()), _ranges(batch, _ROWS))
    return output, final, trace, current


def backward(
    program: Program,
    route: Route,
    learned: tuple[int, ...],
    surrogate: Surrogate,
    grad_output: Tensor,
    grad_state: Tensor,
    state: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    trace: Tensor,
    current: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The adjoint of :func:`forward`, but for the weight's own gradient.

    Args:
        grad_output: ``[T, B, N]``.
        grad_state: gradient of the final state, ``[S, B, N]``.
        state, coefficients, weight: as given to the forward pass.
        trace, current: what it saved.

    Returns:
        Gradients of the input current ``[T, B, N]``, of the first state ``[S, B, N]``, of the
        ``learned`` coefficients ``[len(learned), N]`` and of the output before the first step
        ``[B, N]``.
    """
    _, batch, neurons = grad_output.shape
    upstream = _array(grad_output)
    kernel = _backward_kernel(program, route, learned, str(upstream.dtype), surrogate.family, not route.cut_recurrence)
    adjoint = grad_state.detach().clone(memory_format=torch.contiguous_format)
    grad_x = torch.empty_like(grad_output, memory_format=torch.contiguous_format)
    grad_before = grad_output.new_zeros((batch, neurons))
    padded = np.zeros((-(-neurons // GROUP) * GROUP, neurons), upstream.dtype)
    padded[:neurons] = _array(weight)
    blocks = _ranges(batch, _ROWS)
    sums = np.zeros((len(blocks), len(learned), neurons), upstream.dtype)
    given = (upstream, adjoint.numpy(), _array(state), _array(coefficients), _array(trace), _array(current), padded)
    made = (grad_x.numpy(), grad_before.numpy())
    real = upstream.dtype.type
    shape = (real(1.0 / surrogate.width), real(surrogate.peak))
    run_blocks([lambda k=k, r=r: kernel(*given, *made, sums[k], *shape, *r) for k, r in enumerate(blocks)])  # type: ignore[misc]
    # One block after the other: a fixed order of summation whatever the number of threads.
    return grad_x, adjoint, torch.from_numpy(sums.sum(0)), grad_before


def weight_gradient(output: Tensor, before: Tensor, grad_x: Tensor) -> Tensor:
    """Sum over time and batch of the current's gradient times the presynaptic output one step earlier.

    Args:
        output: output of the forward pass ``[T, B, N]``.
        before: output of the step before the first one, ``[B, N]``.
        grad_x: gradient of the current, ``[T, B, N]``.

    Returns:
        ``[N, N]`` (post, pre), stored column by column.
    """
    neurons = grad_x.shape[2]
    # A narrow table is made twice, each from half of the rows, so that two threads have work.
    tables = grad_x.new_zeros((2 if neurons <= _COLUMNS else 1, neurons, neurons))
    if grad_x.shape[0]:
        _scatter(before, grad_x[0], tables[:1])
        _scatter(output[:-1].flatten(0, 1), grad_x[1:].flatten(0, 1), tables)
    return tables.sum(0).t()


def _scatter(rows: Tensor, grad: Tensor, tables: Tensor) -> None:
    """``table[i] += rows[r, i] * grad[r]`` over the entries that are not zero, an equal part of the rows to each table."""
    x, arrays = _array(rows), tables.numpy()
    start = np.zeros(x.shape[0] + 1, np.int64)
    _run(_count, (x, start), _ranges(x.shape[0], _EVENT_ROWS))
    np.cumsum(start, out=start)
    index = np.empty(int(start[-1]), np.int32)
    _run(_list, (x, start, index), _ranges(x.shape[0], _EVENT_ROWS))
    parts = _ranges(x.shape[0], -(-x.shape[0] // len(arrays)) or 1)
    tasks = [(arrays[k], *r, *o) for k, r in enumerate(parts) for o in _ranges(x.shape[1], _COLUMNS)]
    given = (x, start, index, _array(grad))
    run_blocks([lambda task=task: _accumulate(*given, *task) for task in tasks])  # type: ignore[misc]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _count(rows: Array, start: Array, r0: int, r1: int) -> None:
    """Entries of each row that are not zero, into ``start[r + 1]``."""
    for r in range(r0, r1):
        row = rows[r]
        events = np.int32(0)
        for i in range(row.shape[0]):
            events += np.int32(row[i] != 0)
        start[r + 1] = events


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _list(rows: Array, start: Array, index: Array, r0: int, r1: int) -> None:
    """Columns of the entries that are not zero, row by row."""
    for r in range(r0, r1):
        row = rows[r]
        k, end = start[r], start[r + 1]
        i = 0
        while k < end:
            # Most groups of eight hold no spike: one test passes over them.
            if i + 8 <= row.shape[0]:
                first = (row[i] != 0) | (row[i + 1] != 0) | (row[i + 2] != 0) | (row[i + 3] != 0)
                last = (row[i + 4] != 0) | (row[i + 5] != 0) | (row[i + 6] != 0) | (row[i + 7] != 0)
                if not (first | last):
                    i += 8
                    continue
            for j in range(i, min(i + 8, row.shape[0])):
                if row[j] != 0:
                    index[k] = j
                    k += 1
            i += 8


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _accumulate(
    rows: Array, start: Array, index: Array, grad: Array, table: Array, r0: int, r1: int, o0: int, o1: int
) -> None:
    """The outer products of :func:`_scatter`, for rows ``r0:r1`` and columns ``o0:o1`` of ``table``."""
    for r in range(r0, r1):
        source = grad[r][o0:o1]
        for k in range(start[r], start[r + 1]):
            target = table[index[k]][o0:o1]
            a = rows[r, index[k]]
            for o in range(source.shape[0]):
                target[o] += a * source[o]
