"""CUDA C++ of spike-timing-dependent plasticity; see :mod:`neuro.kernels.plasticity.stdp`.

On a CPU the same text runs through :mod:`neuro.kernels.engines.host_shim`. One thread for each synapse holds its
weight in a register and looks at every step: on a GPU the time is that of synapses times steps, not of the spikes.
No atomics: every sum has a fixed order.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

from neuro.kernels.propagation.csr_cuda import launch

__all__ = ["KERNELS", "cuda_change", "cuda_modulated", "cuda_trace_steps", "stdp_source"]

KERNELS = ("stdp_traces", "stdp_change", "stdp_modulated")
_C = MappingProxyType({torch.float32: "float", torch.float64: "double"})

_SOURCE = """typedef {real} real;

// One thread per neuron (b, n) carries its traces over K steps.
extern "C" __global__ void stdp_traces(
    const real* __restrict__ x, real* state, const real* __restrict__ decay, const real* __restrict__ size,
    real* __restrict__ trace, real* __restrict__ amplitude, long long K, long long M, long long P, long long nearest)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M) return;
    const real keep = nearest ? real(0) : real(1);
    real first = state[m], second = P > 1 ? state[M + m] : real(0);
    for (long long t = 0; t < K; ++t) {{
        first *= decay[0];
        if (!(first > real(1e-30))) first = 0;
        if (P > 1) {{
            second *= decay[1];
            if (!(second > real(1e-30))) second = 0;
        }}
        const bool spike = x[t * M + m] != real(0);
        trace[t * M + m] = first;
        amplitude[t * M + m] = !spike ? real(0) : P > 1 ? size[0] + size[1] * second : size[0];
        if (spike) {{
            first = first * keep + real(1);
            second = second * keep + real(1);
        }}
    }}
    state[m] = first;
    if (P > 1) state[M + m] = second;
}}

__device__ static real moved(real w, real up, real down, const real* limits)
{{
    const real above = limits[1] - w > 0 ? limits[1] - w : real(0), below = w - limits[0] > 0 ? w - limits[0] : real(0);
    if (limits[2] == real(1)) up *= above;
    else if (limits[2] != real(0)) up *= pow(above, limits[2]);
    if (limits[3] == real(1)) down *= below;
    else if (limits[3] != real(0)) down *= pow(below, limits[3]);
    const real next = w + (up - down);
    return next < limits[0] ? limits[0] : next > limits[1] ? limits[1] : next;
}}

// One thread per synapse, from the row's neuron to the column's (sign -1) or back (sign 1).
extern "C" __global__ void stdp_change(
    real* weight, const int* __restrict__ rows, const int* __restrict__ columns,
    const real* __restrict__ row_trace, const real* __restrict__ row_size,
    const real* __restrict__ column_trace, const real* __restrict__ column_size, const real* __restrict__ limits,
    long long S, long long K, long long B, long long R, long long C, long long listed, long long sign)
{{
    const long long s = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (s >= S) return;
    const long long i = listed ? rows[s] : s / C, j = listed ? columns[s] : s % C;
    real w = weight[s];
    for (long long t = 0; t < K; ++t) {{
        real by_row = 0, by_column = 0;
        for (long long r = t * B; r < (t + 1) * B; ++r) {{
            if (row_size[r * R + i] != real(0)) by_row += row_size[r * R + i] * column_trace[r * C + j];
            if (column_size[r * C + j] != real(0)) by_column += row_trace[r * R + i] * column_size[r * C + j];
        }}
        if (by_row != real(0) || by_column != real(0))
            w = moved(w, sign > 0 ? by_row : by_column, sign > 0 ? by_column : by_row, limits);
    }}
    weight[s] = w;
}}

