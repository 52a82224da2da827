"""CUDA C++ of event-driven convolution; see :mod:`neuro.kernels.propagation.event_conv`.

The forward kernel adds with atomics, so that on a GPU the last bits of a sum may differ from run
to run; the weight's gradient is gathered in a fixed order. On a CPU the same text runs through
:mod:`neuro.kernels.engines.host_shim`.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

from neuro.kernels.propagation.csr_cuda import launch

__all__ = ["conv_source", "cuda_conv", "cuda_conv_weight_grad"]

_REALS = MappingProxyType({torch.float32: "float", torch.float64: "double"})
_SOURCE = """typedef {real} real;

__device__ static long long place(long long at, long long stride, long long size)
{{
    return at < 0 || at % stride != 0 || at / stride >= size ? -1 : at / stride;
}}

// One thread per entry x[r, c, h, w]; most find 0 and stop.
extern "C" __global__ void conv_scatter(
    const real* __restrict__ x, const real* __restrict__ weight, real* out,
    long long R, long long C, long long H, long long W, long long O, long long KH, long long KW, long long Y,
    long long X, long long SY, long long SX, long long PY, long long PX)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= R * C * H * W) return;
    const real a = x[m];
    if (a == real(0)) return;
    const long long w = m % W, h = m / W % H, c = m / W / H % C, r = m / W / H / C;
    for (long long i = 0; i < KH; ++i) {{
        const long long y = place(h + PY - i, SY, Y);
        if (y < 0) continue;
        for (long long j = 0; j < KW; ++j) {{
            const long long at = place(w + PX - j, SX, X);
            if (at < 0) continue;
            for (long long o = 0; o < O; ++o)
                atomicAdd(&out[((r * O + o) * Y + y) * X + at], a * weight[((o * C + c) * KH + i) * KW + j]);
        }}
    }}
}}

// One thread per weight.
extern "C" __global__ void conv_weight_grad(
    const real* __restrict__ x, const real* __restrict__ grad, real* __restrict__ out,
    long long R, long long C, long long H, long long W, long long O, long long KH, long long KW, long long Y,
    long long X, long long SY, long long SX, long long PY, long long PX)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= O * C * KH * KW) return;
    const long long j = m % KW, i = m / KW % KH, c = m / KW / KH % C, o = m / KW / KH / C;
    real total = 0;
    for (long long r = 0; r < R; ++r)
        for (long long y = 0; y < Y; ++y) {{
            const long long h = y * SY + i - PY;
            if (h < 0 || h >= H) continue;
            for (long long at = 0; at < X; ++at) {{
                const long long w = at * SX + j - PX;
                if (w < 0 || w >= W) continue;
                const real a = x[((r * C + c) * H + h) * W + w];
                if (a != real(0)) total += a * grad[((r * O + o) * Y + y) * X + at];
            }}
        }}
    out[m] = total;
}}
"""


def conv_source(dtype: torch.dtype) -> str:
    """The text of both kernels for float32 or float64."""
    return _SOURCE.format(real=_REALS[dtype])


def _sizes(x: Tensor, weight: tuple[int, ...], out: Tensor, steps: tuple[int, int, int, int]) -> tuple[int, ...]:
    return (*x.shape, weight[0], *weight[2:], *out.shape[2:], *steps)


def cuda_conv(x: Tensor, weight: Tensor, out: Tensor, steps: tuple[int, int, int, int]) -> None:
    """Add the convolution of ``x`` to ``out``; all contiguous.

    Args:
        x: ``[R, C, H, W]``.
        weight: ``[O, C, kh, kw]``.
        out: ``[R, O, H', W']``, added to.
        steps: strides and paddings.
    """
    sizes = _sizes(x, tuple(weight.shape), out, steps)
    launch(conv_source(x.dtype), "conv_scatter", x.numel(), (x, weight, out), sizes)


def cuda_conv_weight_grad(x: Tensor, grad: Tensor, out: Tensor, steps: tuple[int, int, int, int]) -> None:
    """The gradient of the weight into ``out``; all contiguous.

    Args:
        x: ``[R, C, H, W]``.
        grad: ``[R, O, H', W']``.
        out: ``[O, C, kh, kw]``.
        steps: strides and paddings.
    """
    sizes = _sizes(x, tuple(out.shape), grad, steps)
    launch(conv_source(x.dtype), "conv_weight_grad", out.numel(), (x, grad, out), sizes)
