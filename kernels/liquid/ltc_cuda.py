"""CUDA C++ of liquid time-constant cells; see :mod:`neuro.kernels.liquid.ltc`.

An unfold needs the whole population at the one before, so the end of a launch is the barrier: one launch for each
unfold, one thread for each neuron and sample. Backward adds to a presynaptic neuron with atomics: on a GPU the
last bits of its gradients may differ from run to run. On a CPU the same text runs through
:mod:`neuro.kernels.engines.host_shim`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuro.kernels.propagation.csr_cuda import launch

__all__ = ["KERNELS", "backward", "forward", "ltc_source"]

KERNELS = ("ltc_drive", "ltc_unfold", "ltc_unfold_back", "ltc_spread")

_SOURCE = """typedef {real} real;

__device__ static real logistic(real a) {{ return real(1) / (real(1) + exp(-a)); }}

// Adds w s E and w s of the synapses of neuron i; values are mu, sigma, w, E in rows of S.
__device__ static void gather(const real* u, const real* values, const long long* start, const int* pre,
    long long S, long long i, real* num, real* den)
{{
    for (long long s = start[i]; s < start[i + 1]; ++s) {{
        const real open = values[2 * S + s] * logistic(values[S + s] * (u[pre[s]] - values[s]));
        *num += open * values[3 * S + s];
        *den += open;
    }}
}}

// One thread per neuron and sample of all steps (M = T * B): leak and sensory synapses, drive [2, M, N].
extern "C" __global__ void ltc_drive(
    const real* x, const real* neuron, const real* values, const long long* start, const int* pre, real* drive,
    long long M, long long I, long long N, long long S)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M * N) return;
    const long long i = m % N;
    real den = neuron[N + i], num = den * neuron[2 * N + i];
    gather(x + m / N * I, values, start, pre, S, i, &num, &den);
    drive[m] = num;
    drive[M * N + m] = den;
}}

// One thread per neuron and sample: v -> after, and the denominator.
extern "C" __global__ void ltc_unfold(
    const real* v, const real* elapsed, const real* neuron, const real* values, const long long* start,
    const int* pre, const real* push, const real* load, real* after, real* below,
    long long B, long long N, long long S, long long unfolds)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= B * N) return;
    const long long i = m % N;
    const real h = elapsed[m / N] / real(unfolds), c = neuron[i];
    real num = push[m], den = load[m];
    gather(v + m / N * N, values, start, pre, S, i, &num, &den);
    below[m] = c + h * den;
    after[m] = (c * v[m] + h * num) / below[m];
}}

// One thread per neuron and sample: the adjoint of after to what v gets directly (in place) and to the two sums.
extern "C" __global__ void ltc_unfold_back(
    const real* v, const real* after, const real* below, const real* elapsed, const real* neuron, real* adjoint,
    real* forces, real* total, real* sums, long long B, long long N, long long unfolds)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= B * N) return;
    const long long i = m % N;
    const real q = adjoint[m] / below[m], pull = elapsed[m / N] / real(unfolds) * q;
    adjoint[m] = q * neuron[i];
    forces[m] = pull;
    forces[B * N + m] = -pull * after[m];
    total[m] += pull;
    total[B * N + m] -= pull * after[m];
    sums[m] += q * (v[m] - after[m]);
    sums[B * N + m] += pull * (neuron[2 * N + i] - after[m]);
    sums[2 * B * N + m] += pull * neuron[N + i];
}}

