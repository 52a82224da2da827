"""Event-driven matrix product: ``y = x W^T + b`` at a cost that follows the spikes.

Where ``x`` is mostly zero, only the rows of ``W^T`` of the entries that are not are read
(forward), and only those rows of the gradient are written (backward); what is kept for backward
is the list of entries, not ``x``. Each output row is a sum in a fixed order that depends on
that row alone, so results do not change with the batch, the chunking of time or the threads.
The weight is best stored column by column (``W^T`` contiguous), as :class:`neuro.Linear` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.engines.operators import operator
from neuro.kernels.propagation.dense import dense_linear, product
from neuro.kernels.propagation.spikes import count_entries, list_entries, ranges

__all__ = ["MODES", "event_linear", "event_weight_gradient"]

MODES = ("auto", "event", "dense")
_DENSITY = 0.2  # share of non-zero entries up to which events pay where the weight fits the cache
_LARGE = 2**20  # entries of a weight that does not: a dense product waits for memory, the more the fewer the rows
_SMALL = 2**20  # multiplications of a dense product that is done before the events are found
_NARROW = 16  # outputs below which a dense product is as quick as finding the events

_ROWS = 256  # rows of x a task handles
_WIDE = 2048  # outputs a task sums: one row of x, too, is work for several threads
_COLUMNS = 128  # columns of the weight gradient that are not worth a task of their own


def _gather(x: Tensor, counts: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from neuro.kernels.propagation.event_linear_numba import gather

    start, index, value = list_entries(x, counts)
    out = x.new_empty((x.shape[0], weight.shape[0]))
    first = x.new_zeros(weight.shape[0]) if bias is None else bias.contiguous()
    arrays = (start.numpy(), index.numpy(), value.numpy(), weight.t().contiguous().numpy(), first.numpy(), out.numpy())
    tasks = [(*r, *o) for r in ranges(out.shape[0], _ROWS) for o in ranges(out.shape[1], _WIDE)]
    run_blocks([lambda task=task: gather(*arrays, *task) for task in tasks])  # type: ignore[misc]
    return out, start, index, value


@operator("neuro::event_linear")
def _event_linear_op(
    x: Tensor, counts: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _gather(x.detach(), counts, weight.detach(), None if bias is None else bias.detach())


@_event_linear_op.register_fake
def _event_linear_fake(
    x: Tensor, counts: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    events = torch.library.get_ctx().new_dynamic_size()
    values = torch.library.get_ctx().new_dynamic_size()
    start = x.new_empty(x.shape[0] + 1, dtype=torch.int64)
    return (
        x.new_empty((x.shape[0], weight.shape[0])),
        start,
        x.new_empty(events, dtype=torch.int32),
        x.new_empty(values),
    )


def event_weight_gradient(grad: Tensor, start: Tensor, index: Tensor, value: Tensor, inputs: int) -> Tensor:
    """``[O, I]``: the sum over rows of ``grad [R, O]`` times the entries listed for that row (``list_entries``)."""
    from neuro.kernels.propagation.event_linear_numba import scatter

    table = grad.new_zeros((inputs, grad.shape[1]))
    arrays = (start.numpy(), index.numpy(), value.numpy(), grad.detach().contiguous().numpy(), table.numpy())
    # Each column is a sum of its own, so the cut into tasks changes no bit.
    tiles = -(-grad.shape[1] // _COLUMNS)
    step = _COLUMNS * max(1, -(-tiles // max(1, torch.get_num_threads())))
    run_blocks([lambda o=o: scatter(*arrays, *o) for o in ranges(grad.shape[1], step)])  # type: ignore[misc]
    return table.t()


_weight_grad_op = operator("neuro::event_linear_weight_grad")(event_weight_gradient)


@_weight_grad_op.register_fake
def _weight_grad_fake(grad: Tensor, start: Tensor, index: Tensor, value: Tensor, inputs: int) -> Tensor:
    return grad.new_empty((inputs, grad.shape[1])).t()


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Sequence[Tensor]) -> None:
    x, _, weight, _ = inputs
    ctx.inputs = x.shape[1]
    ctx.save_for_backward(weight, *output[1:])
    ctx.mark_non_differentiable(*output[1:])


def _backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    weight, start, index, value = ctx.saved_tensors
    needs_x, _, needs_weight, needs_bias = ctx.needs_input_grad
    grad_x = product(grad, weight.t()) if needs_x else None
    grad_weight = _weight_grad_op(grad, start, index, value, ctx.inputs) if needs_weight else None
    return grad_x, None, grad_weight, grad.sum(0) if needs_bias else None


_event_linear_op.register_autograd(_backward, setup_context=_setup_context)


def event_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, mode: str = "auto") -> Tensor:
    """``x W^T + b``, event by event where that is less work.

    Args:
        x: ``[..., I]``, spikes or graded events; float32 or float64.
        weight: ``[O, I]``.
        bias: ``[O]``.
        mode: ``"event"``, ``"dense"``, or ``"auto"``: by the measured share of non-zero entries.

    Returns:
        ``[..., O]``.

    Raises:
        InputError: unknown mode; shapes that do not fit; ``"event"`` off the CPU.

    >>> event_linear(torch.tensor([[0.0, 1.0, 0.0]]), torch.arange(6.0).view(2, 3), mode="event").tolist()
    [[1.0, 4.0]]
    """
    if mode not in MODES:
        raise unknown_name("mode", mode, MODES)
    if x.dim() == 0 or x.shape[-1] != weight.shape[1]:
        raise InputError(f"x must end in {weight.shape[1]} to meet weight {tuple(weight.shape)}, got {tuple(x.shape)}")
    if mode == "event" and x.device.type != "cpu":
        raise InputError(f"mode 'event' runs on the CPU, x is on {x.device}; use mode='dense' or x.cpu()")
    if mode == "dense" or (mode == "auto" and not _worth_a_look(x, weight)):
        return dense_linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    counts = count_entries(rows.detach())
    entries, ones = counts.numpy().sum(1)
    if mode == "auto" and entries > _limit(rows.shape[0], weight) * x.numel():
        return dense_linear(x, weight, bias, spikes=bool(entries == ones))
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        out: Tensor = _event_linear_op(rows, counts, weight, bias)[0]
    else:
        out = _gather(rows, counts, weight, bias)[0]
    return out.view(*x.shape[:-1], weight.shape[0])


def _limit(rows: int, weight: Tensor) -> float:
    """Share of non-zero entries up to which events take less time, as measured (``benchmarks/propagation.py``)."""
    return min(0.95, 0.2 + 0.8 / max(1, rows)) if weight.numel() > _LARGE else _DENSITY


def _worth_a_look(x: Tensor, weight: Tensor) -> bool:
    """Whether events could pay at all, before any is counted."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and weight.shape[0] >= _NARROW
        and x.numel() * weight.shape[0] >= _SMALL
        and not torch.compiler.is_compiling()
    )
