"""CUDA C++ of what stands between the dense products of closed-form cells; see :mod:`neuro.kernels.liquid.cfc`.

One thread for each number it makes. The arrays are those of :mod:`neuro.kernels.liquid.cfc_numba`. On a CPU the same
text runs through :mod:`neuro.kernels.engines.host_shim`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neuro.kernels.propagation.csr_cuda import launch

__all__ = ["KERNELS", "backward_steps", "cfc_source", "forward_steps"]

KERNELS = ("cfc_activate", "cfc_combine", "cfc_combine_back", "cfc_activate_back")

_SOURCE = """typedef {real} real;

extern "C" __global__ void cfc_activate(real* z, long long M)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m < M) z[m] = real(1.7159) * tanh(real(0.666) * z[m]);
}}

// One thread per neuron and sample; mode 0 gated, 1 without gate, 2 the closed form itself.
extern "C" __global__ void cfc_combine(
    real* heads, const real* elapsed, const real* extra, real* out, long long B, long long N, long long mode)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= B * N) return;
    const long long b = m / N, i = m % N;
    if (mode == 2) {{
        const real f = heads[m];
        out[m] = extra[N + i] - extra[N + i] * exp(-elapsed[b] * (fabs(extra[i]) + fabs(f))) * f;
        return;
    }}
    real* row = heads + b * 4 * N + i;
    const real p = tanh(row[0]), q = tanh(row[N]);
    const real s = real(1) / (real(1) + exp(-(row[2 * N] * elapsed[b] + row[3 * N])));
    row[0] = p;
    row[N] = q;
    row[2 * N] = s;
    out[m] = (mode == 0 ? p * (real(1) - s) : p) + s * q;
}}

// One thread per neuron and sample; dextra [2, B, N] is added to, in the mode 2.
extern "C" __global__ void cfc_combine_back(
    const real* heads, const real* elapsed, const real* extra, const real* grad, real* dheads, real* dextra,
    long long B, long long N, long long mode)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= B * N) return;
    const long long b = m / N, i = m % N;
    const real g = grad[m], dt = elapsed[b];
    if (mode == 2) {{
        const real f = heads[m], w = extra[i], left = exp(-dt * (fabs(w) + fabs(f)));
        const real pull = g * extra[N + i] * left;
        dheads[m] = -pull * (real(1) - dt * fabs(f));
        dextra[m] += pull * f * dt * real((w > 0) - (w < 0));
        dextra[B * N + m] += g * (real(1) - left * f);
        return;
    }}
    const real* row = heads + b * 4 * N + i;
    real* d = dheads + b * 4 * N + i;
    const real p = row[0], q = row[N], s = row[2 * N];
    const real slope = g * (mode == 0 ? q - p : q) * s * (real(1) - s);
    d[0] = (mode == 0 ? g * (real(1) - s) : g) * (real(1) - p * p);
    d[N] = g * s * (real(1) - q * q);
    d[2 * N] = slope * dt;
    d[3 * N] = slope;
}}

extern "C" __global__ void cfc_activate_back(const real* z, real* dz, long long M)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M) return;
    const real y = z[m] / real(1.7159);
    dz[m] *= real(1.7159 * 0.666) * (real(1) - y * y);
}}
"""


def cfc_source(dtype: torch.dtype) -> str:
    """The text of all four kernels for float32 or float64."""
    return _SOURCE.format(real="float" if dtype == torch.float32 else "double")


def forward_steps(
    z: Tensor, heads: Tensor, elapsed: Tensor, extra: Tensor, out: Tensor, mode: int
) -> tuple[Callable[[int], None], Callable[[int, int], None]]:
    """As :func:`neuro.kernels.liquid.cfc_numba.forward_steps`, shapes included; ``elapsed [T, B]`` in seconds."""
    source = cfc_source(z.dtype)

    def activate(k: int) -> None:
        launch(source, "cfc_activate", z[k].numel(), (z[k],), (z[k].numel(),))

    def combine(k: int, t: int) -> None:
        tensors = (heads[k], elapsed[t], extra, out[t])
        launch(source, "cfc_combine", out[t].numel(), tensors, (*out.shape[1:], mode))

    return activate, combine


def backward_steps(
    heads: Tensor,
    elapsed: Tensor,
    extra: Tensor,
    grad: Tensor,
    dheads: Tensor,
    dextra: Tensor,
    z: Tensor,
    dz: Tensor,
    mode: int,
) -> tuple[Callable[[int], None], Callable[[int], None]]:
    """As :func:`neuro.kernels.liquid.cfc_numba.backward_steps`, shapes included; ``elapsed [T, B]`` in seconds."""
    source = cfc_source(z.dtype)
    batch, neurons = grad.shape[1:]
    sums = grad.new_zeros((dextra.shape[0], batch, neurons))

    def through_heads(t: int) -> None:
        sums.zero_()
        tensors = (heads[t], elapsed[t], extra, grad[t], dheads[t], sums)
        launch(source, "cfc_combine_back", batch * neurons, tensors, (batch, neurons, mode))
        dextra.add_(sums.sum(1))

    def through_hidden(t: int) -> None:
        launch(source, "cfc_activate_back", z[t].numel(), (z[t], dz[t]), (z[t].numel(),))

    return through_heads, through_hidden