// One thread per synapse, over all samples: from the adjoints of the two sums to du and to its four values.
extern "C" __global__ void ltc_spread(
    const real* u, const real* values, const int* pre, const long long* post, const real* forces, real* du,
    real* sums, long long B, long long N, long long I, long long S)
{{
    const long long s = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (s >= S) return;
    const real mu = values[s], sigma = values[S + s], w = values[2 * S + s], e = values[3 * S + s];
    real d_mu = 0, d_sigma = 0, d_w = 0, d_e = 0;
    for (long long b = 0; b < B; ++b) {{
        const real away = u[b * I + pre[s]] - mu, open = logistic(sigma * away);
        const real num = forces[b * N + post[s]], force = e * num + forces[(B + b) * N + post[s]];
        const real slope = w * force * open * (real(1) - open);
        atomicAdd(&du[b * I + pre[s]], sigma * slope);
        d_mu += slope;
        d_sigma += slope * away;
        d_w += force * open;
        d_e += num * open;
    }}
    sums[s] -= sigma * d_mu;
    sums[S + s] += d_sigma;
    sums[2 * S + s] += d_w;
    sums[3 * S + s] += w * d_e;
}}
"""


def ltc_source(dtype: torch.dtype) -> str:
    """The text of all four kernels for float32 or float64."""
    return _SOURCE.format(real="float" if dtype == torch.float32 else "double")


def _contiguous(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(t.detach().contiguous() for t in given)


def _drive(given: tuple[Tensor, ...]) -> Tensor:
    """``[2, T, B, N]``."""
    x, first, _, neuron, _, sensory, _, _, start, pre = given
    time, batch, inputs = x.shape
    neurons = first.shape[1]
    made = x.new_empty((2, time, batch, neurons))
    sizes = (time * batch, inputs, neurons, pre.shape[0])
    tensors = (x, neuron, sensory, start, pre, made)
    launch(ltc_source(x.dtype), "ltc_drive", made[0].numel(), tensors, sizes)
    return made


def _unfold(given: tuple[Tensor, ...], drive: Tensor, t: int, v: Tensor, after: Tensor, below: Tensor, n: int) -> None:
    _, _, elapsed, neuron, synapses, _, start, pre, _, _ = given
    tensors = (v, elapsed[t], neuron, synapses, start, pre, drive[0, t], drive[1, t], after, below)
    launch(ltc_source(v.dtype), "ltc_unfold", v.numel(), tensors, (*v.shape, pre.shape[0], n))


def forward(given: tuple[Tensor, ...], unfolds: int) -> Tensor:
    """As :func:`neuro.kernels.liquid.ltc_numba.forward`: states ``[T, B, N]``."""
    given = _contiguous(given)
    x, first = given[:2]
    out = x.new_empty((*x.shape[:2], first.shape[1]))
    drive, below = _drive(given), torch.empty_like(first)
    before, spare = first, (torch.empty_like(first), torch.empty_like(first))
    for t in range(x.shape[0]):
        for k in range(unfolds):
            after = out[t] if k == unfolds - 1 else spare[k % 2]
            _unfold(given, drive, t, before, after, below, unfolds)
            before = after
    return out


def backward(given: tuple[Tensor, ...], unfolds: int, out: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
    """As :func:`neuro.kernels.liquid.ltc_numba.backward`: gradients shaped like what they are of, ``x [T, B, I]`` first."""
    given = _contiguous(given)
    x, first, elapsed, neuron, synapses, sensory = given[:6]
    source, (batch, neurons) = ltc_source(x.dtype), first.shape
    drive, grad_x, adjoint = _drive(given), torch.zeros_like(x), torch.zeros_like(first)
    states, below = x.new_empty((unfolds + 1, batch, neurons)), x.new_empty((unfolds, batch, neurons))
    forces, total = x.new_empty((2, batch, neurons)), x.new_empty((2, batch, neurons))
    sums = (x.new_zeros((3, batch, neurons)), torch.zeros_like(synapses), torch.zeros_like(sensory))
    pre, starts = (given[7], given[9]), (given[6], given[8])
    post = tuple(torch.repeat_interleave(torch.arange(neurons, device=x.device), s.diff()) for s in starts)

    def spread(kind: int, u: Tensor, values: Tensor, pushes: Tensor, du: Tensor) -> None:
        tensors = (u, values, pre[kind], post[kind], pushes, du, sums[1 + kind])
        launch(source, "ltc_spread", values.shape[1], tensors, (batch, neurons, u.shape[1], values.shape[1]))

    for t in range(x.shape[0] - 1, -1, -1):
        adjoint += grad[t]
        states[0] = out[t - 1] if t else first
        for k in range(unfolds):
            _unfold(given, drive, t, states[k], states[k + 1], below[k], unfolds)
        total.zero_()
        for k in range(unfolds - 1, -1, -1):
            tensors = (states[k], states[k + 1], below[k], elapsed[t], neuron, adjoint, forces, total, sums[0])
            launch(source, "ltc_unfold_back", adjoint.numel(), tensors, (batch, neurons, unfolds))
            spread(0, states[k], synapses, forces, adjoint)
        spread(1, x[t], sensory, total, grad_x[t])
    return grad_x, adjoint, sums[0].sum(1), sums[1], sums[2]
