"""Event-driven convolution: a cost of spikes times kernel times output channels.

``y[r, o, p, q] = b[o] + sum_{c, i, j} w[o, c, i, j] x[r, c, p s + i - pad, q s + j - pad]`` as in
``torch.nn.functional.conv2d``; where ``x`` is mostly zero, each spike adds the kernel's rows at
the places it reaches, and only those rows of the weight's gradient are written. The gradient of
the input is dense work either way: a silent neuron has one too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input

from neuro.errors import InputError, unknown_name
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.engines.operators import operator
from neuro.kernels.propagation.event_conv_cuda import cuda_conv, cuda_conv_weight_grad
from neuro.kernels.propagation.event_linear import MODES
from neuro.kernels.propagation.spikes import count_entries, list_entries, ranges

__all__ = ["event_conv2d"]

_DENSITY = 0.03  # share of non-zero entries up to which events take less time (benchmarks/convolution.py),
_DEEP = (
    256  # where a dense product adds up so many inputs for each output; below, oneDNN's is quicker than finding them
)
_SMALL = 2**20  # multiplications of a convolution that is done before the events are found
_ROWS = 4  # rows of x a task handles
_PARTS = 8  # partial sums of the weight's gradient: a number that no count of threads changes
Pair = tuple[int, int]


def _listed(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows = x.detach().flatten(1).contiguous()
    return list_entries(rows, count_entries(rows))


def _output_size(x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]) -> tuple[int, int]:
    height, width = ((x.shape[2 + k] + 2 * padding[k] - weight.shape[2 + k]) // stride[k] + 1 for k in range(2))
    return height, width


@operator("neuro::event_conv2d")
def _event_conv_op(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    size = _output_size(x, weight, stride, padding)
    first = x.new_zeros(weight.shape[0]) if bias is None else bias.detach()
    steps = (stride[0], stride[1], padding[0], padding[1])
    if x.is_cuda:
        out = first.view(-1, 1, 1).repeat(x.shape[0], 1, *size)
        cuda_conv(x.detach().contiguous(), weight.detach().contiguous(), out, steps)
        return out, x.new_empty(0, dtype=torch.int64), x.new_empty(0, dtype=torch.int32), x.new_empty(0)
    from neuro.kernels.propagation.event_conv_numba import gather

    start, index, value = _listed(x)
    last = first.repeat(x.shape[0], *size, 1)
    kernel = weight.detach().permute(1, 2, 3, 0).contiguous()
    arrays = (start.numpy(), index.numpy(), value.numpy(), kernel.numpy(), last.numpy())
    shape = (x.shape[2], x.shape[3], *steps)
    run_blocks([lambda r=r: gather(*arrays, shape, *r) for r in ranges(x.shape[0], _ROWS)])  # type: ignore[misc]
    return last.permute(0, 3, 1, 2).contiguous(), start, index, value


@_event_conv_op.register_fake
def _event_conv_fake(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    events, values = torch.library.get_ctx().new_dynamic_size(), torch.library.get_ctx().new_dynamic_size()
    out = x.new_empty((x.shape[0], weight.shape[0], *_output_size(x, weight, stride, padding)))
    start = x.new_empty(x.shape[0] + 1, dtype=torch.int64)
    return out, start, x.new_empty(events, dtype=torch.int32), x.new_empty(values)


@operator("neuro::event_conv2d_weight_grad")
def _weight_grad_op(
    x: Tensor | None,
    start: Tensor,
    index: Tensor,
    value: Tensor,
    grad: Tensor,
    shape: Sequence[int],
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
) -> Tensor:
    outputs, channels, high, wide = shape
    steps = (stride[0], stride[1], padding[0], padding[1])
    if x is not None:
        made = grad.new_empty((outputs, channels, high, wide))
        cuda_conv_weight_grad(x.detach().contiguous(), grad.detach().contiguous(), made, steps)
        return made
    from neuro.kernels.propagation.event_conv_numba import scatter

    rows = grad.shape[0]
    parts = ranges(rows, max(1, -(-rows // _PARTS)))
    sums = grad.new_zeros((max(1, len(parts)), channels, high, wide, outputs))
    last = grad.detach().permute(0, 2, 3, 1).contiguous()
    arrays = (start.numpy(), index.numpy(), value.numpy(), last.numpy())
    place = (size[0], size[1], *steps)
    calls = [(*arrays, sums[k].numpy(), place, *r) for k, r in enumerate(parts)]
    run_blocks([lambda call=call: scatter(*call) for call in calls])  # type: ignore[misc]
    return sums.sum(0).permute(3, 0, 1, 2).contiguous()


@_weight_grad_op.register_fake
def _weight_grad_fake(
    x: Tensor | None,
    start: Tensor,
    index: Tensor,
    value: Tensor,
    grad: Tensor,
    shape: Sequence[int],
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
) -> Tensor:
    return grad.new_empty(tuple(shape))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Sequence[Tensor]) -> None:
    x, weight, _, ctx.stride, ctx.padding = inputs
    ctx.shape = x.shape
    ctx.save_for_backward(weight, *output[1:], x if x.is_cuda else None)
    ctx.mark_non_differentiable(*output[1:])


def _backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    weight, start, index, value, x = ctx.saved_tensors
    needs = ctx.needs_input_grad
    grad_x = grad_weight = None
    if needs[0]:
        grad_x = conv2d_input(ctx.shape, weight, grad, tuple(ctx.stride), tuple(ctx.padding))
    if needs[1]:
        sizes = (list(weight.shape), list(ctx.shape[2:]), list(ctx.stride), list(ctx.padding))
        grad_weight = _weight_grad_op(x, start, index, value, grad, *sizes)
    return grad_x, grad_weight, grad.sum((0, 2, 3)) if needs[2] else None, None, None


_event_conv_op.register_autograd(_backward, setup_context=_setup_context)


def event_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    *,
    mode: str = "auto",
) -> Tensor:
    """Two-dimensional convolution, event by event where that is less work.

    Args:
        x: ``[R, C, H, W]``, spikes or graded events; float32 or float64.
        weight: ``[O, C, kh, kw]``.
        bias: ``[O]``.
        stride, padding: height and width.
        mode: ``"event"``, ``"dense"``, or ``"auto"``: by the measured share of non-zero entries.

    Returns:
        ``[R, O, H', W']``.

    Raises:
        InputError: unknown mode; shapes that do not fit; a stride below 1 or a padding below 0.

    >>> x = torch.zeros(1, 1, 3, 3)
    >>> x[0, 0, 1, 1] = 1.0
    >>> event_conv2d(x, torch.arange(4.0).view(1, 1, 2, 2), mode="event").flatten().tolist()
    [3.0, 2.0, 1.0, 0.0]
    """
    if mode not in MODES:
        raise unknown_name("mode", mode, MODES)
    if x.dim() != 4 or weight.dim() != 4 or x.shape[1] != weight.shape[1]:
        raise InputError(
            f"x must be [R, C, H, W] and weight [O, C, kh, kw], got {list(x.shape)} and {list(weight.shape)}"
        )
    if min(stride) < 1 or min(padding) < 0:
        raise InputError(f"stride must be at least 1 and padding at least 0, got {stride} and {padding}")
    if min(_output_size(x, weight, stride, padding)) < 1:
        raise InputError(f"kernel {list(weight.shape[2:])} is larger than the padded input {list(x.shape[2:])}")
    if mode == "dense" or (mode == "auto" and not _is_sparse(x, weight, stride)):
        return F.conv2d(x, weight, bias, stride, padding)
    made: Tensor = _event_conv_op(x, weight, bias, list(stride), list(padding))[0]
    return made


def _is_sparse(x: Tensor, weight: Tensor, stride: Pair) -> bool:
    """Whether events pay, by counting them, if they could at all."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or torch.compiler.is_compiling():
        return False
    if weight[0].numel() < _DEEP or x.numel() * weight[:, 0].numel() < _SMALL * stride[0] * stride[1]:
        return False
    entries = count_entries(x.detach().flatten(1).contiguous())[0]
    return int(entries.sum()) <= _DENSITY * x.numel()
