"""Neurons without a reset, whose membrane is a weighted sum of the last inputs: no step waits for another.

``h[t] = sum_i w[i] x[t - K + 1 + i] + b``, a spike where ``h > 0``: the sliding parallel spiking
neuron of Fang et al. 2023, "Parallel spiking neurons with high efficiency and ability to learn
long-term dependencies" (NeurIPS). Its state is the last K - 1 inputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.kernels.compiler.reference import slope
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.engines.operators import operator
from neuro.kernels.propagation.spikes import ranges
from neuro.kernels.scans.parallel_cuda import cuda_filter, cuda_filter_backward

__all__ = ["BACKENDS", "filter_reference", "sliding_psn"]

BACKENDS = ("auto", "numba", "cuda", "reference")
_LANES = 4096  # neurons, of all samples, a task runs


def filter_reference(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The definition: ``x [K - 1 + T, M]``, ``weight [K]``, ``bias []`` -> ``[T, M]``."""
    taps = weight.shape[0]
    terms = [w * x[i : x.shape[0] - taps + 1 + i] for i, w in enumerate(weight)]
    return torch.stack(terms).sum(0) + bias


@operator("neuro::causal_filter")
def _filter(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    x, weight, bias = x.detach().contiguous(), weight.detach().contiguous(), bias.detach()
    out = x.new_empty((x.shape[0] - weight.shape[0] + 1, x.shape[1]))
    if x.is_cuda:
        cuda_filter(x, weight, bias, out)
        return out
    from neuro.kernels.scans.parallel_numba import forward

    arrays = (x.numpy(), weight.numpy(), bias.numpy(), out.numpy())
    run_blocks([lambda m=m: forward(*arrays, *m) for m in ranges(x.shape[1], _LANES)])  # type: ignore[misc]
    return out


@_filter.register_fake
def _filter_fake(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty((x.shape[0] - weight.shape[0] + 1, x.shape[1]))


@operator("neuro::causal_filter_backward")
def _filter_backward(grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    grad, x, weight = (t.detach().contiguous() for t in (grad, x, weight))
    grad_x, taps = torch.empty_like(x), weight.shape[0]
    blocks = ranges(x.shape[1], _LANES)
    sums = x.new_zeros((max(1, len(blocks)), taps))
    if x.is_cuda:
        each = x.new_empty((x.shape[1], taps))
        cuda_filter_backward(grad, x, weight, grad_x, each)
        return grad_x, each.sum(0)
    from neuro.kernels.scans.parallel_numba import backward

    arrays = (grad.numpy(), x.numpy(), weight.numpy(), grad_x.numpy())
    run_blocks([lambda k=k, m=m: backward(*arrays, sums[k].numpy(), *m) for k, m in enumerate(blocks)])  # type: ignore[misc]
    return grad_x, sums.sum(0)


@_filter_backward.register_fake
def _filter_backward_fake(grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _ = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grad_x, grad_weight = _filter_backward(grad, *ctx.saved_tensors)
    return grad_x, grad_weight, grad.sum()


_filter.register_autograd(_backward, setup_context=_setup_context)


@operator("neuro::fire")
def _fire(drive: Tensor, family: str, width: float, peak: float) -> Tensor:
    return (drive.detach() > 0).to(drive.dtype)


@_fire.register_fake
def _fire_fake(drive: Tensor, family: str, width: float, peak: float) -> Tensor:
    return torch.empty_like(drive)


def _fire_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    drive, *surrogate = inputs
    ctx.surrogate = Surrogate(*surrogate)
    ctx.save_for_backward(drive)


def _fire_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    (drive,) = ctx.saved_tensors
    return grad * slope(drive, ctx.surrogate), None, None, None


_fire.register_autograd(_fire_backward, setup_context=_fire_setup)


def sliding_psn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    past: Tensor | None = None,
    *,
    surrogate: Surrogate | None = None,
    cut_time: bool = False,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Spikes of sliding parallel spiking neurons.

    Args:
        x: input current ``[T, B, N]``, float32 or float64.
        weight: ``[K]``, the newest input last.
        bias: ``[]``, minus the threshold.
        past: the K - 1 inputs before, ``[K - 1, B, N]``; none, zero.
        surrogate: derivative of the spike in backward.
        cut_time: earlier inputs count, and their weights learn from them, but nothing flows back into them.
        backend: ``"numba"``, ``"cuda"``, ``"reference"``, or ``"auto"``, the one for the input's device.

    Returns:
        Spikes ``[T, B, N]`` and the last K - 1 inputs.

    Raises:
        InputError: shapes, dtypes or devices that do not fit; an unknown backend.

    >>> z, _ = sliding_psn(torch.tensor([1.0, 0.0, 1.0, 1.0]).view(4, 1, 1), torch.ones(2), torch.tensor(-1.5))
    >>> z.flatten().tolist()
    [0.0, 0.0, 0.0, 1.0]
    """
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    past = _checked(x, weight, bias, past, backend)
    whole = torch.cat([past, x])
    rows = (whole.detach() if cut_time else whole).flatten(1)
    drive = (filter_reference if backend == "reference" else _filter)(rows, weight, bias).view(x.shape)
    if cut_time:
        drive = drive + weight[-1].detach() * (x - x.detach())
    s = surrogate or Surrogate()
    z: Tensor = _fire(drive, s.family, s.width, s.peak)
    return z, whole[x.shape[0] :].clone()


def _checked(x: Tensor, weight: Tensor, bias: Tensor, past: Tensor | None, backend: str) -> Tensor:
    if x.dim() != 3 or x.dtype not in (torch.float32, torch.float64):
        raise InputError(f"x must be [T, B, N] float32 or float64, got {list(x.shape)} {x.dtype}")
    if weight.dim() != 1 or weight.shape[0] < 1 or bias.dim() != 0:
        raise InputError(
            f"weight must be [K] with K at least 1 and bias [], got {list(weight.shape)}, {list(bias.shape)}"
        )
    shape = (weight.shape[0] - 1, *x.shape[1:])
    past = x.new_zeros(shape) if past is None else past
    if past.shape != shape:
        raise InputError(f"past must be [K - 1, B, N] = {list(shape)}, got {list(past.shape)}")
    for name, t in (("weight", weight), ("bias", bias), ("past", past)):
        if t.dtype != x.dtype or t.device != x.device:
            raise InputError(f"{name} is {t.dtype} on {t.device}, x {x.dtype} on {x.device}; convert one with .to()")
    native = "cuda" if x.is_cuda else "numba"
    if backend not in ("auto", "reference", native):
        raise InputError(f"backend {backend!r} does not run on {x.device}, where the input is")
    return past
