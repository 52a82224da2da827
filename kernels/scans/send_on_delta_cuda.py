"""CUDA C++ of send-on-delta sampling; see :mod:`neuro.kernels.scans.send_on_delta`."""

from __future__ import annotations

import torch

__all__ = ["send_on_delta_source"]

_SOURCE = """typedef {real} real;

// One thread per signal.
extern "C" __global__ void send_on_delta(
    const real* __restrict__ x, const real* __restrict__ start, const real* __restrict__ step,
    real* __restrict__ out, long long T, long long B, long long N)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= B * N) return;
    const real first = start[m], threshold = step[0];
    real level = 0;
    for (long long t = 0; t < T; ++t) {{
        const real moved = x[t * B * N + m] - (first + threshold * level);
        const real on = moved >= threshold ? real(1) : real(0), off = moved <= -threshold ? real(1) : real(0);
        real* sent = out + (t * B + m / N) * 2 * N + m % N;
        sent[0] = on;
        sent[N] = off;
        level += on - off;
    }}
}}
"""


def send_on_delta_source(dtype: torch.dtype) -> str:
    """CUDA C++ of the kernel ``send_on_delta``, for signals ``[T, B, N]`` of ``dtype``."""
    return _SOURCE.format(real="float" if dtype == torch.float32 else "double")
