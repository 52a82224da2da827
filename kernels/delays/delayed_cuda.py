"""CUDA C++ of learnable delays, event by event; see :mod:`neuro.kernels.delays.delayed_linear`.

On a CPU the same text runs through :mod:`neuro.kernels.engines.host_shim`. All sums are gathered, in
a fixed order; taps are computed where an input is not zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuro.kernels.propagation.csr_cuda import launch

__all__ = ["KERNELS", "cuda_backward", "cuda_forward", "delayed_source"]

KERNELS = ("delayed_norm", "delayed_forward", "delayed_backward")

_SOURCE = """typedef {real} real;

// Exponent of tap d of a delay p, less that of its nearest tap, which is the largest.
static __device__ real exponent(real d, real p, real last, real sigma)
{{
    const real inside = p < last ? (p > real(0) ? p : real(0)) : last;
    const real near = floor(inside + real(0.5));
    return ((near - p) * (near - p) - (d - p) * (d - p)) / (real(2) * sigma * sigma);
}}

// One thread per synapse: one over the sum of its taps, and their mean delay.
extern "C" __global__ void delayed_norm(
    const real* __restrict__ delay, const real* __restrict__ sigma,
    real* __restrict__ scale, real* __restrict__ mean, long long S, long long D)
{{
    const long long s = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (s >= S) return;
    real total = 0, moment = 0;
    for (long long d = 0; d < D; ++d) {{
        const real g = exp(exponent(real(d), delay[s], real(D - 1), sigma[0]));
        total += g;
        moment += real(d) * g;
    }}
    scale[s] = real(1) / total;
    mean[s] = moment / total;
}}

// One thread per entry y[t, b, o]; x has the D - 1 steps before it in front.
extern "C" __global__ void delayed_forward(
    const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ delay,
    const real* __restrict__ sigma, const real* __restrict__ scale, real* __restrict__ out,
    long long T, long long B, long long I, long long O, long long D)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= T * B * O) return;
    const long long o = m % O, b = m / O % B, t = m / O / B;
    real total = 0;
    for (long long i = 0; i < I; ++i) {{
        real sum = 0;
        for (long long d = D - 1; d >= 0; --d) {{
            const real a = x[((t + D - 1 - d) * B + b) * I + i];
            if (a != real(0)) sum += a * exp(exponent(real(d), delay[i * O + o], real(D - 1), sigma[0]));
        }}
        total += sum * scale[i * O + o] * weight[i * O + o];
    }}
    out[m] = total;
}}

// One thread per synapse.
extern "C" __global__ void delayed_backward(
    const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ delay,
    const real* __restrict__ sigma, const real* __restrict__ scale, const real* __restrict__ mean,
    const real* __restrict__ grad, real* __restrict__ grad_weight, real* __restrict__ grad_delay,
    long long T, long long B, long long I, long long O, long long D)
{{
    const long long s = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (s >= I * O) return;
    const long long o = s % O, i = s / O;
    real plain = 0, moment = 0;
    for (long long r = 0; r < (T + D - 1) * B; ++r) {{
        const real a = x[r * I + i];
        if (a == real(0)) continue;
        const long long u = r / B, b = r % B;
        for (long long d = 0; d < D; ++d) {{
            const long long t = u - (D - 1) + d;
            if (t < 0 || t >= T) continue;
            const real share = a * exp(exponent(real(d), delay[s], real(D - 1), sigma[0])) * grad[(t * B + b) * O + o];
            plain += share;
            moment += (real(d) - mean[s]) * share;
        }}
    }}
    grad_weight[s] = plain * scale[s];
    grad_delay[s] = moment * scale[s] * weight[s] / (sigma[0] * sigma[0]);
}}
"""


def delayed_source(dtype: torch.dtype) -> str:
    """The text of all three kernels for float32 or float64."""
    return _SOURCE.format(real={torch.float32: "float", torch.float64: "double"}[dtype])


def _norm(delay: Tensor, sigma: float, taps: int) -> tuple[Tensor, Tensor, Tensor]:
    width = delay.new_full((1,), sigma)
    scale, mean = torch.empty_like(delay), torch.empty_like(delay)
    tensors = (delay, width, scale, mean)
    launch(delayed_source(delay.dtype), "delayed_norm", delay.numel(), tensors, (delay.numel(), taps))
    return width, scale, mean


def cuda_forward(x: Tensor, weight: Tensor, delay: Tensor, sigma: float, taps: int) -> Tensor:
    """``[T, B, O]``.

    Args:
        x: ``[T + D - 1, B, I]``.
        weight: ``[I, O]``.
        delay: ``[I, O]``, in steps.
        sigma: in steps.
        taps: D.
    """
    width, scale, _ = _norm(delay, sigma, taps)
    out = x.new_empty((x.shape[0] - taps + 1, x.shape[1], weight.shape[1]))
    sizes = (*out.shape[:2], *weight.shape, taps)
    tensors = (x, weight, delay, width, scale, out)
    launch(delayed_source(x.dtype), "delayed_forward", out.numel(), tensors, sizes)
    return out


def cuda_backward(
    x: Tensor, weight: Tensor, delay: Tensor, sigma: float, grad: Tensor, taps: int
) -> tuple[Tensor, Tensor]:
    """Gradients of weight and delay, each ``[I, O]``.

    Args:
        x: ``[T + D - 1, B, I]``.
        weight: ``[I, O]``.
        delay: ``[I, O]``, in steps.
        sigma: in steps.
        grad: ``[T, B, O]``.
        taps: D.
    """
    width, scale, mean = _norm(delay, sigma, taps)
    grad_weight, grad_delay = torch.empty_like(weight), torch.empty_like(delay)
    sizes = (*grad.shape[:2], *weight.shape, taps)
    tensors = (x, weight, delay, width, scale, mean, grad, grad_weight, grad_delay)
    launch(delayed_source(x.dtype), "delayed_backward", weight.numel(), tensors, sizes)
    return grad_weight, grad_delay
