"""Compile and run the Numba kernels of the recurrent scan with delays; see :mod:`neuro.kernels.scans.recurrent_delayed`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from neuro.kernels.compiler.program import Program
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.engines.numba_backend import _module, run_blocks
from neuro.kernels.propagation.dense import product
from neuro.kernels.propagation.event_linear import event_weight_gradient
from neuro.kernels.propagation.spikes import count_entries, list_entries, ranges
from neuro.kernels.scans.recurrent_delayed_source import delayed_forward_source
from neuro.kernels.scans.recurrent_numba import Adjoint, _array

__all__ = ["backward", "bank_gradient", "forward"]

_ROWS = 8  # rows of the batch a task runs, one after the other


@lru_cache(maxsize=256)
def _forward_kernel(
    program: Program, dtype: str, saved: tuple[int, ...], keep_current: bool, rounded: bool, shared: tuple[bool, ...]
) -> Callable[..., None]:
    source = delayed_forward_source(program, dtype, saved, keep_current, rounded, shared)
    kernel: Callable[..., None] = _module(source).kernel
    return kernel


def forward(
    program: Program,
    x: Tensor,
    state: Tensor,
    coefficients: Tensor,
    table: Tensor,
    steps: Tensor,
    before: Tensor,
    saved: tuple[int, ...],
    keep_current: bool,
    shared: tuple[bool, ...] = (),
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run the whole sequence.

    Args:
        x: input current ``[T, B, N]``.
        state: ``[S, B, N]``; not written to.
        coefficients: ``[K, N]``.
        table: ``[D, N, N]`` (lag - 1, pre, post), or ``[N, N]`` (pre, post) with ``steps``.
        steps: ``[N, N]`` (pre, post) within 1..D, or empty.
        before: outputs of the D steps before, oldest first, ``[D, B, N]``.
        saved, keep_current, shared: as for :func:`neuro.kernels.scans.recurrent_numba.forward`.

    Returns:
        As :func:`neuro.kernels.scans.recurrent_numba.forward`.
    """
    time, batch, neurons = x.shape
    output = torch.empty_like(x, memory_format=torch.contiguous_format)
    final = state.detach().clone(memory_format=torch.contiguous_format)
    trace = x.new_empty((len(saved), time, batch, neurons))
    current = x.new_empty((time if keep_current else 0, batch, neurons))
    kernel = _forward_kernel(program, str(output.numpy().dtype), saved, keep_current, table.dim() == 2, shared)
    given = (_array(x), _array(before), final.numpy(), _array(coefficients), _array(table), _array(steps))
    arrays = (*given, output.numpy(), trace.numpy(), current.numpy())
    run_blocks([lambda r=r: kernel(*arrays, *r) for r in ranges(batch, _ROWS)])  # type: ignore[misc]
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
    bank: Tensor,
    trace: Tensor,
    current: Tensor,
    shared: tuple[bool, ...] = (),
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The adjoint of :func:`forward`, but for the table's own gradient.

    Args:
        grad_output: ``[T, B, N]``.
        bank: ``[D, N, N]`` (lag - 1, pre, post), of whole delays too.
        grad_state, state, coefficients, trace, current, shared: as for :func:`neuro.kernels.scans.recurrent_numba.backward`.

    Returns:
        Gradients of the input current ``[T, B, N]``, of the first state ``[S, B, N]``, of the
        ``learned`` coefficients ``[len(learned), N]`` and of the outputs before, ``[D, B, N]``.
    """
    lags, neurons, _ = bank.shape
    time, batch, _ = grad_output.shape
    whole = torch.cat([grad_output.new_zeros((lags, batch, neurons)), grad_output.detach()])
    fused = replace(route, cut_recurrence=True)  # the steps of the cell alone: what flows back is added to ``whole``
    given = (whole[lags:], grad_state, state, coefficients, trace, current, shared)
    adjoint = Adjoint(program, fused, learned, surrogate, *given)
    none = grad_output.new_zeros((batch, neurons))
    if route.cut_recurrence:
        adjoint.sweep(none, 0, time)
    else:
        stacked = bank.detach().flip(0).reshape(lags * neurons, neurons)
        for t in range(time - 1, -1, -1):
            adjoint.sweep(none, t, t + 1)
            whole[t : t + lags] += product(adjoint.grad_x[t], stacked).view(batch, lags, neurons).transpose(0, 1)
    return adjoint.grad_x, adjoint.state, adjoint.learned(), whole[:lags].clone()


def bank_gradient(output: Tensor, before: Tensor, grad_x: Tensor) -> Tensor:
    """For each lag, the sum over time and batch of the output that long ago times the current's gradient.

    Args:
        output: output of the forward pass ``[T, B, N]``.
        before: outputs of the D steps before, ``[D, B, N]``.
        grad_x: gradient of the current, ``[T, B, N]``.

    Returns:
        ``[D, N, N]`` (lag - 1, pre, post).
    """
    (lags, batch, neurons), time = before.shape, grad_x.shape[0]
    rows = torch.cat([before.detach(), output.detach()]).reshape((lags + time) * batch, neurons)
    start, index, value = list_entries(rows, count_entries(rows))
    grad = grad_x.reshape(time * batch, neurons)
    made = grad_x.new_empty((lags, neurons, neurons))
    for lag in range(1, lags + 1):
        first = (lags - lag) * batch
        own = start[first : first + time * batch + 1]
        made[lag - 1] = event_weight_gradient(grad, own, index, value, neurons).t()
    return made
