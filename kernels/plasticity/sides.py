"""What both kinds of plasticity do first: list the spikes, carry the traces, in chunks of time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.plasticity.law import TimingLaw, Traces
from neuro.kernels.plasticity.stdp_cuda import cuda_trace_steps
from neuro.kernels.propagation.csr import CSR
from neuro.kernels.propagation.propagate import _rows
from neuro.kernels.propagation.spikes import EventList, ranges

__all__ = ["BACKENDS", "Side", "check", "chunk_steps", "limits_of", "listed", "make_side", "numbers", "row_blocks"]

BACKENDS = ("auto", "reference", "numba", "cuda")
_BUFFER = 131072  # numbers the traces of a chunk may take: they stay in the cache while the rows pass by
_TASKS = 4  # pieces of a job for each thread
Spikes = Tensor | EventList


@dataclass(frozen=True, eq=False)
class Side:
    """The neurons on one side of the synapses: their spikes (listed, or on a GPU as they are) and traces."""

    dense: Tensor | None
    start: Tensor
    index: Tensor
    state: Tensor
    decay: Tensor
    size: Tensor
    nearest: bool

    def buffers(self, steps: int) -> tuple[Tensor, Tensor]:
        """Room for trace and amplitude, ``[steps, B, N]``."""
        shape = (steps, *self.state.shape[1:])
        return self.state.new_empty(shape), self.state.new_empty(shape)

    def carry(self, buffers: tuple[Tensor, Tensor], first: int, last: int) -> tuple[Tensor, Tensor]:
        """Trace and amplitude of the time steps ``first:last``, in ``buffers``; the state is carried along."""
        trace, amplitude = (room[: last - first] for room in buffers)
        if self.dense is not None and self.dense.is_cuda:
            x = self.dense[first:last].contiguous()
            cuda_trace_steps(x, self.state, self.decay, self.size, self.nearest, trace, amplitude)
            return trace, amplitude
        from neuro.kernels.plasticity.stdp_numba import trace_steps

        lists: Any = tuple(a.numpy() for a in (self.start, self.index, self.state, self.decay, self.size))
        rest: Any = (self.nearest, trace.numpy(), amplitude.numpy(), first)
        pieces = row_blocks(self.state.shape[1])
        run_blocks([lambda piece=piece: trace_steps(*lists, *rest, *piece) for piece in pieces])  # type: ignore[misc]
        return trace, amplitude


def numbers(law: TimingLaw) -> list[float]:
    """A law as an operator takes it: sizes (4), limits (4), decays per step (2 or 4)."""
    sizes = [law.a2_minus, law.a3_minus, law.a2_plus, law.a3_plus]
    return [*sizes, law.w_min, law.w_max, law.mu_plus, law.mu_minus, *law.pre_decay(), *law.post_decay()]


def make_side(
    spikes: tuple[Tensor | None, Tensor, Tensor], state: Tensor, law: list[float], nearest: bool, *, post: bool
) -> Side:
    """One side, with a state of its own (``state [P, B, N]`` is not written to); ``law`` is :func:`numbers`."""
    planes = state.shape[0]
    decay = law[8 + planes :] if post else law[8 : 8 + planes]
    size = law[2:4] if post else law[0:2]
    made = (state.new_tensor(decay), state.new_tensor(size))
    return Side(*spikes, state.detach().clone(memory_format=torch.contiguous_format), *made, nearest)


def limits_of(law: list[float], like: Tensor) -> Tensor:
    """``[4]``: w_min, w_max, mu_plus, mu_minus of :func:`numbers`."""
    return like.new_tensor(law[4:8])


def chunk_steps(time: int, batch: int, neurons: int) -> list[tuple[int, int]]:
    """Time steps that are handled at once."""
    return ranges(time, max(1, _BUFFER // max(1, 2 * batch * neurons)))


def row_blocks(rows: int) -> list[tuple[int, int]]:
    """Rows (or samples) a task handles: each stands alone, so that every cut gives the same bits."""
    threads = torch.get_num_threads()
    tasks = 1 if threads == 1 else _TASKS * threads
    return ranges(rows, max(1, -(-rows // tasks)))


def listed(spikes: Spikes, name: str) -> tuple[Tensor | None, Tensor, Tensor]:
    """Spikes ``[T, B, N]`` as the operators take them: as they are (if a tensor), row starts, columns.

    Raises:
        InputError: an entry other than 0 and 1.
    """
    if isinstance(spikes, EventList):
        dense, start, index, value = None, spikes.start, spikes.index, spikes.value
    else:
        dense = spikes.detach()
        start, index, value = _rows(dense)
    if not torch.compiler.is_compiling():
        binary = value.numel() == 0 if dense is None or not dense.is_cuda else bool(((dense == 0) | (dense == 1)).all())
        if not binary:
            raise InputError(f"{name} must be 0 or 1 everywhere: a spike has a time and no size")
    return dense, start, index


def check(
    weight: Tensor, x: Spikes, z: Spikes, law: TimingLaw, traces: Traces | None, connections: CSR | None, backend: str
) -> Traces:
    """The traces to start from.

    Args:
        weight: ``[O, I]``, or ``[S]`` with connections.
        x: ``[T, B, I]``.
        z: ``[T, B, O]``.
        traces: ``[P, B, I]`` and ``[P, B, O]``, or None.

    Raises:
        InputError: whatever does not fit.
    """
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    like = z.value if isinstance(z, EventList) else z
    post, pre = _check_weight(weight, law, connections)
    for name, spikes, width in (("x", x, pre), ("z", z, post)):
        values = spikes.value if isinstance(spikes, EventList) else spikes
        if len(spikes.shape) != 3 or spikes.shape[2] != width:
            raise InputError(f"{name} must be [T, B, {width}] to meet the weight, got {list(spikes.shape)}")
        if values.dtype != weight.dtype or values.device != weight.device:
            raise InputError(
                f"{name} must be {weight.dtype} on {weight.device} like weight, got {values.dtype} on {values.device}"
            )
    if x.shape[:2] != z.shape[:2]:
        raise InputError(f"x and z must have the same [T, B], got {list(x.shape[:2])} and {list(z.shape[:2])}")
    native = {"cpu": "numba", "cuda": "cuda"}.get(weight.device.type)
    if backend not in ("auto", "reference", native):
        raise InputError(
            f"backend {backend!r} does not run on {weight.device}; use .{'cuda' if backend == 'cuda' else 'cpu'}()"
        )
    first = law.initial(x.shape[1], pre, post, like)
    for name, have, want in zip(Traces._fields, traces or first, first, strict=True):
        if have.shape != want.shape or have.dtype != want.dtype or have.device != want.device:
            raise InputError(
                f"traces.{name} must be {list(want.shape)} {want.dtype} on {want.device}, "
                f"got {list(have.shape)} {have.dtype} on {have.device}"
            )
    return traces or first


def _check_weight(weight: Tensor, law: TimingLaw, connections: CSR | None) -> tuple[int, int]:
    if weight.dtype not in (torch.float32, torch.float64):
        raise InputError(f"weight must be float32 or float64, got {weight.dtype}")
    if connections is None and weight.dim() != 2:
        raise InputError(f"weight must be [O, I], or [S] with connections, got {list(weight.shape)}")
    if connections is not None:
        if weight.shape != (connections.synapses,):
            raise InputError(f"weight must be [{connections.synapses}], one per synapse, got {list(weight.shape)}")
        if connections.indptr.device != weight.device:
            raise InputError(f"connections must be on {weight.device} like weight, got {connections.indptr.device}")
        if connections.max_delay > 0:
            raise InputError(
                f"connections must have no delay, got up to {connections.max_delay} steps: "
                "shift the presynaptic spikes by the delay instead"
            )
    if weight.numel() and not torch.compiler.is_compiling():
        low, high = (float(end) for end in torch.aminmax(weight.detach()))
        least, most = weight.new_tensor([law.w_min, law.w_max]).tolist()  # as the weights round them
        if not (math.isfinite(low) and math.isfinite(high) and least <= low and high <= most):
            raise InputError(f"weight must be finite and in {law.w_min}..{law.w_max}, got {low}..{high}")
    return (weight.shape[0], weight.shape[1]) if connections is None else (connections.post, connections.pre)
