"""Learnable delays densely: one matrix product for each of the D steps, whose weights are all that exists at a time.

See :mod:`neuro.kernels.delays.delayed_linear` for the equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neuro.kernels.delays.taps import each_tap, mean_delay
from neuro.kernels.engines.operators import operator
from neuro.kernels.propagation.dense import product

__all__ = ["dense_product", "input_gradient"]


@operator("neuro::delayed_linear_grad_input")
def input_gradient(grad: Tensor, weight: Tensor, delay: Tensor, sigma: float, taps: int) -> Tensor:
    """Gradient to the input, ``[T + D - 1, B, I]``, from ``grad [T, B, O]``; weight and delay (in steps) are ``[O, I]``."""
    time, batch, _ = grad.shape
    rows = grad.detach().reshape(time * batch, grad.shape[2]).contiguous()
    out = grad.new_zeros((time + taps - 1, batch, weight.shape[1]))
    for d, tap in enumerate(each_tap(delay, sigma, taps)):
        made = product(rows, (weight.detach() * tap).t())
        out[taps - 1 - d : taps - 1 - d + time] += made.view(time, batch, weight.shape[1])
    return out


@input_gradient.register_fake
def _input_gradient_fake(grad: Tensor, weight: Tensor, delay: Tensor, sigma: float, taps: int) -> Tensor:
    return grad.new_empty((grad.shape[0] + taps - 1, grad.shape[1], weight.shape[1]))


@operator("neuro::delayed_linear_dense")
def _dense_op(x: Tensor, weight: Tensor, delay: Tensor, sigma: float, taps: int) -> Tensor:
    time, x = x.shape[0] - taps + 1, x.detach().contiguous()
    out = x.new_zeros((time * x.shape[1], weight.shape[0]))
    for d, tap in enumerate(each_tap(delay, sigma, taps)):
        out += product(_rows(x, taps - 1 - d, time), weight.detach() * tap)
    return out.view(time, x.shape[1], weight.shape[0])


def _rows(x: Tensor, start: int, time: int) -> Tensor:
    return x[start : start + time].reshape(time * x.shape[1], x.shape[2])


@_dense_op.register_fake
def _dense_fake(x: Tensor, weight: Tensor, delay: Tensor, sigma: float, taps: int) -> Tensor:
    return x.new_empty((x.shape[0] - taps + 1, x.shape[1], weight.shape[0]))


@operator("neuro::delayed_linear_dense_grad_parameters")
def _dense_grad_parameters_op(
    x: Tensor, weight: Tensor, delay: Tensor, sigma: float, grad: Tensor, taps: int
) -> tuple[Tensor, Tensor]:
    time, columns = grad.shape[0], _rows(grad.detach(), 0, grad.shape[0]).t().contiguous()
    x, weight, delay = x.detach().contiguous(), weight.detach(), delay.detach()
    mean, plain, moment = mean_delay(delay, sigma, taps), torch.zeros_like(weight), torch.zeros_like(weight)
    for d, tap in enumerate(each_tap(delay, sigma, taps)):
        share = product(columns, _rows(x, taps - 1 - d, time).t()).mul_(tap)
        plain += share
        moment += share.mul_(d - mean)
    return plain, moment.mul_(weight / sigma**2)


@_dense_grad_parameters_op.register_fake
def _dense_grad_parameters_fake(
    x: Tensor, weight: Tensor, delay: Tensor, sigma: float, grad: Tensor, taps: int
) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(weight), torch.zeros_like(weight)


def _dense_setup_context(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    x, weight, delay, ctx.sigma, ctx.taps = inputs
    ctx.save_for_backward(x, weight, delay)


def _dense_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, delay = ctx.saved_tensors
    needs = ctx.needs_input_grad
    grad_x = input_gradient(grad, weight, delay, ctx.sigma, ctx.taps) if needs[0] else None
    grad_weight = grad_delay = None
    if needs[1] or needs[2]:
        grad_weight, grad_delay = _dense_grad_parameters_op(x, weight, delay, ctx.sigma, grad, ctx.taps)
    return grad_x, grad_weight, grad_delay, None, None


_dense_op.register_autograd(_dense_backward, setup_context=_dense_setup_context)


def dense_product(x: Tensor, weight: Tensor, delay: Tensor, sigma: float, taps: int) -> Tensor:
    """``x [T + D - 1, B, I]`` -> ``[T, B, O]`` for weight and delay (in steps) ``[O, I]``."""
    made: Tensor = _dense_op(x, weight, delay, sigma, taps)
    return made
