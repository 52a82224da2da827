"""Spikes over sparse connections with integer delays, at a cost of spikes times fan-out.

``y[t, b, o] = sum over synapses s from i to o of  w[s] x[t - d[s], b, i]``

Currents that arrive after the last step are not lost: they come back as the state, which the
next call takes, so that a sequence in pieces gives the same bits as the whole. The gradients are
``dL/dx[t, b, i] = sum_s w[s] G[t + d[s], b, o(s)]`` (dense: a silent neuron has one too) and
``dL/dw[s] = sum_{t, b} x[t, b, i(s)] G[t + d[s], b, o(s)]`` (at the cost of the spikes).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.engines.operators import operator
from neuro.kernels.propagation.csr import CSR
from neuro.kernels.propagation.csr_cuda import cuda_grad_input, cuda_grad_weight, cuda_scatter
from neuro.kernels.propagation.spikes import EventList, count_entries, list_entries, ranges

__all__ = ["BACKENDS", "check_state", "propagate", "propagate_reference"]

BACKENDS = ("auto", "reference", "numba", "cuda")
_TASKS = 16  # pieces a job is cut into, by its sizes alone
Rows = tuple[Tensor, Tensor, Tensor]


def propagate_reference(x: Tensor, connections: CSR, weight: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The definition, with a dense matrix for each delay: ``x [T, B, I]`` -> ``[T, B, O]`` and the state."""
    time = x.shape[0]
    matrices = connections.dense_delays(weight)
    arrivals = [*state.unbind(0), *(torch.zeros_like(state[0]) for _ in range(time))]
    for t, d in itertools.product(range(time), range(matrices.shape[0])):
        arrivals[t + d] = arrivals[t + d] + x[t] @ matrices[d]
    stacked = torch.stack(arrivals)
    return stacked[:time], stacked[time:]


@operator("neuro::list_entries")
def _rows(x: Tensor) -> Rows:
    """The entries of ``x [T, B, I]``; on a GPU none are listed, its kernels read ``x`` itself."""
    if x.is_cuda:
        return x.new_empty(0, dtype=torch.int64), x.new_empty(0, dtype=torch.int32), x.new_empty(0)
    flat = x.detach().reshape(x.shape[0] * x.shape[1], x.shape[2]).contiguous()
    return list_entries(flat, count_entries(flat))


@_rows.register_fake
def _rows_fake(x: Tensor) -> Rows:
    events, values = torch.library.get_ctx().new_dynamic_size(), torch.library.get_ctx().new_dynamic_size()
    start = x.new_empty(x.shape[0] * x.shape[1] + 1, dtype=torch.int64)
    return start, x.new_empty(events, dtype=torch.int32), x.new_empty(values)


