"""CUDA C++ of a causal filter, one thread per neuron; see :mod:`neuro.kernels.scans.parallel`.

On a CPU the same text runs through :mod:`neuro.kernels.engines.host_shim`.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

from neuro.kernels.propagation.csr_cuda import launch

__all__ = ["cuda_filter", "cuda_filter_backward", "filter_source"]

_REALS = MappingProxyType({torch.float32: "float", torch.float64: "double"})
_SOURCE = """typedef {real} real;

extern "C" __global__ void causal_filter(
    const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ bias,
    real* __restrict__ out, long long T, long long M, long long K)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M) return;
    for (long long t = 0; t < T; ++t) {{
        real total = weight[0] * x[t * M + m];
        for (long long i = 1; i < K; ++i) total += weight[i] * x[(t + i) * M + m];
        out[t * M + m] = total + bias[0];
    }}
}}

extern "C" __global__ void causal_filter_backward(
    const real* __restrict__ grad, const real* __restrict__ x, const real* __restrict__ weight,
    real* __restrict__ grad_x, real* __restrict__ grad_weight, long long T, long long M, long long K)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M) return;
    for (long long t = 0; t < T + K - 1; ++t) {{
        real total = 0;
        for (long long i = 0; i < K; ++i)
            if (t - i >= 0 && t - i < T) total += weight[i] * grad[(t - i) * M + m];
        grad_x[t * M + m] = total;
    }}
    for (long long i = 0; i < K; ++i) {{
        real total = 0;
        for (long long t = 0; t < T; ++t) total += grad[t * M + m] * x[(t + i) * M + m];
        grad_weight[m * K + i] = total;
    }}
}}
"""


def filter_source(dtype: torch.dtype) -> str:
    """The text of both kernels for float32 or float64."""
    return _SOURCE.format(real=_REALS[dtype])


def cuda_filter(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> None:
    """As :func:`neuro.kernels.scans.parallel.filter_reference`, into ``out``; all contiguous.

    Args:
        x: ``[K - 1 + T, M]``.
        weight: ``[K]``.
        bias: ``[]``.
        out: ``[T, M]``.
    """
    sizes = (out.shape[0], out.shape[1], weight.shape[0])
    launch(filter_source(x.dtype), "causal_filter", out.shape[1], (x, weight, bias.reshape(1), out), sizes)


def cuda_filter_backward(grad: Tensor, x: Tensor, weight: Tensor, grad_x: Tensor, grad_weight: Tensor) -> None:
    """The adjoint; all contiguous.

    Args:
        grad: ``[T, M]``.
        x: ``[K - 1 + T, M]``.
        weight: ``[K]``.
        grad_x: ``[K - 1 + T, M]``.
        grad_weight: ``[M, K]``, each neuron's share.
    """
    sizes = (grad.shape[0], grad.shape[1], weight.shape[0])
    tensors = (grad, x, weight, grad_x, grad_weight)
    launch(filter_source(x.dtype), "causal_filter_backward", grad.shape[1], tensors, sizes)