// One thread per synapse, as above; its eligibilities [B, S] decay by d per step and pass to it times the modulator
// of its postsynaptic neuron.
extern "C" __global__ void stdp_modulated(
    real* weight, real* eligibility, const int* __restrict__ rows, const int* __restrict__ columns,
    const real* __restrict__ row_trace, const real* __restrict__ row_size,
    const real* __restrict__ column_trace, const real* __restrict__ column_size,
    const real* __restrict__ modulator, const real* __restrict__ d, const real* __restrict__ limits,
    long long S, long long K, long long B, long long R, long long C, long long listed, long long sign)
{{
    const long long s = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (s >= S) return;
    const long long i = listed ? rows[s] : s / C, j = listed ? columns[s] : s % C;
    real w = weight[s];
    for (long long t = 0; t < K; ++t) {{
        real total = 0;
        for (long long b = 0; b < B; ++b) {{
            const long long r = t * B + b;
            real e = eligibility[b * S + s] * d[0];
            const real by_row = row_size[r * R + i] * column_trace[r * C + j];
            const real by_column = row_trace[r * R + i] * column_size[r * C + j];
            e += sign > 0 ? by_row - by_column : by_column - by_row;
            eligibility[b * S + s] = e;
            total += e * (sign > 0 ? modulator[r * R + i] : modulator[r * C + j]);
        }}
        w += total;
        w = w < limits[0] ? limits[0] : w > limits[1] ? limits[1] : w;
    }}
    weight[s] = w;
}}
"""


def stdp_source(dtype: torch.dtype) -> str:
    """The text of all kernels for float32 or float64."""
    return _SOURCE.format(real=_C[dtype])


def cuda_trace_steps(
    x: Tensor, state: Tensor, decay: Tensor, size: Tensor, nearest: bool, trace: Tensor, amplitude: Tensor
) -> None:
    """Traces and amplitudes ``[K, B, N]`` of spikes ``x [K, B, N]``; ``state [P, B, N]`` is carried along.

    Args:
        decay: ``[P]``, a factor per step.
        size: ``[2]``, the change by a pair and by a triplet.
        nearest: whether a spike sets its traces instead of adding to them.
    """
    neurons = state[0].numel()
    sizes = (x.shape[0], neurons, state.shape[0], int(nearest))
    launch(stdp_source(x.dtype), "stdp_traces", neurons, (x, state, decay, size, trace, amplitude), sizes)


def cuda_change(
    weight: Tensor,
    places: tuple[Tensor, Tensor] | None,
    row: tuple[Tensor, Tensor],
    column: tuple[Tensor, Tensor],
    limits: Tensor,
    sign: int,
) -> None:
    """Change ``weight [R, C]``, or ``[S]`` at ``places``, rows and columns ``[S]`` (int32), in place over K steps.

    Args:
        row, column: trace and amplitude ``[K, B, R]`` and ``[K, B, C]``.
        limits: ``[4]``, w_min, w_max, mu_plus, mu_minus.
        sign: 1 if the rows are postsynaptic, else -1.
    """
    steps, batch, rows = row[0].shape
    none = torch.zeros(1, dtype=torch.int32, device=weight.device)
    sizes = (weight.numel(), steps, batch, rows, column[0].shape[2], int(places is not None), sign)
    tensors = (weight, *(places or (none, none)), *row, *column, limits)
    launch(stdp_source(weight.dtype), "stdp_change", weight.numel(), tensors, sizes)


def cuda_modulated(
    weight: Tensor,
    eligibility: Tensor,
    places: tuple[Tensor, Tensor] | None,
    row: tuple[Tensor, Tensor],
    column: tuple[Tensor, Tensor],
    modulator: Tensor,
    decay: Tensor,
    limits: Tensor,
    sign: int,
) -> None:
    """As :func:`cuda_change`, by way of ``eligibility [B, R, C]`` (or ``[B, S]``), which is changed in place too.

    Args:
        modulator: ``[K, B, O]``.
        decay: ``[1]``, of an eligibility, a factor per step.
    """
    steps, batch, rows = row[0].shape
    none = torch.zeros(1, dtype=torch.int32, device=weight.device)
    sizes = (weight.numel(), steps, batch, rows, column[0].shape[2], int(places is not None), sign)
    tensors = (weight, eligibility, *(places or (none, none)), *row, *column, modulator, decay, limits)
    launch(stdp_source(weight.dtype), "stdp_modulated", weight.numel(), tensors, sizes)