def _pieces(size: int) -> list[tuple[int, int]]:
    return ranges(size, max(1, -(-size // _TASKS)))


def _scatter(rows: Rows, connections: tuple[Tensor, ...], state: Tensor, time: int) -> Tensor:
    from neuro.kernels.propagation.csr_numba import scatter

    arrivals = torch.cat([state, state.new_zeros((time, *state.shape[1:]))])
    arrays: Any = tuple(a.numpy() for a in (*rows, *connections, arrivals))
    calls: list[Any] = [(*arrays, time, *b) for b in _pieces(state.shape[1])]
    run_blocks([lambda call=call: scatter(*call) for call in calls])  # type: ignore[misc]
    return arrivals


@operator("neuro::propagate")
def _propagate_op(
    x: Tensor | None,
    start: Tensor,
    index: Tensor,
    value: Tensor,
    indptr: Tensor,
    indices: Tensor,
    weight: Tensor,
    delay: Tensor,
    state: Tensor,
    time: int,
) -> Tensor:
    given = (indptr, indices, weight.detach(), delay)
    if x is None or not x.is_cuda:
        return _scatter((start, index, value), given, state.detach(), time)
    arrivals = torch.cat([state.detach(), state.new_zeros((time, *state.shape[1:]))])
    cuda_scatter(x.detach().contiguous(), *given, arrivals)
    return arrivals


@_propagate_op.register_fake
def _propagate_fake(
    x: Tensor | None,
    start: Tensor,
    index: Tensor,
    value: Tensor,
    indptr: Tensor,
    indices: Tensor,
    weight: Tensor,
    delay: Tensor,
    state: Tensor,
    time: int,
) -> Tensor:
    return state.new_empty((state.shape[0] + time, *state.shape[1:]))


@operator("neuro::propagate_grad_input")
def _grad_input_op(grad: Tensor, indptr: Tensor, indices: Tensor, weight: Tensor, delay: Tensor, time: int) -> Tensor:
    grad, weight = grad.detach().contiguous(), weight.detach()
    if grad.is_cuda:
        return cuda_grad_input(grad, indptr, indices, weight, delay, time)
    from neuro.kernels.propagation.csr_numba import grad_input

    out = grad.new_empty((time, grad.shape[1], indptr.shape[0] - 1))
    arrays: Any = tuple(a.numpy() for a in (grad, indptr, indices, weight, delay, out))
    blocks = [(*b, *i) for b in _pieces(out.shape[1]) for i in ranges(out.shape[2], 1024)]
    run_blocks([lambda block=block: grad_input(*arrays, *block) for block in blocks])  # type: ignore[misc]
    return out


@_grad_input_op.register_fake
def _grad_input_fake(grad: Tensor, indptr: Tensor, indices: Tensor, weight: Tensor, delay: Tensor, time: int) -> Tensor:
    return grad.new_empty((time, grad.shape[1], indptr.shape[0] - 1))


@operator("neuro::propagate_grad_weight")
def _grad_weight_op(
    x: Tensor | None,
    start: Tensor,
    index: Tensor,
    value: Tensor,
    grad: Tensor,
    indptr: Tensor,
    indices: Tensor,
    delay: Tensor,
    shared: bool,
    time: int,
) -> Tensor:
    grad = grad.detach().contiguous()
    if x is not None and x.is_cuda:
        pre = torch.repeat_interleave(indptr.diff())
        each = cuda_grad_weight(x.detach().contiguous(), grad, pre, indices, delay)
        return each.sum().reshape(1) if shared else each
    from neuro.kernels.propagation.csr_numba import grad_weight

    blocks = _pieces(indptr.shape[0] - 1)
    out = grad.new_zeros((len(blocks), 1) if shared else (1, indices.shape[0]))
    arrays: Any = tuple(a.numpy() for a in (start, index, value, grad, indptr, indices, delay))
    sums = [out[k if shared else 0].numpy() for k in range(len(blocks))]
    calls: list[Any] = [(*arrays, sums[k], shared, time, *i) for k, i in enumerate(blocks)]
    run_blocks([lambda call=call: grad_weight(*call) for call in calls])  # type: ignore[misc]
    return out.sum(0) if shared else out[0].clone()


@_grad_weight_op.register_fake
def _grad_weight_fake(
    x: Tensor | None,
    start: Tensor,
    index: Tensor,
    value: Tensor,
    grad: Tensor,
    indptr: Tensor,
    indices: Tensor,
    delay: Tensor,
    shared: bool,
    time: int,
) -> Tensor:
    return grad.new_empty(1 if shared else indices.shape[0])


def _setup_context(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    x, start, index, value, indptr, indices, weight, delay, state, ctx.time = inputs
    ctx.slots = state.shape[0]
    ctx.given = x is not None
    dense = x if ctx.given and x.is_cuda else None  # on the CPU the events are all that backward needs
    ctx.save_for_backward(start, index, value, indptr, indices, weight, delay, dense)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    start, index, value, indptr, indices, weight, delay, x = ctx.saved_tensors
    needs = ctx.needs_input_grad
    grad_x = _grad_input_op(grad, indptr, indices, weight, delay, ctx.time) if needs[0] else None
    events = (x, start, index, value)
    shared = weight.shape[0] == 1 and indices.shape[0] != 1
    grad_w = _grad_weight_op(*events, grad, indptr, indices, delay, shared, ctx.time) if needs[6] else None
    return grad_x, None, None, None, None, None, grad_w, None, grad[: ctx.slots] if needs[8] else None, None


_propagate_op.register_autograd(_backward, setup_context=_setup_context)


def propagate(
    x: Tensor | EventList,
    connections: CSR,
    weight: Tensor,
    state: Tensor | None = None,
    *,
    backend: str = "auto",
    finite: bool = False,
) -> tuple[Tensor, Tensor]:
    """Carry spikes over sparse connections: ``y[t, b, o] = sum_s w[s] x[t - d[s], b, i(s)]``.

    Differentiable in ``x`` (if it is a tensor), ``weight`` and ``state``. Sums run over time first
    and presynaptic neurons second, so neither the batch nor the pieces of a sequence nor the
    number of threads changes a bit on the CPU.

    Args:
        x: spikes or graded events ``[T, B, I]``, float32 or float64; or a list of them.
        connections: I to O, with delays of up to D time steps.
        weight: ``[S]``, one for each synapse, or ``[1]`` or ``[]``, one for all.
        state: what is already under way, ``[D + 1, B, O]``: slot d arrives in step d; None is nothing.
        backend: ``"numba"``, ``"cuda"``, ``"reference"``, or ``"auto"``, the one for the input's device.
        finite: the caller has made sure that the weights are; else they are looked through at each call
            (but not in compiled code, which must not wait for values).

    Returns:
        Currents ``[T, B, O]`` and the state after step T, ``[D + 1, B, O]``.

    Raises:
        InputError: shapes, dtypes or devices that do not fit; NaN or infinite weights; unknown or missing backend.

    >>> line = CSR(torch.tensor([0, 1, 2]), torch.tensor([1, 0], dtype=torch.int32), 2, delay=1)
    >>> y, state = propagate(torch.eye(2).view(2, 1, 2), line, torch.tensor([2.0, 3.0]))
    >>> y.tolist(), state[0].tolist()
    ([[[0.0, 0.0]], [[0.0, 2.0]]], [[3.0, 0.0]])
    """
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    _check(x, connections, weight, backend)
    if not (finite or torch.compiler.is_compiling() or bool(torch.isfinite(weight.detach()).all())):
        raise InputError("weight must be finite, got NaN or inf")
    like = x.value if isinstance(x, EventList) else x
    time, batch = x.shape[0], x.shape[1]
    state = check_state(state, (connections.max_delay + 1, batch, connections.post), like)
    if backend == "reference":
        return propagate_reference(x.dense() if isinstance(x, EventList) else x, connections, weight, state)
    dense = None if isinstance(x, EventList) else x
    rows = (x.start, x.index, x.value) if isinstance(x, EventList) else _rows(x.detach())
    delay = connections.delay
    if not isinstance(delay, Tensor):
        delay = torch.full((1,), delay, dtype=torch.int32, device=like.device)
    given = (connections.indptr, connections.indices, weight.reshape(-1).contiguous(), delay.contiguous())
    arrivals: Tensor = _propagate_op(dense, *rows, *given, state.contiguous(), time)
    return arrivals[:time], arrivals[time:].clone()


def _check(x: Tensor | EventList, connections: CSR, weight: Tensor, backend: str) -> None:
    like = x.value if isinstance(x, EventList) else x
    if len(x.shape) != 3 or x.shape[2] != connections.pre:
        raise InputError(f"x must be [T, B, {connections.pre}] to meet the connections, got {list(x.shape)}")
    if like.dtype not in (torch.float32, torch.float64):
        raise InputError(f"x must be float32 or float64, got {like.dtype}")
    if weight.numel() not in (1, connections.synapses) or weight.dim() > 1:
        raise InputError(f"weight must be [{connections.synapses}], [1] or [], got {list(weight.shape)}")
    if weight.dtype != like.dtype:
        raise InputError(f"weight must be {like.dtype} like x, got {weight.dtype}")
    devices = {str(like.device), str(weight.device), str(connections.indices.device)}
    if len(devices) > 1:
        raise InputError(f"x, weight and connections must be on one device, got {', '.join(sorted(devices))}")
    native = {"cpu": "numba", "cuda": "cuda"}.get(like.device.type)
    if backend not in ("auto", "reference", native):
        raise InputError(
            f"backend {backend!r} does not run on {like.device}; use .{'cuda' if backend == 'cuda' else 'cpu'}()"
        )


def check_state(state: Tensor | None, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """``state``, or zeros of ``shape`` ``[D + 1, B, O]`` for None.

    Raises:
        InputError: another shape, dtype or device.
    """
    if state is None:
        return like.new_zeros(shape)
    if tuple(state.shape) != shape or state.dtype != like.dtype or state.device != like.device:
        raise InputError(
            f"state must be {list(shape)} {like.dtype} on {like.device}, "
            f"got {list(state.shape)} {state.dtype} on {state.device}"
        )
    return state
