"""CUDA C++ of the recurrent scan: one launch per time step and direction, one thread per neuron and row.

A step needs the outputs of the whole population at the step before, so the end of a launch is
the barrier between steps. The cell's own lines are those of :mod:`neuro.kernels.compiler.cuda_source`;
neighbouring threads read neighbouring weights. Sums over the population are taken in another
order than on the CPU, so that currents agree to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuro.kernels.compiler.cuda_source import _TYPES, AHEAD, _BackwardWriter, _body, _forward_step, _load
from neuro.kernels.compiler.program import Backward, Program, derive_backward, saved_states
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.engines.cuda_backend import _dtype, _launch

__all__ = [
    "backward",
    "forward",
    "recurrent_cuda_backward_source",
    "recurrent_cuda_forward_source",
    "weight_gradient",
]

_FORWARD = """typedef {real} real;

extern "C" __global__ void recurrent_forward(
    const real* __restrict__ in, const real* before, real* __restrict__ state, const real* __restrict__ C,
    const real* __restrict__ weight, real* y, real* __restrict__ saved, real* __restrict__ current,
    long long t, long long T, long long M, long long N, long long keep)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M) return;
    const long long n = m % N;
    const long long at = t * M + m;
    const int j = 0;
{load}
    const real* fired_before = (t > 0 ? y + (t - 1) * M : before) + (m - n);
    real total = in[at];
    for (long long k = 0; k < N; ++k) {{
        const real a = fired_before[k];
        if (a != real(0)) total += a * weight[k * N + n];
    }}
    if (keep) current[at] = total;
    const real ahead_{x}[1] = {{total}};
{step}
{store}
    (void)T;
}}
"""
_BACKWARD = """typedef {real} real;

extern "C" __global__ void recurrent_backward(
    const real* __restrict__ gy, real* __restrict__ g, const real* __restrict__ first, const real* __restrict__ C,
    const real* __restrict__ saved, const real* __restrict__ current, const real* __restrict__ weight,
    real* gin_{x}, real* __restrict__ gC, real inverse_width, real peak,
    long long t, long long T, long long M, long long N, long long feedback)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M) return;
    const long long n = m % N;
    const long long at = t * M + m;
    const int j = 0;
    const int steps = 1;
{load}
    real up = real(0);
    if (feedback && t + 1 < T) {{
        const real* after = gin_{x} + (t + 1) * M + (m - n);
        for (long long k = 0; k < N; ++k) up += after[k] * weight[k * N + n];
    }}
{buffers}
{step}
{store}
    (void)steps; (void)current; (void)first; (void)saved; (void)gC; (void)inverse_width; (void)peak; (void)T;
}}
"""


def recurrent_cuda_forward_source(program: Program, dtype: str, saved: tuple[int, ...]) -> str:
    """Text of ``recurrent_forward(x, before, state, C, weight, y, saved, current, t, T, M, N, keep)``.

    Runs step ``t``; ``weight [N, N]`` is transposed (pre, post), ``state [S, B, N]`` is updated in place.
    """
    return _FORWARD.format(
        real=_TYPES[dtype],
        x=program.inputs[0],
        load=_body(_load(program), 1),
        step=_body(_forward_step(program, saved), 1),
        store=_body((f"state[{k} * M + m] = {s}_;" for k, s in enumerate(program.states)), 1),
    )


def recurrent_cuda_backward_source(
    program: Program, backward: Backward, dtype: str, saved: tuple[int, ...], family: str
) -> str:
    """Text of ``recurrent_backward(gy, g, first, C, saved, current, weight, gx, gC, 1 / width, peak, t, T, M, N, feedback)``.

    Runs step ``t``, after all later ones; ``weight [N, N]`` is (post, pre), ``gC[K', M]`` is added to.
    """
    writer = _BackwardWriter(program, backward, saved, family)
    sums = [f"gc_{k} = gC[{j} * M + m];" for j, k in enumerate(backward.coefficients)]
    buffers = [f"const real {b}[{AHEAD}] = {{{_source(b, source, program)}}};" for b, source in writer.buffers]
    return _BACKWARD.format(
        real=_TYPES[dtype],
        x=program.inputs[0],
        load=_body(iter([*writer.load(), *sums]), 1),
        buffers=_body(iter(buffers), 1),
        step=_body(writer.step(), 1),
        store=_body(writer.store(), 1),
    )


def _source(buffer: str, source: str, program: Program) -> str:
    if buffer == "ahead_gy":
        return f"{source}[at] + up"
    return "current[at]" if source == f"in_{program.inputs[0]}" else f"{source}[at]"


def forward(
    program: Program,
    x: Tensor,
    state: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    before: Tensor,
    saved: tuple[int, ...],
    keep_current: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As :func:`neuro.kernels.scans.recurrent_numba.forward`, for tensors on a GPU (on the CPU: the host shim).

    Args:
        x: ``[T, B, N]``; the others as there.
    """
    time, batch, neurons = x.shape
    given, earlier = x.detach().contiguous(), before.detach().contiguous()
    output = torch.empty_like(given)
    final = state.detach().clone(memory_format=torch.contiguous_format)
    trace = given.new_empty((len(saved), time, batch, neurons))
    current = given.new_empty((time if keep_current else 0, batch, neurons))
    source = recurrent_cuda_forward_source(program, _dtype(given), saved)
    transposed = weight.detach().t().contiguous()
    arrays = (given, earlier, final, coefficients.detach().contiguous(), transposed, output, trace, current)
    for t in range(time):
        sizes = (t, time, batch * neurons, neurons, int(keep_current))
        _launch(source, "recurrent_forward", batch * neurons, (*arrays, *sizes))
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
    weight: Tensor,
    trace: Tensor,
    current: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As :func:`neuro.kernels.scans.recurrent_numba.backward`, for tensors on a GPU (on the CPU: the host shim).

    Args:
        grad_output: ``[T, B, N]``; the others as there.
    """
    time, batch, neurons = grad_output.shape
    made = derive_backward(program, route, learned)
    upstream = grad_output.detach().contiguous()
    source = recurrent_cuda_backward_source(
        program, made, _dtype(upstream), saved_states(program, made), surrogate.family
    )
    adjoint = grad_state.detach().clone(memory_format=torch.contiguous_format)
    sums = upstream.new_zeros((len(learned), batch, neurons))
    grad_x = torch.empty_like(upstream)
    read = (state.detach().contiguous(), coefficients.detach().contiguous(), trace, current)
    arrays = (upstream, adjoint, *read, weight.detach().contiguous(), grad_x, sums)
    feedback = not route.cut_recurrence
    for t in reversed(range(time)):
        sizes = (t, time, batch * neurons, neurons, int(feedback))
        scalars = (1.0 / surrogate.width, float(surrogate.peak), *sizes)
        _launch(source, "recurrent_backward", batch * neurons, (*arrays, *scalars))
    back = grad_x[0] @ weight.detach() if feedback and time else upstream.new_zeros((batch, neurons))
    return grad_x, adjoint, sums.sum(1), back


def weight_gradient(output: Tensor, before: Tensor, grad_x: Tensor) -> Tensor:
    """As :func:`neuro.kernels.scans.recurrent_numba.weight_gradient`, as one dense product.

    Args:
        output: ``[T, B, N]``.
        before: ``[B, N]``.
        grad_x: ``[T, B, N]``.
    """
    earlier = torch.cat([before.detach().unsqueeze(0), output.detach()])[:-1]
    return (earlier.flatten(0, 1).t() @ grad_x.flatten(0, 1)).t()
