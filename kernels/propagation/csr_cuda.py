"""CUDA C++ of propagation over compressed rows; see :mod:`neuro.kernels.propagation.propagate`.

On a CPU the same text runs through :mod:`neuro.kernels.engines.host_shim`. The forward kernel adds with
atomics: on a GPU the order of a sum, and so its last bits, may differ from run to run.
Both gradients are gathered, in a fixed order.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from neuro.kernels.engines.cuda_backend import _gpu_kernel
from neuro.kernels.engines.host_shim import HostModule

__all__ = ["KERNELS", "csr_source", "cuda_grad_input", "cuda_grad_weight", "cuda_scatter", "launch"]

_BLOCK = 128
KERNELS = ("csr_scatter", "csr_grad_input", "csr_grad_weight")
_C = MappingProxyType({torch.float32: "float", torch.float64: "double", torch.int32: "int", torch.int64: "long long"})

_SOURCE = """typedef {real} real;

// One thread per entry x[t, b, i]; most find 0 and stop.
extern "C" __global__ void csr_scatter(
    const real* __restrict__ x, const long long* __restrict__ indptr, const int* __restrict__ indices,
    const real* __restrict__ weight, const int* __restrict__ delay, real* arrivals,
    long long T, long long B, long long I, long long O, long long own_weight, long long own_delay)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= T * B * I) return;
    const real a = x[m];
    if (a == real(0)) return;
    const long long i = m % I, b = m / I % B, t = m / I / B;
    for (long long s = indptr[i]; s < indptr[i + 1]; ++s) {{
        const long long at = t + delay[own_delay ? s : 0];
        atomicAdd(&arrivals[(at * B + b) * O + indices[s]], a * weight[own_weight ? s : 0]);
    }}
}}

// One thread per entry of the gradient of x.
extern "C" __global__ void csr_grad_input(
    const real* __restrict__ grad, const long long* __restrict__ indptr, const int* __restrict__ indices,
    const real* __restrict__ weight, const int* __restrict__ delay, real* __restrict__ out,
    long long T, long long B, long long I, long long O, long long own_weight, long long own_delay)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= T * B * I) return;
    const long long i = m % I, b = m / I % B, t = m / I / B;
    real total = 0;
    for (long long s = indptr[i]; s < indptr[i + 1]; ++s) {{
        const long long at = t + delay[own_delay ? s : 0];
        total += weight[own_weight ? s : 0] * grad[(at * B + b) * O + indices[s]];
    }}
    out[m] = total;
}}

// One thread per synapse.
extern "C" __global__ void csr_grad_weight(
    const real* __restrict__ x, const real* __restrict__ grad, const long long* __restrict__ pre,
    const int* __restrict__ indices, const int* __restrict__ delay, real* __restrict__ out,
    long long T, long long B, long long I, long long O, long long S, long long own_delay)
{{
    const long long s = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (s >= S) return;
    const long long d = delay[own_delay ? s : 0], o = indices[s], i = pre[s];
    real total = 0;
    for (long long r = 0; r < T * B; ++r) {{
        const real a = x[r * I + i];
        if (a != real(0)) total += a * grad[(r + d * B) * O + o];
    }}
    out[s] = total;
}}
"""


def csr_source(dtype: torch.dtype) -> str:
    """The text of all three kernels for float32 or float64."""
    return _SOURCE.format(real=_C[dtype])


def launch(source: str, name: str, threads: int, tensors: Sequence[Tensor], sizes: Sequence[int]) -> None:
    """Run ``threads`` threads of kernel ``name``: on the GPU where the (contiguous) tensors are, else on the host."""
    if threads == 0:
        return
    grid = -(-threads // _BLOCK)
    if not tensors[0].is_cuda:
        types = [*(f"{_C[x.dtype]}*" for x in tensors), *("long long" for _ in sizes)]
        given = [*(ctypes.c_void_p(x.data_ptr()) for x in tensors), *(ctypes.c_longlong(n) for n in sizes)]
        HostModule(source, name, types)(grid, _BLOCK, given)
        return
    kernel = _gpu_kernel(source, name)
    import cupy
    import numpy as np

    device = tensors[0].device
    stream = torch.cuda.current_stream(device).cuda_stream
    with cupy.cuda.Device(device.index), cupy.cuda.ExternalStream(stream):
        kernel((grid,), (_BLOCK,), (*(x.data_ptr() for x in tensors), *(np.int64(n) for n in sizes)))


def cuda_scatter(x: Tensor, indptr: Tensor, indices: Tensor, weight: Tensor, delay: Tensor, arrivals: Tensor) -> None:
    """Add the currents of ``x`` to ``arrivals``.

    Args:
        x: ``[T, B, I]``.
        indptr, indices: of the connections.
        weight: ``[1]`` or ``[S]``.
        delay: ``[1]`` or ``[S]``, in steps.
        arrivals: ``[T + D + 1, B, O]``, added to in place.
    """
    sizes = (*x.shape, arrivals.shape[2], int(weight.numel() > 1), int(delay.numel() > 1))
    tensors = (x, indptr, indices, weight, delay, arrivals)
    launch(csr_source(x.dtype), "csr_scatter", x.numel(), tensors, sizes)


def cuda_grad_input(grad: Tensor, indptr: Tensor, indices: Tensor, weight: Tensor, delay: Tensor, time: int) -> Tensor:
    """``[T, B, I]``: gradient to the spikes, from ``grad [T + D + 1, B, O]``.

    Args:
        grad: ``[T + D + 1, B, O]``.
        indptr, indices: of the connections.
        weight: ``[1]`` or ``[S]``.
        delay: ``[1]`` or ``[S]``, in steps.
        time: T, in steps.
    """
    out = grad.new_empty((time, grad.shape[1], indptr.shape[0] - 1))
    sizes = (*out.shape, grad.shape[2], int(weight.numel() > 1), int(delay.numel() > 1))
    tensors = (grad, indptr, indices, weight, delay, out)
    launch(csr_source(grad.dtype), "csr_grad_input", out.numel(), tensors, sizes)
    return out


def cuda_grad_weight(x: Tensor, grad: Tensor, pre: Tensor, indices: Tensor, delay: Tensor) -> Tensor:
    """``[S]``: gradient to the weights.

    Args:
        x: ``[T, B, I]``.
        grad: ``[T + D + 1, B, O]``.
        pre: ``[S]`` (int64), the presynaptic neuron of each synapse.
        indices: ``[S]``.
        delay: ``[1]`` or ``[S]``, in steps.
    """
    out = grad.new_empty(indices.shape[0])
    sizes = (*x.shape, grad.shape[2], out.numel(), int(delay.numel() > 1))
    launch(csr_source(x.dtype), "csr_grad_weight", out.numel(), (x, grad, pre, indices, delay, out), sizes)
    return out
