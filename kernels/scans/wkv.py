"""Attention whose weights fall off exponentially with time, as a recurrence: one pass over the sequence.

``y[t] = (sum_{i<t} e^{(t-1-i) w + k[i]} v[i] + e^{u + k[t]} v[t]) / (the same without v)``, for each channel: the WKV
operator of RWKV (Peng et al. 2023, "RWKV: Reinventing RNNs for the transformer era", Findings of EMNLP, eq. 16),
which SpikeGPT keeps (Zhu et al. 2024, TMLR). Its past is held as the weighted mean of the values and the logarithm
of their total weight, ``m`` and ``l``, in which nothing overflows whatever ``k`` is:

``y = m + s(u + k - l) (v - m)``, then ``m' = m + s(k - l - w) (v - m)`` and ``l' = log(e^{l + w} + e^k)``, with the
logistic function ``s``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.engines.operators import operator
from neuro.kernels.propagation.spikes import ranges
from neuro.kernels.scans.wkv_cuda import cuda_wkv, cuda_wkv_backward

__all__ = ["BACKENDS", "NOTHING", "wkv", "wkv_reference"]

BACKENDS = ("auto", "numba", "cuda", "reference")
NOTHING = -1e38
"""Logarithm of the total weight before the first step; finite, so that states can be checked for NaN and inf."""
_LANES = 4096  # channels, of all samples, a task runs


def wkv_reference(
    k: Tensor, v: Tensor, w: Tensor, u: Tensor, mean: Tensor, weight: Tensor, cut_time: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The definition, step by step; ``k`` and ``v`` ``[T, B, C]``, arguments and results as of :func:`wkv`."""
    out = []
    for k_t, v_t in zip(k.unbind(), v.unbind(), strict=True):
        if cut_time:
            mean, weight = mean.detach(), weight.detach()
        out.append(mean + torch.sigmoid(u + k_t - weight) * (v_t - mean))
        mean = mean + torch.sigmoid(k_t - (weight + w)) * (v_t - mean)
        weight = torch.logaddexp(weight + w, k_t)
    return (torch.stack(out) if out else v.clone()), mean, weight


