"""CUDA C++ of eligibility traces; see :mod:`neuro.kernels.scans.eligibility`.

One thread per synapse runs the stretch for every sample, so that every sum has one order;
neighbouring threads have neighbouring inputs. On a CPU the same text runs through
:mod:`neuro.kernels.engines.host_shim`.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

from neuro.kernels.propagation.csr_cuda import launch

__all__ = ["cuda_sweep", "sweep_source"]

_REALS = MappingProxyType({torch.float32: "float", torch.float64: "double"})
_SOURCE = """typedef {real} real;

extern "C" __global__ void eligibility_sweep(
    const real* __restrict__ a, const real* __restrict__ b, const real* __restrict__ c, const real* __restrict__ d,
    const real* __restrict__ u, const real* __restrict__ signal, real* trace, real* grad,
    long long T, long long B, long long O, long long I)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= O * I) return;
    const long long o = m / I, i = m % I, plane = T * B * O;
    real total = grad[m];
    for (long long n = 0; n < B; ++n) {{
        real e[{states}], moved[{states}];
        for (int k = 0; k < {states}; ++k) e[k] = trace[((k * B + n) * O + o) * I + i];
        for (long long t = 0; t < T; ++t) {{
            const long long at = (t * B + n) * O + o;
            const real now = u[(t * B + n) * I + i], g = signal[at];
            real follows = d[at] * now;
            for (int k = 0; k < {states}; ++k) {{
                follows += c[k * plane + at] * e[k];
                moved[k] = b[k * plane + at] * now;
                for (int j = 0; j < {states}; ++j) moved[k] += a[(k * {states} + j) * plane + at] * e[j];
            }}
            total += g * follows;
            for (int k = 0; k < {states}; ++k) e[k] = moved[k];
        }}
        for (int k = 0; k < {states}; ++k) trace[((k * B + n) * O + o) * I + i] = e[k];
    }}
    grad[m] = total;
}}
"""


def sweep_source(dtype: torch.dtype, states: int) -> str:
    """The text for float32 or float64 and a cell with ``states`` state variables."""
    return _SOURCE.format(real=_REALS[dtype], states=states)


def cuda_sweep(
    a: Tensor, b: Tensor, c: Tensor, d: Tensor, u: Tensor, signal: Tensor, trace: Tensor, grad: Tensor
) -> None:
    """As :func:`neuro.kernels.scans.eligibility.sweep_reference`; ``trace`` and ``grad`` are updated in place.

    Args:
        a, b, c, d, u, signal: as there, contiguous.
        trace: ``[S, B, O, I]``.
        grad: ``[O, I]``, added to.
    """
    states, batch, neurons, inputs = trace.shape
    tensors = (a, b, c, d, u, signal, trace, grad)
    sizes = (u.shape[0], batch, neurons, inputs)
    launch(sweep_source(grad.dtype, states), "eligibility_sweep", neurons * inputs, tensors, sizes)
