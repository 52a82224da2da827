"""Learnable delays event by event: the taps of a channel's synapses are made when its events are added.

See :mod:`neuro.kernels.delays.delayed_linear` for the equations. What is kept for backward is
the list of events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neuro.kernels.delays.delayed_cuda import cuda_backward, cuda_forward
from neuro.kernels.delays.delayed_dense import input_gradient
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.engines.operators import operator
from neuro.kernels.propagation.spikes import count_entries, list_entries, ranges

__all__ = ["event_product"]

_WIDTH = 512  # bytes of a row of outputs a task owns
_BLOCK = 6 * 2**20  # bytes of a sequence it works on at once

Events = tuple[Tensor, Tensor, Tensor]


@operator("neuro::delay_events")
def _events_op(x: Tensor) -> Events:
    """Events of ``x [T + D - 1, B, I]`` sorted by channel; on a GPU none are listed, its kernels read ``x`` itself."""
    batch, channels = x.shape[1:]
    if x.is_cuda:
        return x.new_empty(0, dtype=torch.int64), x.new_empty(0, dtype=torch.int32), x.new_empty(0)
    from neuro.kernels.delays.delayed_numba import by_channel

    rows = x.detach().reshape(x.shape[0] * batch, channels).contiguous()
    start, index, value = list_entries(rows, count_entries(rows))
    first = torch.zeros(channels * batch + 1, dtype=torch.int64)
    step, graded = torch.empty_like(index), torch.empty_like(value)
    by_channel(start.numpy(), index.numpy(), value.numpy(), batch, first.numpy(), step.numpy(), graded.numpy())
    return first, step, graded


@_events_op.register_fake
def _events_fake(x: Tensor) -> Events:
    events, values = torch.library.get_ctx().new_dynamic_size(), torch.library.get_ctx().new_dynamic_size()
    first = x.new_empty(x.shape[1] * x.shape[2] + 1, dtype=torch.int64)
    return first, x.new_empty(events, dtype=torch.int32), x.new_empty(values)


def _tasks(like: Tensor, taps: int, shape: Sequence[int]) -> tuple[list[tuple[int, int]], int]:
    """Outputs of each task and how many samples it works on at once, by the sizes ``[T, B, O]`` alone."""
    time, batch, outputs = shape
    width = _WIDTH // like.element_size()
    sample = (time + 2 * (taps - 1)) * min(width, max(1, outputs)) * like.element_size()
    blocks = max(1, -(-batch * sample // _BLOCK))
    return ranges(outputs, width), max(1, -(-batch // blocks))


def _columns(a: Tensor) -> Tensor:
    """``[O, I]`` as ``[I, O]``, the synapses of a presynaptic neuron side by side."""
    return a.detach().t().contiguous()


@operator("neuro::delayed_linear")
def _delayed_op(
    x: Tensor, first: Tensor, step: Tensor, value: Tensor, weight: Tensor, delay: Tensor, sigma: float, taps: int
) -> Tensor:
    out = x.new_empty((x.shape[0] - taps + 1, x.shape[1], weight.shape[0]))
    if x.is_cuda:
        return cuda_forward(x.detach().contiguous(), _columns(weight), _columns(delay), sigma, taps)
    from neuro.kernels.delays.delayed_numba import forward

    tensors = (first, step, value, _columns(weight), _columns(delay))
    given: Any = (*(a.numpy() for a in tensors), sigma, taps, out.numpy())
    outputs, block = _tasks(x, taps, out.shape)
    tasks: list[Any] = [(*o, *b) for o in outputs for b in ranges(out.shape[1], block)]
    run_blocks([lambda task=task: forward(*given, *task) for task in tasks])  # type: ignore[misc]
    return out


@_delayed_op.register_fake
def _delayed_fake(
    x: Tensor, first: Tensor, step: Tensor, value: Tensor, weight: Tensor, delay: Tensor, sigma: float, taps: int
) -> Tensor:
    return x.new_empty((x.shape[0] - taps + 1, x.shape[1], weight.shape[0]))


@operator("neuro::delayed_linear_grad_parameters")
def _grad_parameters_op(
    x: Tensor | None,
    first: Tensor,
    step: Tensor,
    value: Tensor,
    weight: Tensor,
    delay: Tensor,
    sigma: float,
    grad: Tensor,
    taps: int,
) -> tuple[Tensor, Tensor]:
    grad = grad.detach().contiguous()
    if x is not None:
        made = cuda_backward(x.detach().contiguous(), _columns(weight), _columns(delay), sigma, grad, taps)
        return made[0].t(), made[1].t()
    from neuro.kernels.delays.delayed_numba import backward

    sums = grad.new_zeros((2, weight.shape[1], weight.shape[0]))
    tensors = (first, step, value, _columns(weight), _columns(delay))
    given: Any = (*(a.numpy() for a in tensors), sigma, grad.numpy(), sums[0].numpy(), sums[1].numpy(), taps)
    outputs, block = _tasks(grad, taps, grad.shape)
    tasks: list[Any] = [(*o, block) for o in outputs]
    run_blocks([lambda task=task: backward(*given, *task) for task in tasks])  # type: ignore[misc]
    return sums[0].t().clone(), sums[1].t().clone()


@_grad_parameters_op.register_fake
def _grad_parameters_fake(
    x: Tensor | None,
    first: Tensor,
    step: Tensor,
    value: Tensor,
    weight: Tensor,
    delay: Tensor,
    sigma: float,
    grad: Tensor,
    taps: int,
) -> tuple[Tensor, Tensor]:
    return weight.new_empty(weight.shape[::-1]).t(), weight.new_empty(weight.shape[::-1]).t()


def _setup_context(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    x, first, step, value, weight, delay, ctx.sigma, ctx.taps = inputs
    # On the CPU the events are all that backward needs.
    ctx.save_for_backward(x if x.is_cuda else None, first, step, value, weight, delay)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, first, step, value, weight, delay = ctx.saved_tensors
    needs = ctx.needs_input_grad
    grad_x = input_gradient(grad, weight, delay, ctx.sigma, ctx.taps) if needs[0] else None
    grad_weight = grad_delay = None
    if needs[4] or needs[5]:
        given = (x, first, step, value, weight, delay, ctx.sigma, grad, ctx.taps)
        grad_weight, grad_delay = _grad_parameters_op(*given)
    return grad_x, None, None, None, grad_weight, grad_delay, None, None


_delayed_op.register_autograd(_backward, setup_context=_setup_context)


def event_product(x: Tensor, weight: Tensor, delay: Tensor, sigma: float, taps: int) -> Tensor:
    """``x [T + D - 1, B, I]`` -> ``[T, B, O]`` for weight and delay (in steps) ``[O, I]``."""
    made: Tensor = _delayed_op(x, *_events_op(x.detach()), weight, delay, sigma, taps)
    return made
