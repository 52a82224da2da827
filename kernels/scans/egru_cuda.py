"""CUDA C++ of event-based gated recurrent units, between the products; see :mod:`neuro.kernels.scans.egru`.

One thread for each unit and sample. The arrays are those of :mod:`neuro.kernels.scans.egru_numba`. On a CPU the same
text runs through :mod:`neuro.kernels.engines.host_shim`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neuro.kernels.propagation.csr_cuda import launch

__all__ = ["KERNELS", "backward_steps", "egru_source", "forward_steps"]

KERNELS = ("egru_advance", "egru_retreat")

_SOURCE = """typedef {real} real;

extern "C" __global__ void egru_advance(
    const real* drive, const real* back, const real* threshold, real* state, real* seen, real* gates, real* out,
    long long B, long long N)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= B * N) return;
    const long long b = m / N, i = m % N;
    const real* a = drive + b * 3 * N + i;
    const real* h = back + b * 3 * N + i;
    real* kept = gates + b * 4 * N + i;
    const real r = real(1) / (real(1) + exp(-(a[0] + h[0])));
    const real z = real(1) / (real(1) + exp(-(a[N] + h[N])));
    const real n = tanh(a[2 * N] + r * h[2 * N]);
    const real v = z * state[m] + (real(1) - z) * n, theta = threshold[i];
    kept[0] = r;
    kept[N] = z;
    kept[2 * N] = n;
    kept[3 * N] = h[2 * N];
    seen[m] = v;
    out[m] = v > theta ? v : real(0);
    state[m] = v > theta ? v - theta : v;
}}

// before: the state before the reset of the step before, or the first state, which has none.
extern "C" __global__ void egru_retreat(
    const real* before, const real* threshold, const real* seen, const real* gates, const real* slopes,
    const real* arriving, real* carried, real* drive, real* back, real* sums,
    long long B, long long N, long long is_first, long long cut_time, long long cut_reset)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= B * N) return;
    const long long b = m / N, i = m % N;
    const real* kept = gates + b * 4 * N + i;
    real* to = drive + b * 3 * N + i;
    real* fed = back + b * 3 * N + i;
    const real r = kept[0], z = kept[N], n = kept[2 * N], v = seen[m], theta = threshold[i];
    const real dc = carried[m], dy = arriving[m], e = v > theta ? real(1) : real(0);
    const real event = slopes[m] * (v * dy - (cut_reset ? real(0) : theta * dc));
    sums[m] -= e * dc + event;
    const real dv = e * dy + event + dc;
    const real c = before[m] - (!is_first && before[m] > theta ? theta : real(0));
    const real inner = dv * (real(1) - z) * (real(1) - n * n);
    const real reset = inner * kept[3 * N] * r * (real(1) - r);
    const real update = dv * (c - n) * z * (real(1) - z);
    to[0] = reset;
    to[N] = update;
    to[2 * N] = inner;
    fed[0] = reset;
    fed[N] = update;
    fed[2 * N] = inner * r;
    carried[m] = cut_time ? real(0) : dv * z;
}}
"""


def egru_source(dtype: torch.dtype) -> str:
    """The text of both kernels for float32 or float64."""
    return _SOURCE.format(real="float" if dtype == torch.float32 else "double")


def forward_steps(
    drive: Tensor, threshold: Tensor, state: Tensor, seen: Tensor, gates: Tensor, out: Tensor
) -> Callable[[int, int, Tensor], None]:
    """As :func:`neuro.kernels.scans.egru_numba.forward_steps`, shapes included."""
    source, sizes = egru_source(drive.dtype), tuple(state.shape)

    def step(t: int, k: int, back: Tensor) -> None:
        tensors = (drive[t], back.contiguous(), threshold, state, seen[k], gates[k], out[t])
        launch(source, "egru_advance", state.numel(), tensors, sizes)

    return step


def backward_steps(
    first: Tensor,
    threshold: Tensor,
    seen: Tensor,
    gates: Tensor,
    slopes: Tensor,
    arriving: Tensor,
    carried: Tensor,
    drive: Tensor,
    back: Tensor,
    sums: Tensor,
    cut_time: bool,
    cut_reset: bool,
) -> Callable[[int], None]:
    """As :func:`neuro.kernels.scans.egru_numba.backward_steps`, shapes included."""
    source = egru_source(seen.dtype)

    def step(t: int) -> None:
        before = seen[t - 1] if t > 0 else first
        given = (before, threshold, seen[t], gates[t], slopes[t], arriving[t], carried, drive[t], back[t], sums)
        sizes = (*first.shape, int(t == 0), int(cut_time), int(cut_reset))
        launch(source, "egru_retreat", first.numel(), given, sizes)

    return step
