"""Run a program's CUDA kernels: through CuPy on a GPU, through the host shim on the CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.compiler.cuda_source import cuda_backward_source, cuda_forward_source
from neuro.kernels.compiler.program import Program, derive_backward, saved_states
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.engines.host_shim import HostModule

__all__ = ["cuda_backward", "cuda_forward"]

_BLOCK = 128
Argument = Tensor | int | float


@lru_cache(maxsize=512)
def _gpu_kernel(source: str, name: str) -> Callable[..., None]:
    try:
        import cupy
    except ImportError as error:
        raise InputError(f"kernels on a GPU need CuPy ({error}); install neuro-spiking[gpu]") from None
    # fmad would contract a*b+c and so round, and spike, unlike the CPU.
    kernel: Callable[..., None] = cupy.RawModule(code=source, options=("--fmad=false", "-std=c++17")).get_function(name)
    return kernel


def _launch(source: str, name: str, threads: int, arguments: Sequence[Argument]) -> None:
    if threads == 0:
        return
    grid = -(-threads // _BLOCK)
    first = next(a for a in arguments if isinstance(a, Tensor))
    if first.is_cuda:
        _launch_gpu(source, name, grid, arguments, first)
    else:
        _launch_host(source, name, grid, arguments, first)


def _launch_gpu(source: str, name: str, grid: int, arguments: Sequence[Argument], like: Tensor) -> None:
    kernel = _gpu_kernel(source, name)
    import cupy
    import numpy as np

    real: Any = np.float32 if like.dtype == torch.float32 else np.float64
    given = [
        a.data_ptr() if isinstance(a, Tensor) else np.int64(a) if isinstance(a, int) else real(a) for a in arguments
    ]
    with (
        cupy.cuda.Device(like.device.index),
        cupy.cuda.ExternalStream(torch.cuda.current_stream(like.device).cuda_stream),
    ):
        kernel((grid,), (_BLOCK,), tuple(given))


def _launch_host(source: str, name: str, grid: int, arguments: Sequence[Argument], like: Tensor) -> None:
    real, cell = ("float", ctypes.c_float) if like.dtype == torch.float32 else ("double", ctypes.c_double)
    types = [f"{real}*" if isinstance(a, Tensor) else "long long" if isinstance(a, int) else real for a in arguments]
    made = [
        ctypes.c_void_p(a.data_ptr())
        if isinstance(a, Tensor)
        else ctypes.c_longlong(a)
        if isinstance(a, int)
        else cell(a)
        for a in arguments
    ]
    HostModule(source, name, types)(grid, _BLOCK, made)


def cuda_forward(
    program: Program,
    inputs: Sequence[Tensor],
    state: Tensor,
    coefficients: Tensor,
    saved: tuple[int, ...],
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`neuro.kernels.engines.numba_backend.numba_forward`, for tensors on a GPU (on the CPU: the host shim).

    Args:
        inputs: one ``[T, B, N]`` tensor per input.
        state: ``[S, B, N]``; not written to.
        coefficients: ``[K, N]``.
        saved: indices of the states to keep for backward.
    """
    time, batch, neurons = inputs[0].shape
    given = [x.detach().contiguous() for x in inputs]
    output = torch.empty_like(given[0])
    final = state.detach().clone(memory_format=torch.contiguous_format)
    trace = output.new_empty((len(saved), time, batch, neurons))
    source = cuda_forward_source(program, _dtype(output), saved)
    sizes = (time, batch * neurons, neurons)
    arrays = (final, coefficients.detach().contiguous(), output, trace)
    _launch(source, "scan_forward", batch * neurons, (*arrays, *sizes, *given))
    return output, final, trace


def cuda_backward(
    program: Program,
    route: Route,
    learned: tuple[int, ...],
    surrogate: Surrogate,
    grad_output: Tensor,
    grad_state: Tensor,
    inputs: Sequence[Tensor],
    state: Tensor,
    coefficients: Tensor,
    trace: Tensor,
) -> tuple[list[Tensor], Tensor, Tensor]:
    """As :func:`neuro.kernels.engines.numba_backend.numba_backward`, for tensors on a GPU (on the CPU: the host shim).

    Args:
        grad_output: ``[T, B, N]``.
        grad_state: gradient of the final state, ``[S, B, N]``.
        inputs, state, coefficients: as given to the forward pass.
        trace: its saved states.
    """
    time, batch, neurons = grad_output.shape
    backward = derive_backward(program, route, learned)
    saved = saved_states(program, backward)
    source = cuda_backward_source(program, backward, _dtype(grad_output), saved, surrogate.family)
    upstream = grad_output.detach().contiguous()
    adjoint = grad_state.detach().clone(memory_format=torch.contiguous_format)
    sums = upstream.new_zeros((len(learned), batch, neurons))
    grads = [torch.empty_like(upstream) for _ in inputs]
    arrays = (upstream, adjoint, state.detach().contiguous(), coefficients.detach().contiguous(), trace, sums)
    scalars = (1.0 / surrogate.width, float(surrogate.peak), time, batch * neurons, neurons)
    read = [x.detach().contiguous() for x in inputs]
    _launch(source, "scan_backward", batch * neurons, (*arrays, *scalars, *read, *grads))
    # One row of sums per batch element, added in a fixed order.
    return grads, adjoint, sums.sum(1)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
