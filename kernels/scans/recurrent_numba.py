"""Compile and run the recurrent scan's Numba kernels; see :mod:`neuro.kernels.scans.recurrent`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuro.kernels.compiler.program import Program, derive_backward, saved_states
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.engines.numba_backend import _module, run_blocks
from neuro.kernels.propagation.dense import product
from neuro.kernels.propagation.event_linear import event_weight_gradient
from neuro.kernels.propagation.spikes import count_entries, list_entries, ranges
from neuro.kernels.scans.recurrent_source import recurrent_backward_source, recurrent_forward_source

__all__ = ["Adjoint", "backward", "forward", "weight_gradient"]

_ROWS = 32  # rows of the batch a task runs: enough to use each weight row it reads several times
_BACKWARD_ROWS = 64  # and backward, where a task is one time step
Array = np.ndarray[Any, Any]
Kernel = Callable[..., None]


@lru_cache(maxsize=256)
def _forward_kernel(
    program: Program, dtype: str, saved: tuple[int, ...], keep_current: bool, shared: tuple[bool, ...]
) -> Kernel:
    kernel: Kernel = _module(recurrent_forward_source(program, dtype, saved, keep_current, shared)).kernel
    return kernel


@lru_cache(maxsize=256)
def _backward_kernel(
    program: Program, route: Route, learned: tuple[int, ...], dtype: str, family: str, shared: tuple[bool, ...]
) -> Kernel:
    made = derive_backward(program, route, learned)
    saved, feedback = saved_states(program, made), not route.cut_recurrence
    source = recurrent_backward_source(program, made, dtype, saved, family, feedback, shared)
    kernel: Kernel = _module(source).kernel
    return kernel


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
    shared: tuple[bool, ...] = (),
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
        shared: which coefficients are the same for all neurons; none, if empty.

    Returns:
        Output ``[T, B, N]``, final state ``[S, B, N]``, saved states ``[len(saved), T, B, N]``,
        whole current ``[T, B, N]`` (or ``[0, B, N]``).
    """
    time, batch, neurons = x.shape
    output = torch.empty_like(x, memory_format=torch.contiguous_format)
    final = state.detach().clone(memory_format=torch.contiguous_format)
    trace = x.new_empty((len(saved), time, batch, neurons))
    current = x.new_empty((time if keep_current else 0, batch, neurons))
    kernel = _forward_kernel(program, str(output.numpy().dtype), saved, keep_current, shared)
    given = (_array(x), _array(before), final.numpy(), _array(coefficients), _array(weight.t()))
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
    weight: Tensor,
    trace: Tensor,
    current: Tensor,
    shared: tuple[bool, ...] = (),
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The adjoint of :func:`forward`, but for the weight's own gradient.

    Args:
        grad_output: ``[T, B, N]``.
        grad_state: gradient of the final state, ``[S, B, N]``.
        state, coefficients, weight: as given to the forward pass.
        trace, current: what it saved.
        shared: as given to the forward pass.

    Returns:
        Gradients of the input current ``[T, B, N]``, of the first state ``[S, B, N]``, of the
        ``learned`` coefficients ``[len(learned), N]`` and of the output before the first step
        ``[B, N]``.
    """
    given = (grad_output, grad_state, state, coefficients, trace, current, shared)
    adjoint = Adjoint(program, route, learned, surrogate, *given)
    time, batch, neurons = grad_output.shape
    up = grad_output.new_zeros((batch, neurons))
    if route.cut_recurrence:
        adjoint.sweep(up, 0, time)
    else:
        transposed = weight.detach().t()
        for t in range(time - 1, -1, -1):
            adjoint.sweep(up, t, t + 1)
            up = product(adjoint.grad_x[t], transposed)
    return adjoint.grad_x, adjoint.state, adjoint.learned(), up


class Adjoint:
    """The cell's adjoint, some steps at a time, the latest first.

    Attributes:
        grad_x: gradients of the input current ``[T, B, N]``, at the steps done so far.
        state: gradient of the state before the earliest of them, ``[S, B, N]``.
    """

    def __init__(
        self,
        program: Program,
        route: Route,
        learned: tuple[int, ...],
        surrogate: Surrogate,
        grad_output: Tensor,
        grad_state: Tensor,
        state: Tensor,
        coefficients: Tensor,
        trace: Tensor,
        current: Tensor,
        shared: tuple[bool, ...] = (),
    ) -> None:
        upstream = _array(grad_output)
        self._kernel = _backward_kernel(program, route, learned, str(upstream.dtype), surrogate.family, shared)
        self.state = grad_state.detach().clone(memory_format=torch.contiguous_format)
        self.grad_x = torch.empty_like(grad_output, memory_format=torch.contiguous_format)
        time, batch, self._neurons = grad_output.shape
        self._rows = rows = _rows(batch, self._neurons, shared)
        self._blocks = ranges(rows[0], 1 if rows[0] < batch else _BACKWARD_ROWS)
        self._sums = np.zeros((len(self._blocks), len(learned), rows[1]), upstream.dtype)
        real = upstream.dtype.type
        self._shape = (real(1.0 / surrogate.width), real(surrogate.peak))
        states = (_array(t).reshape(len(t), *rows) for t in (self.state, state))
        traces = (_array(t).reshape(*t.shape[:-2], *rows) for t in (trace, current, self.grad_x))
        self._given = (*states, _array(coefficients), *traces)
        self._upstream = upstream.reshape(time, *rows)

    def sweep(self, up: Tensor, t0: int, t1: int) -> None:
        """Steps ``t1 - 1`` down to ``t0``; ``up [B, N]`` is what flows back to the output besides ``grad_output``."""
        through = up.numpy().reshape(self._rows)
        calls = [
            (self._upstream, through, *self._given, self._sums[k], *self._shape, t0, t1, *r)
            for k, r in enumerate(self._blocks)
        ]
        run_blocks([lambda call=call: self._kernel(*call) for call in calls])  # type: ignore[misc]

    def learned(self) -> Tensor:
        """Gradients of the learned coefficients, ``[K', N]``, of all steps done."""
        repeats = self._rows[1] // self._neurons if self._neurons else 1
        whole = self._sums.sum(0)
        return torch.from_numpy(whole.reshape(len(whole), repeats, self._neurons).sum(1))


def _rows(batch: int, neurons: int, shared: tuple[bool, ...]) -> tuple[int, int]:
    """``[B, N]`` as the loops see it: where no coefficient tells neurons apart, one long row, or one for each of two."""
    if not shared or not all(shared):
        return batch, neurons
    parts = 2 if batch % 2 == 0 else 1
    return parts, batch * neurons // parts


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
    made = grad_x.new_zeros((neurons, neurons)).t()
    if grad_x.shape[0]:
        made = made + _correlation(before, grad_x[0])
    if grad_x.shape[0] > 1:
        made = made + _correlation(output[:-1].flatten(0, 1), grad_x[1:].flatten(0, 1))
    return made


def _correlation(rows: Tensor, grad: Tensor) -> Tensor:
    """``[N, N]``: the sum over r of ``grad[r]`` times ``rows[r]``, at the cost of the entries that are not zero."""
    rows = rows.detach().contiguous()
    return event_weight_gradient(grad, *list_entries(rows, count_entries(rows)), rows.shape[1])
