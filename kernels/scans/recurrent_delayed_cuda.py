"""CUDA C++ of the recurrent scan with delays: one launch per time step and direction, one thread per neuron and row.

As :mod:`neuro.kernels.scans.recurrent_cuda`, whose backward step is used as it is. Each thread
gathers what arrives at its neuron, so that no two write to one place; neighbouring threads read
neighbouring weights. Sums are taken in another order than on the CPU and agree to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuro.kernels.compiler.cuda_source import _TYPES, _body, _forward_step, _load
from neuro.kernels.compiler.program import Program, derive_backward, saved_states
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.engines.cuda_backend import _dtype, _launch
from neuro.kernels.scans.recurrent_cuda import recurrent_cuda_backward_source

__all__ = ["backward", "bank_gradient", "delayed_cuda_forward_source", "forward"]

_FORWARD = """typedef {real} real;

extern "C" __global__ void delayed_forward(
    const real* __restrict__ in, const real* before, real* __restrict__ state, const real* __restrict__ C,
    const real* __restrict__ table, const real* __restrict__ steps, real* y, real* __restrict__ saved,
    real* __restrict__ current, long long t, long long T, long long M, long long N, long long D, long long keep)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M) return;
    const long long n = m % N;
    const long long at = t * M + m;
    const int j = 0;
{load}
    real total = in[at];
{gather}
    if (keep) current[at] = total;
    const real ahead_{x}[1] = {{total}};
{step}
{store}
    (void)T; (void)steps; (void)D;
}}
"""
_TAPS = """for (long long d = 1; d <= D; ++d) {
    const real* fired = (t >= d ? y + (t - d) * M : before + (t - d + D) * M) + (m - n);
    const real* weight = table + (d - 1) * N * N + n;
    for (long long k = 0; k < N; ++k) {
        if (fired[k] != real(0)) total += fired[k] * weight[k * N];
    }
}"""
_WHOLE_STEPS = """for (long long k = 0; k < N; ++k) {
    const long long d = (long long)steps[k * N + n];
    const real a = (t >= d ? y + (t - d) * M : before + (t - d + D) * M)[m - n + k];
    if (a != real(0)) total += a * table[k * N + n];
}"""


def delayed_cuda_forward_source(program: Program, dtype: str, saved: tuple[int, ...], rounded: bool) -> str:
    """Text of ``delayed_forward(x, before, state, C, table, steps, y, saved, current, t, T, M, N, D, keep)``.

    Runs step ``t``; ``table`` and ``steps`` as for the Numba kernel, ``state [S, B, N]`` is updated in place.
    """
    return _FORWARD.format(
        real=_TYPES[dtype],
        x=program.inputs[0],
        load=_body(_load(program), 1),
        gather=_body(iter((_WHOLE_STEPS if rounded else _TAPS).splitlines()), 1),
        step=_body(_forward_step(program, saved), 1),
        store=_body((f"state[{k} * M + m] = {s}_;" for k, s in enumerate(program.states)), 1),
    )


def forward(
    program: Program,
    x: Tensor,
    state: Tensor,
    coefficients: Tensor,
    table: Tensor,
    steps: Tensor,
    before: Tensor,
    saved: tuple[int, ...],
    keep_current: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As :func:`neuro.kernels.scans.recurrent_delayed_numba.forward`, for tensors on a GPU (on the CPU: the host shim).

    Args:
        x: ``[T, B, N]``; the others as there.
    """
    time, batch, neurons = x.shape
    given = x.detach().contiguous()
    output = torch.empty_like(given)
    final = state.detach().clone(memory_format=torch.contiguous_format)
    trace = given.new_empty((len(saved), time, batch, neurons))
    current = given.new_empty((time if keep_current else 0, batch, neurons))
    source = delayed_cuda_forward_source(program, _dtype(given), saved, table.dim() == 2)
    # Whole numbers up to 2^24 are exact as floats: all arrays of a launch are of one type.
    read = (t.detach().contiguous() for t in (coefficients, table, steps.to(given.dtype)))
    arrays = (given, before.detach().contiguous(), final, *read, output, trace, current)
    for t in range(time):
        sizes = (t, time, batch * neurons, neurons, len(before), int(keep_current))
        _launch(source, "delayed_forward", batch * neurons, (*arrays, *sizes))
    return output, final, trace, current


def backward(
    program: Program,
    route: Route,
    learned: tuple[int, ...],
    surrogate: Surrogate,
    grad_output: Tensor,
    grad_state: Tensor,
    state: Tensor,
    coefficients: Tensor,
    bank: Tensor,
    trace: Tensor,
    current: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As :func:`neuro.kernels.scans.recurrent_delayed_numba.backward`, for tensors on a GPU (on the CPU: the host shim).

    Args:
        grad_output: ``[T, B, N]``; the others as there.
    """
    lags, neurons, _ = bank.shape
    time, batch, _ = grad_output.shape
    made = derive_backward(program, route, learned)
    whole = torch.cat([grad_output.new_zeros((lags, batch, neurons)), grad_output.detach()])
    source = recurrent_cuda_backward_source(program, made, _dtype(whole), saved_states(program, made), surrogate.family)
    adjoint = grad_state.detach().clone(memory_format=torch.contiguous_format)
    sums = whole.new_zeros((len(learned), batch, neurons))
    grad_x = whole.new_empty((time, batch, neurons))
    stacked = bank.detach().flip(0).reshape(lags * neurons, neurons)
    read = (state.detach().contiguous(), coefficients.detach().contiguous(), trace, current)
    arrays = (whole[lags:], adjoint, *read, stacked, grad_x, sums)  # no weight is read: what flows back is in whole
    for t in reversed(range(time)):
        scalars = (1.0 / surrogate.width, float(surrogate.peak), t, time, batch * neurons, neurons, 0)
        _launch(source, "recurrent_backward", batch * neurons, (*arrays, *scalars))
        if not route.cut_recurrence:
            whole[t : t + lags] += (grad_x[t] @ stacked.t()).view(batch, lags, neurons).transpose(0, 1)
    return grad_x, adjoint, sums.sum(1), whole[:lags].clone()


def bank_gradient(output: Tensor, before: Tensor, grad_x: Tensor) -> Tensor:
    """As :func:`neuro.kernels.scans.recurrent_delayed_numba.bank_gradient`, as one dense product for each lag.

    Args:
        output: ``[T, B, N]``.
        before: ``[D, B, N]``.
        grad_x: ``[T, B, N]``.
    """
    lags, time = len(before), len(grad_x)
    rows, grad = torch.cat([before.detach(), output.detach()]), grad_x.flatten(0, 1)
    return torch.stack([rows[lags - d : lags - d + time].flatten(0, 1).t() @ grad for d in range(1, lags + 1)])
