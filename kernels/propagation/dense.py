"""Dense matrix products, by the quickest library at hand, keeping spikes as bits for backward.

torch hands a float32 product on the CPU to MKL, which leaves half of a processor that is not
Intel's unused; oneDNN, which torch carries too, does not (2.2 times faster on AMD Zen 5,
``benchmarks/propagation.py``). Both give the same bits for any number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neuro.kernels.engines.operators import operator
from neuro.kernels.propagation.spikes import pack_words, unpack_words

__all__ = ["correlation", "dense_linear", "product"]

_SMALL = 2**22  # multiplications below which the call costs more than the product


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x W^T + b`` for ``x [R, I]`` and ``weight [O, I]``, without a gradient.

    >>> product(torch.ones(1, 2), torch.tensor([[1.0, 2.0]])).tolist()
    [[3.0]]
    """
    if _is_for_onednn(x, weight):
        # What torch.compile emits for a linear layer on the CPU.
        made: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return made
    return F.linear(x, weight, bias)


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() * weight.shape[0] >= _SMALL
        and torch.backends.mkldnn.is_available()
    )


def correlation(grad: Tensor, x: Tensor) -> Tensor:
    """``grad^T x`` for ``grad [R, O]`` and ``x [R, I]``, without a gradient.

    >>> correlation(torch.ones(3, 1), torch.ones(3, 2)).tolist()
    [[3.0, 3.0]]
    """
    # The narrower side is quicker as rows.
    if grad.shape[1] <= x.shape[1]:
        return product(grad.t(), x.t())
    return product(x.t(), grad.t()).t()


@operator("neuro::dense_linear")
def _dense_linear_op(x: Tensor, weight: Tensor, bias: Tensor | None, as_bits: bool) -> tuple[Tensor, Tensor]:
    x = x.detach()
    words = pack_words(x) if as_bits else x.new_empty(0, dtype=torch.uint64)
    return product(x, weight.detach(), None if bias is None else bias.detach()), words


@_dense_linear_op.register_fake
def _dense_linear_fake(x: Tensor, weight: Tensor, bias: Tensor | None, as_bits: bool) -> tuple[Tensor, Tensor]:
    shape = (x.shape[0], -(-x.shape[1] // 64)) if as_bits else (0,)
    return x.new_empty((x.shape[0], weight.shape[0])), x.new_empty(shape, dtype=torch.uint64)


@operator("neuro::dense_linear_weight_grad")
def _weight_grad_op(grad: Tensor, kept: Tensor, inputs: int, as_bits: bool) -> Tensor:
    grad = grad.detach().contiguous()
    return correlation(grad, unpack_words(kept, inputs, grad.dtype) if as_bits else kept.detach())


@_weight_grad_op.register_fake
def _weight_grad_fake(grad: Tensor, kept: Tensor, inputs: int, as_bits: bool) -> Tensor:
    shape = (grad.shape[1], inputs)
    return grad.new_empty(shape) if shape[0] <= shape[1] else grad.new_empty(shape[::-1]).t()


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Sequence[Tensor]) -> None:
    x, weight, bias, ctx.as_bits = inputs
    ctx.inputs, ctx.has_bias = x.shape[1], bias is not None
    ctx.save_for_backward(weight, output[1] if ctx.as_bits else x)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    weight, kept = ctx.saved_tensors
    needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
    grad_weight = _weight_grad_op(grad, kept, ctx.inputs, ctx.as_bits) if needs_weight else None
    grad_x = product(grad.contiguous(), weight.t()) if needs_x else None
    return grad_x, grad_weight, grad.sum(0) if needs_bias else None, None


_dense_linear_op.register_autograd(_backward, setup_context=_setup_context)


def dense_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, spikes: bool = False) -> Tensor:
    """``x W^T + b``, every entry multiplied.

    Args:
        x: ``[..., I]``.
        weight: ``[O, I]``.
        bias: ``[O]``.
        spikes: the caller knows that every entry of ``x`` is 0 or 1; backward then keeps it as bits.

    Returns:
        ``[..., O]``.

    >>> dense_linear(torch.eye(2), torch.tensor([[1.0, 2.0]]), torch.ones(1)).tolist()
    [[2.0], [3.0]]
    """
    if torch.compiler.is_compiling() or not _is_for_onednn(x, weight):
        return F.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        out: Tensor = _dense_linear_op(rows, weight, bias, spikes)[0]
    else:
        out = product(rows, weight, bias)
    return out.view(*x.shape[:-1], weight.shape[0])
