"""CUDA C++ of products with connections made anew; see :mod:`neuro.kernels.propagation.procedural`.

The integers are those of the CPU. Normal weights pass through the device's log and cos, and may
differ in the last bits; sums of the forward product are added with atomics, in no fixed order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuro.kernels.propagation.csr_cuda import launch

__all__ = ["KERNELS", "cuda_product", "procedural_source"]

KERNELS = ("procedural_scatter", "procedural_gather")

_SOURCE = """typedef {real} real;
typedef unsigned long long u64;

__device__ static u64 mix(u64 z)
{{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}}

__device__ static u64 key(u64 seed, u64 stream, u64 i)
{{
    return mix(mix(seed + stream * 0x9E3779B97F4A7C15ull) + (i + 1) * 0x9E3779B97F4A7C15ull);
}}

__device__ static u64 draw(u64 key, u64 k)
{{
    unsigned h = (unsigned)(key + k * 0x9E3779B9ull);
    h = (h ^ (h >> 16)) * 0x85EBCA6Bu;
    h = (h ^ (h >> 13) ^ (unsigned)(key >> 32)) * 0xC2B2AE35u;
    return h ^ (h >> 16);
}}

// One row of connections, synapse by synapse.
struct Row {{
    u64 target, first, second;
    long long post, number, law, drawn, made, at;
    double a, b;
    const long long* table;

    __device__ Row(u64 seed, u64 i, long long O, long long K, long long kind, const double* ab, const long long* limits)
        : target(key(seed, 0, i)), first(key(seed, 1, i)), second(key(seed, 2, i)), post(O), number(K), law(kind),
          drawn(0), made(0), at(0), a(ab[0]), b(ab[1]), table(limits) {{}}

    // The next target, or -1.
    __device__ long long next()
    {{
        if (number >= 0) return made < number ? (long long)(draw(target, made++) * (u64)post >> 32) : -1;
        for (;;) {{
            const long long u = (long long)draw(target, drawn++);
            long long gap = table[256 + (u >> 24)];
            while (gap < 256 && table[gap] <= u) ++gap;
            at += gap;
            if (at >= post) return -1;
            if (gap < 256) {{ ++made; return at++; }}
        }}
    }}

    // The weight of the target that came last.
    __device__ real weight() const
    {{
        const double one = 1.0 / 4294967296.0;
        if (law == 0) return (real)a;
        const double u = (double)draw(first, made - 1);
        if (law == 1) return (real)(a + (b - a) * (u * one));
        const double radius = sqrt(-2.0 * log((u + 1.0) * one));
        return (real)(a + b * (radius * cos(6.283185307179586 * ((double)draw(second, made - 1) * one))));
    }}
}};

// One thread per entry x[r, i]; most find 0 and stop.
extern "C" __global__ void procedural_scatter(
    const real* __restrict__ x, const double* __restrict__ ab, const long long* __restrict__ table, real* out,
    long long R, long long I, long long O, long long seed, long long number, long long law)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= R * I || x[m] == real(0)) return;
    Row row((u64)seed, (u64)(m % I), O, number, law, ab, table);
    for (long long j = row.next(); j >= 0; j = row.next()) atomicAdd(&out[m / I * O + j], x[m] * row.weight());
}}

// One thread per entry out[r, i] of the transposed product.
extern "C" __global__ void procedural_gather(
    const real* __restrict__ y, const double* __restrict__ ab, const long long* __restrict__ table, real* out,
    long long R, long long I, long long O, long long seed, long long number, long long law)
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= R * I) return;
    Row row((u64)seed, (u64)(m % I), O, number, law, ab, table);
    real total = 0;
    for (long long j = row.next(); j >= 0; j = row.next()) total += row.weight() * y[m / I * O + j];
    out[m] = total;
}}
"""


def procedural_source(dtype: torch.dtype) -> str:
    """The text of both kernels for float32 or float64."""
    return _SOURCE.format(real="float" if dtype == torch.float32 else "double")


def cuda_product(
    x: Tensor, table: Tensor, shape: tuple[int, int], seed: int, number: int, law: int, ends: Tensor, transposed: bool
) -> Tensor:
    """``x A``, or transposed ``x A^T``; on a CPU, through the host shim.

    Args:
        x: ``[R, I]``, transposed ``[R, O]``; contiguous.
        table: ``[512]`` (int64) of gaps; not read with a fixed number.
        shape: I and O.
        seed: of the matrix.
        number: synapses of each presynaptic neuron, or -1 where chance decides.
        law: place in :data:`neuro.kernels.propagation.procedural.LAWS`.
        ends: ``[2]`` (float64), the law's a and b.
        transposed: which of the two.
    """
    out = x.new_zeros((x.shape[0], shape[0] if transposed else shape[1]))
    tensors = (x, ends.to(x.device), table.to(x.device), out)
    sizes = (x.shape[0], *shape, seed, number, law)
    launch(procedural_source(x.dtype), KERNELS[int(transposed)], x.shape[0] * shape[0], tensors, sizes)
    return out