@operator("neuro::wkv")
def _wkv(
    k: Tensor, v: Tensor, w: Tensor, u: Tensor, mean: Tensor, weight: Tensor, cut_time: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Output ``[T, M]`` and the states before each step and after the last, ``[T + 1, M]`` each."""
    k, v, w, u = (t.detach().contiguous() for t in (k, v, w, u))
    out = torch.empty_like(v)
    means, weights = (torch.cat([t.detach().unsqueeze(0), t.new_empty(k.shape)]) for t in (mean, weight))
    if k.is_cuda:
        cuda_wkv(k, v, w, u, out, means, weights)
        return out, means, weights
    from neuro.kernels.scans.wkv_numba import forward

    arrays: list[Any] = [t.numpy() for t in (k, v, w, u, out, means, weights)]
    run_blocks([lambda m=m: forward(*arrays, *m) for m in ranges(k.shape[1], _LANES)])  # type: ignore[misc]
    return out, means, weights


@_wkv.register_fake
def _wkv_fake(
    k: Tensor, v: Tensor, w: Tensor, u: Tensor, mean: Tensor, weight: Tensor, cut_time: bool
) -> tuple[Tensor, Tensor, Tensor]:
    shape = (k.shape[0] + 1, k.shape[1])
    return v.new_empty(v.shape), v.new_empty(shape), v.new_empty(shape)


@operator("neuro::wkv_backward")
def _wkv_backward(
    grad: Tensor,
    grad_mean: Tensor,
    grad_weight: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor,
    u: Tensor,
    means: Tensor,
    weights: Tensor,
    cut_time: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of k and v, ``[T, M]``; of w and u in the rows ``[2, M]``; of the first state in the rows ``[2, M]``."""
    grad, k, v, w, u, means, weights = (t.detach().contiguous() for t in (grad, k, v, w, u, means, weights))
    carried = torch.stack([grad_mean.detach(), grad_weight.detach()])
    grad_k, grad_v, sums = torch.empty_like(k), torch.empty_like(v), torch.zeros_like(carried)
    if k.is_cuda:
        cuda_wkv_backward(grad, k, v, w, u, means, weights, grad_k, grad_v, sums, carried, cut_time)
        return grad_k, grad_v, sums, carried
    from neuro.kernels.scans.wkv_numba import backward

    arrays: list[Any] = [t.numpy() for t in (grad, k, v, w, u, means, weights, grad_k, grad_v, sums, carried)]
    run: Any = backward
    run_blocks([lambda m=m: run(*arrays, cut_time, *m) for m in ranges(k.shape[1], _LANES)])  # type: ignore[misc]
    return grad_k, grad_v, sums, carried


@_wkv_backward.register_fake
def _wkv_backward_fake(
    grad: Tensor,
    grad_mean: Tensor,
    grad_weight: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor,
    u: Tensor,
    means: Tensor,
    weights: Tensor,
    cut_time: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = (2, k.shape[1])
    return k.new_empty(k.shape), v.new_empty(v.shape), k.new_empty(rows), k.new_empty(rows)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *given, ctx.cut_time = inputs
    ctx.save_for_backward(*given[:4], *output[1:])


def _backward(ctx: Any, grad: Tensor, grad_means: Tensor, grad_weights: Tensor) -> tuple[Tensor | None, ...]:
    # Of the states only the last is given out, so only its row has a gradient.
    ends = (grad_means[-1], grad_weights[-1])
    grad_k, grad_v, sums, carried = _wkv_backward(grad, *ends, *ctx.saved_tensors, ctx.cut_time)
    if grad_k.shape[0] and ctx.cut_time:
        carried = torch.zeros_like(carried)
    return grad_k, grad_v, sums[0], sums[1], carried[0], carried[1], None


_wkv.register_autograd(_backward, setup_context=_setup_context)


def wkv(
    k: Tensor,
    v: Tensor,
    w: Tensor,
    u: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    cut_time: bool = False,
    backend: str = "auto",
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Weighted means of the values so far, the weights falling off exponentially with time.

    Args:
        k: logarithms of the weights ``[T, B, C]``, float32 or float64.
        v: values ``[T, B, C]``.
        w: what a step adds to the logarithm of every past weight, ``[C]``; below zero to forget.
        u: what the newest weight has added to its logarithm when it is read, ``[C]``.
        state: mean of the values before and logarithm of their total weight, each ``[B, C]``; none unless given.
        cut_time: backward ignores what one step hands to the next.
        backend: ``"numba"``, ``"cuda"``, ``"reference"``, or ``"auto"``, the one for the input's device.

    Returns:
        Means ``[T, B, C]`` and the state after the last step.

    Raises:
        InputError: shapes, dtypes or devices that do not fit; an unknown backend.

    >>> k, v = torch.zeros(3, 1, 1), torch.tensor([1.0, 2.0, 6.0]).view(3, 1, 1)
    >>> wkv(k, v, torch.zeros(1), torch.zeros(1))[0].flatten().tolist()    # all weights one: the running mean
    [1.0, 1.5, 3.0]
    """
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    mean, weight = _checked(k, v, w, u, state, backend)
    if backend == "reference":
        y, mean, weight = wkv_reference(k, v, w, u, mean, weight, cut_time)
        return y, (mean, weight)
    shape, flat = k.shape, (k.shape[0], k.shape[1] * k.shape[2])
    rates = (t.expand(shape[1:]).reshape(-1) for t in (w, u))
    ends = (t.reshape(-1) for t in (mean, weight))
    y, means, weights = _wkv(k.reshape(flat), v.reshape(flat), *rates, *ends, cut_time)
    return y.view(shape), (means[-1].view(shape[1:]), weights[-1].view(shape[1:]))


def _checked(
    k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: tuple[Tensor, Tensor] | None, backend: str
) -> tuple[Tensor, Tensor]:
    if k.dim() != 3 or k.dtype not in (torch.float32, torch.float64):
        raise InputError(f"k must be [T, B, C] float32 or float64, got {list(k.shape)} {k.dtype}")
    if state is None:
        state = k.new_zeros(k.shape[1:]), k.new_full(k.shape[1:], NOTHING)
    wanted = {"v": k.shape, "w": k.shape[2:], "u": k.shape[2:], "mean": k.shape[1:], "weight": k.shape[1:]}
    for (name, shape), t in zip(wanted.items(), (v, w, u, *state), strict=True):
        if t.shape != shape:
            raise InputError(f"{name} must be {list(shape)} where k is {list(k.shape)}, got {list(t.shape)}")
        if t.dtype != k.dtype or t.device != k.device:
            raise InputError(f"{name} is {t.dtype} on {t.device}, k {k.dtype} on {k.device}; convert one with .to()")
    native = "cuda" if k.is_cuda else "numba"
    if backend not in ("auto", "reference", native):
        raise InputError(f"backend {backend!r} does not run on {k.device}, where the input is")
    return state
