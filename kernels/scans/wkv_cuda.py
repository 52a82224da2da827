"""CUDA C++ of the WKV operator, one thread per channel; see :mod:`neuro.kernels.scans.wkv`.

On a CPU the same text runs through :mod:`neuro.kernels.engines.host_shim`.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

from neuro.kernels.propagation.csr_cuda import launch

__all__ = ["cuda_wkv", "cuda_wkv_backward", "wkv_source"]

_REALS = MappingProxyType({torch.float32: "float", torch.float64: "double"})
_SOURCE = """typedef {real} real;

__device__ real logistic(real x)
{{
    const real small = exp(x < 0 ? x : -x);
    return x >= 0 ? 1 / (1 + small) : small / (1 + small);
}}

extern "C" __global__ void wkv_forward(
    const real* __restrict__ k, const real* __restrict__ v, const real* __restrict__ w, const real* __restrict__ u,
    real* __restrict__ out, real* __restrict__ means, real* __restrict__ weights, long long T, long long M)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M) return;
    real mean = means[m], weight = weights[m];
    for (long long t = 0; t < T; ++t) {{
        const real key = k[t * M + m], apart = v[t * M + m] - mean, kept = weight + w[m], d = key - kept;
        out[t * M + m] = mean + logistic(u[m] + key - weight) * apart;
        means[(t + 1) * M + m] = mean = mean + logistic(d) * apart;
        weights[(t + 1) * M + m] = weight = (d > 0 ? key : kept) + log1p(exp(d > 0 ? -d : d));
    }}
}}

extern "C" __global__ void wkv_backward(
    const real* __restrict__ grad, const real* __restrict__ k, const real* __restrict__ v,
    const real* __restrict__ w, const real* __restrict__ u, const real* __restrict__ means,
    const real* __restrict__ weights, real* __restrict__ grad_k, real* __restrict__ grad_v,
    real* __restrict__ sums, real* __restrict__ carried, long long T, long long M, long long cut_time)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M) return;
    real from_mean = carried[m], from_weight = carried[M + m], sum_w = 0, sum_u = 0;
    for (long long t = T - 1; t >= 0; --t) {{
        const long long at = t * M + m;
        const real apart = v[at] - means[at], g = grad[at];
        const real read = logistic(u[m] + k[at] - weights[at]), taken = logistic(k[at] - (weights[at] + w[m]));
        const real by_read = g * apart * read * (1 - read), by_taken = from_mean * apart * taken * (1 - taken);
        grad_k[at] = by_read + by_taken + from_weight * taken;
        grad_v[at] = g * read + from_mean * taken;
        sum_w += from_weight * (1 - taken) - by_taken;
        sum_u += by_read;
        from_mean = cut_time ? 0 : g * (1 - read) + from_mean * (1 - taken);
        from_weight = cut_time ? 0 : from_weight * (1 - taken) - by_taken - by_read;
    }}
    sums[m] += sum_w;
    sums[M + m] += sum_u;
    carried[m] = from_mean;
    carried[M + m] = from_weight;
}}
"""


def wkv_source(dtype: torch.dtype) -> str:
    """The text of both kernels for float32 or float64."""
    return _SOURCE.format(real=_REALS[dtype])


def cuda_wkv(k: Tensor, v: Tensor, w: Tensor, u: Tensor, out: Tensor, means: Tensor, weights: Tensor) -> None:
    """As :func:`neuro.kernels.scans.wkv.wkv_reference`, into the last three; all contiguous.

    Args:
        k, v: ``[T, M]``.
        w, u: ``[M]``.
        out: ``[T, M]``.
        means, weights: ``[T + 1, M]``, the first rows given.
    """
    launch(wkv_source(k.dtype), "wkv_forward", k.shape[1], (k, v, w, u, out, means, weights), tuple(k.shape))


def cuda_wkv_backward(
    grad: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor,
    u: Tensor,
    means: Tensor,
    weights: Tensor,
    grad_k: Tensor,
    grad_v: Tensor,
    sums: Tensor,
    carried: Tensor,
    cut_time: bool,
) -> None:
    """The adjoint; all contiguous.

    Args:
        grad, k, v: ``[T, M]``.
        w, u: ``[M]``.
        means, weights: ``[T + 1, M]``.
        grad_k, grad_v: ``[T, M]``, written.
        sums: ``[2, M]``, gradients of w and u, added to.
        carried: ``[2, M]``, gradient of the last state, then of the first.
        cut_time: nothing goes from one step to the one before.
    """
    tensors = (grad, k, v, w, u, means, weights, grad_k, grad_v, sums, carried)
    launch(wkv_source(k.dtype), "wkv_backward", k.shape[1], tensors, (*k.shape, int(cut_time)))
