"""Compile and run a program's Numba kernels; compiled code is cached on disk."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuro.files import atomic_write, cache_folder
from neuro.kernels.compiler.numba_source import backward_source, forward_source
from neuro.kernels.compiler.program import Program, derive_backward, saved_states
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.engines.memory import keep_freed_memory

__all__ = ["numba_backward", "numba_forward", "run_blocks"]

_ROWS_TARGET = 16384  # elements of state a block holds: few enough for L2, and long contiguous streams
_WIDE = 32768  # neurons in one row above which rows are split too
_NARROW = 4096  # neurons that are not worth a thread of their own
Kernel = Callable[..., None]


def _module(source: str) -> ModuleType:
    """Import ``source`` from a file named after its content, so that Numba's disk cache finds it again."""
    name = f"neuro_kernel_{hashlib.sha256(source.encode()).hexdigest()[:20]}"
    path = cache_folder("kernels") / f"{name}.py"
    if not path.exists() or path.read_text() != source:
        with atomic_write(path) as temporary:
            temporary.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Numba looks the module up by name when it reads its cache
    spec.loader.exec_module(module)
    return module


@lru_cache(maxsize=512)
def _forward_kernel(program: Program, dtype: str, saved: tuple[int, ...], shared: tuple[bool, ...]) -> Kernel:
    kernel: Kernel = _module(forward_source(program, dtype, saved, shared)).kernel
    return kernel


@lru_cache(maxsize=512)
def _backward_kernel(
    program: Program, route: Route, learned: tuple[int, ...], dtype: str, family: str, shared: tuple[bool, ...]
) -> Kernel:
    backward = derive_backward(program, route, learned)
    source = backward_source(program, backward, dtype, saved_states(program, backward), family, shared)
    kernel: Kernel = _module(source).kernel
    return kernel


@lru_cache(maxsize=8)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="neuro-kernel")


def run_blocks(tasks: Sequence[Callable[[], None]]) -> None:
    """Run independent tasks on as many threads as ``torch.get_num_threads()`` allows."""
    keep_freed_memory()
    threads = min(torch.get_num_threads(), len(tasks))
    if threads <= 1:
        for task in tasks:
            task()
        return
    for future in [_pool(threads).submit(task) for task in tasks]:
        future.result()


def _blocks(layout: tuple[int, int, int], *, alone: bool) -> Iterator[tuple[int, int, int, int]]:
    """Rows and neurons of each block.

    Sums over a block's rows are rounded, so which rows it holds is a function of the sizes alone. Where each
    neuron stands ``alone``, every cut gives the same bits, and one as wide as the threads allow streams best.
    """
    _, batch, neurons = layout
    if alone:
        threads = max(1, torch.get_num_threads())
        rows, width = 1, min(_WIDE, max(_NARROW, -(-neurons // threads)))
    else:
        rows, width = max(1, _ROWS_TARGET // max(1, neurons)), neurons if neurons <= _WIDE else _ROWS_TARGET
    for b in range(0, batch, rows):
        for n in range(0, neurons, max(1, width)):
            yield b, min(batch, b + rows), n, min(neurons, n + width)


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().contiguous().numpy()


def _run(kernel: Kernel, blocks: Sequence[tuple[int, int, int, int]], call: Callable[..., tuple[Any, ...]]) -> None:
    run_blocks([lambda k=k, block=block: kernel(*call(k, block)) for k, block in enumerate(blocks)])  # type: ignore[misc]


def _layout(shape: torch.Size, shared: tuple[bool, ...]) -> tuple[int, int, int]:
    """``[T, B, N]`` as the loops see it: where no coefficient tells neurons apart, a step is one long row."""
    time, batch, neurons = shape
    return (time, 1, batch * neurons) if shared and all(shared) else (time, batch, neurons)


def _seen(tensor: Tensor, layout: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    """``[..., B, N]`` in that layout."""
    array = _array(tensor)
    return array.reshape(*array.shape[:-2], *layout[1:])


def numba_forward(
    program: Program,
    inputs: Sequence[Tensor],
    state: Tensor,
    coefficients: Tensor,
    saved: tuple[int, ...],
    shared: tuple[bool, ...] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the whole sequence.

    Args:
        inputs: one ``[T, B, N]`` tensor per input.
        state: ``[S, B, N]``; not written to.
        coefficients: ``[K, N]``.
        saved: indices of the states to keep for backward.
        shared: which coefficients are the same for all neurons; none, if empty.

    Returns:
        Output ``[T, B, N]``, final state ``[S, B, N]``, saved states ``[len(saved), T, B, N]``.
    """
    time, batch, neurons = inputs[0].shape
    output = torch.empty_like(inputs[0], memory_format=torch.contiguous_format)
    final = state.detach().clone(memory_format=torch.contiguous_format)
    trace = output.new_empty((len(saved), time, batch, neurons))
    layout = _layout(output.shape, shared)
    kernel = _forward_kernel(program, str(output.numpy().dtype), saved, shared)
    arrays = [_seen(x, layout) for x in inputs]
    given = (_seen(final, layout), _array(coefficients), _seen(output, layout), _seen(trace, layout))
    blocks = list(_blocks(layout, alone=layout[2] != neurons))
    _run(kernel, blocks, lambda _, block: (*given, *block, *arrays))
    return output, final, trace


def numba_backward(
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
    shared: tuple[bool, ...] = (),
) -> tuple[list[Tensor], Tensor, Tensor]:
    """The adjoint of :func:`numba_forward`.

    Args:
        grad_output: ``[T, B, N]``.
        grad_state: gradient of the final state, ``[S, B, N]``.
        inputs, state, coefficients: as given to the forward pass.
        trace: its saved states.
        shared: as given to the forward pass.

    Returns:
        Gradients of the inputs (each ``[T, B, N]``), of the first state ``[S, B, N]`` and of
        the ``learned`` coefficients ``[len(learned), N]``.
    """
    neurons = grad_output.shape[2]
    layout = _layout(grad_output.shape, shared)
    kernel = _backward_kernel(program, route, learned, str(grad_output.numpy().dtype), surrogate.family, shared)
    blocks = list(_blocks(layout, alone=layout[2] != neurons))
    adjoint = grad_state.detach().clone(memory_format=torch.contiguous_format)
    # Each block of rows adds up its own sums, in an order that no number of threads changes.
    partial = grad_output.new_zeros((len({block[0] for block in blocks}), len(learned), layout[2]))
    sums = {first: partial[k].numpy() for k, first in enumerate(dict.fromkeys(block[0] for block in blocks))}
    grads = [torch.empty_like(grad_output, memory_format=torch.contiguous_format) for _ in inputs]
    scalar = adjoint.numpy().dtype.type
    states = (_seen(state, layout), _array(coefficients), _seen(trace, layout))
    shape = (scalar(1.0 / surrogate.width), scalar(surrogate.peak))
    arrays = [*(_seen(x, layout) for x in inputs), *(_seen(g, layout) for g in grads)]
    given = (_seen(grad_output, layout), _seen(adjoint, layout), *states)
    _run(kernel, blocks, lambda _, block: (*given, sums[block[0]], *shape, *block, *arrays))
    copies = layout[2] // neurons if neurons else 1
    return grads, adjoint, partial.sum(0).view(len(learned), copies, neurons).sum(1)
