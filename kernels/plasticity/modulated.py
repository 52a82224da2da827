"""Three-factor plasticity: what spike timing would change waits in an eligibility until a modulator comes.

``e' = -e / tau + STDP(t)`` for each synapse and sample, and ``w += M[t] e[t]`` (Izhikevich, Cerebral Cortex 2007;
Frémaux and Gerstner, Frontiers in Neural Circuits 2016). Eligibilities are touched at spikes only; a step in which
the modulator is not 0 costs one pass over the synapses.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.engines.operators import operator
from neuro.kernels.plasticity.law import TimingLaw, Traces
from neuro.kernels.plasticity.sides import (
    Side,
    Spikes,
    check,
    chunk_steps,
    limits_of,
    listed,
    make_side,
    numbers,
    row_blocks,
)
from neuro.kernels.plasticity.stdp import by_target, reference_step
from neuro.kernels.plasticity.stdp_cuda import cuda_modulated
from neuro.kernels.propagation.csr import CSR
from neuro.kernels.propagation.spikes import EventList

__all__ = ["ModulatedState", "modulated_reference", "modulated_stdp"]

_SMALL = 2.0**-40  # a scale below this starts anew from 1


class ModulatedState(NamedTuple):
    """What modulated plasticity carries from step to step.

    The eligibility of a synapse is ``eligibility * scale``: ``[B, O, I]`` (or ``[B, S]``) times ``[]`` (float64).
    """

    traces: Traces
    eligibility: Tensor
    scale: Tensor


def modulated_reference(
    weight: Tensor,
    x: Tensor,
    z: Tensor,
    modulator: Tensor,
    law: TimingLaw,
    decay: float,
    state: ModulatedState,
    connections: CSR | None = None,
) -> tuple[Tensor, ModulatedState]:
    """The definition, step by step: ``weight [O, I]`` (or ``[S]``), ``x [T, B, I]``, ``z`` and ``modulator [T, B, O]``."""
    traces, e = state.traces, state.eligibility * state.scale.to(weight.dtype)
    for t in range(x.shape[0]):
        up, down, traces = reference_step(x[t], z[t], law, traces, connections)
        e = e * decay + (up - down)
        m = modulator[t].unsqueeze(2) if connections is None else modulator[t][:, connections.indices.long()]
        weight = torch.clamp(weight + (m * e).sum(0), law.w_min, law.w_max)
    return weight, ModulatedState(traces, e, torch.ones_like(state.scale))


def _scales(scale: float, decay: float, time: int) -> tuple[list[float], list[float]]:
    """Scale of the eligibilities in each step, and what they are multiplied by where it starts anew."""
    scales, rebase = [], []
    for _ in range(time):
        scale *= decay
        rebase.append(1.0 if scale >= _SMALL else scale)
        scale = scale if scale >= _SMALL else 1.0
        scales.append(scale)
    return scales, rebase


def _run(
    arrays: tuple[Tensor, Tensor],
    sides: tuple[Side, Side],
    csr: tuple[Tensor, Tensor] | None,
    modulator: Tensor,
    scales: tuple[Tensor, Tensor],
    limits: Tensor,
    decay: float,
    sign: int,
) -> None:
    """Change ``arrays``, weight ``[R, C]`` (or ``[S]``) and eligibility ``[B, R, C]``, in place.

    ``sides`` are (row, column); ``sign`` is 1 if the rows are postsynaptic.
    """
    weight = arrays[0]
    chunks = chunk_steps(modulator.shape[0], modulator.shape[1], sum(side.state.shape[2] for side in sides))
    rooms = [side.buffers(chunks[0][1] if chunks else 0) for side in sides]
    blocks = [] if weight.is_cuda else _blocks(weight, sides, csr)
    for first, last in chunks:
        traces = [side.carry(room, first, last) for side, room in zip(sides, rooms, strict=True)]
        part = modulator[first:last].contiguous()
        if weight.is_cuda:
            places = None if csr is None else (torch.repeat_interleave(csr[0].diff()).int(), csr[1])
            cuda_modulated(*arrays, places, traces[0], traces[1], part, weight.new_tensor([decay]), limits, sign)
            continue
        scale, rebase = (a[first:last] for a in scales)
        for _, amplitude in traces:
            amplitude /= scale.view(-1, 1, 1)
        active = (part != 0).any(2).any(1)
        rest = (part.numpy(), active.numpy(), limits.numpy(), first)
        _run_chunk(arrays, traces, sides, sign, blocks, ((scale.numpy(), rebase.numpy()), *rest))


def _blocks(weight: Tensor, sides: tuple[Side, Side], csr: tuple[Tensor, Tensor] | None) -> list[Any]:
    if csr is not None:
        return by_target(*csr, sides[1].state.shape[2])
    return [(block, None) for block in row_blocks(weight.shape[0])]


def _run_chunk(arrays: Any, traces: Any, sides: tuple[Side, Side], sign: int, blocks: list[Any], rest: Any) -> None:
    from neuro.kernels.plasticity.modulated_numba import modulate_dense, modulate_sparse

    given: Any = tuple(a.numpy() for a in arrays)
    neurons: Any = tuple(tuple(a.numpy() for a in pair) for pair in traces)
    events: Any = tuple((side.start.numpy(), side.index.numpy()) for side in sides)
    dense: Any = (*given, *neurons, *events[1], sign, *rest)
    flat: Any = (*neurons, *events, *rest)

    def task(block: Any, synapses: Any) -> None:
        call: Any = (*dense, *block) if synapses is None else (*given, synapses, *flat, *block)
        (modulate_dense if synapses is None else modulate_sparse)(*call)

    run_blocks([lambda block=block, synapses=synapses: task(block, synapses) for block, synapses in blocks])  # type: ignore[misc]


def _turned(eligibility: Tensor, weight: Tensor) -> Tensor:
    """``[B, O, I]`` or ``[B, I, O]``, whichever has the order of memory of ``weight [O, I]``; its own inverse."""
    return eligibility.transpose(1, 2) if weight.dim() == 2 and not weight.is_contiguous() else eligibility


@operator("neuro::modulated_stdp")
def _modulated_op(
    weight: Tensor,
    x: Tensor | None,
    pre_start: Tensor,
    pre_index: Tensor,
    z: Tensor | None,
    post_start: Tensor,
    post_index: Tensor,
    indptr: Tensor,
    indices: Tensor,
    pre: Tensor,
    post: Tensor,
    law: list[float],
    nearest_pre: bool,
    nearest_post: bool,
    modulator: Tensor,
    decay: float,
    eligibility: Tensor,
    scale: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    sides = (
        make_side((x, pre_start, pre_index), pre, law, nearest_pre, post=False),
        make_side((z, post_start, post_index), post, law, nearest_post, post=True),
    )
    changed = weight.detach().clone()
    rows_are_post = weight.dim() == 2 and changed.is_contiguous()
    held = _turned(eligibility.detach(), changed).clone(memory_format=torch.contiguous_format)
    scales, rebase = _scales(float(scale), decay, modulator.shape[0])
    if weight.is_cuda:
        held *= float(scale)
        scales = [1.0]
    matrix = changed if weight.dim() == 1 or rows_are_post else changed.t()
    made = (weight.new_tensor(scales), weight.new_tensor(rebase))
    ordered = (sides[1], sides[0]) if rows_are_post else sides
    csr = (indptr, indices) if weight.dim() == 1 else None
    _run((matrix, held), ordered, csr, modulator.detach(), made, limits_of(law, weight), decay, 2 * rows_are_post - 1)
    after = scale.new_tensor(scales[-1] if scales else float(scale))
    return changed, sides[0].state, sides[1].state, _turned(held, changed), after


@_modulated_op.register_fake
def _modulated_fake(
    weight: Tensor,
    x: Tensor | None,
    pre_start: Tensor,
    pre_index: Tensor,
    z: Tensor | None,
    post_start: Tensor,
    post_index: Tensor,
    indptr: Tensor,
    indices: Tensor,
    pre: Tensor,
    post: Tensor,
    law: list[float],
    nearest_pre: bool,
    nearest_post: bool,
    modulator: Tensor,
    decay: float,
    eligibility: Tensor,
    scale: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    changed = torch.empty_like(weight)
    held = _turned(torch.empty(_turned(eligibility, changed).shape, dtype=weight.dtype, device=weight.device), changed)
    return changed, pre.new_empty(pre.shape), post.new_empty(post.shape), held, torch.empty_like(scale)


def modulated_stdp(
    weight: Tensor,
    x: Spikes,
    z: Spikes,
    modulator: Tensor,
    law: TimingLaw,
    *,
    tau: float,
    state: ModulatedState | None = None,
    connections: CSR | None = None,
    backend: str = "auto",
) -> tuple[Tensor, ModulatedState]:
    """The weights after spikes whose effect waits for a modulator: reward-modulated and three-factor STDP.

    ``e[t] = exp(-dt / tau) e[t-1] + STDP[t]`` for each sample, ``w[t] = clip(w[t-1] + sum_b M[t, b] e[t, b])``.
    Neither the pieces of a sequence nor the number of threads changes a bit on the CPU.

    Args:
        weight: ``[O, I]`` (either order in memory), or ``[S]`` with connections.
        x: presynaptic spikes ``[T, B, I]``, 0 or 1, or a list of them.
        z: postsynaptic spikes ``[T, B, O]``, the same.
        modulator: ``[T, B]``, or ``[T, B, O]``, one for each postsynaptic neuron; the learning rate is part of it.
        law: windows, triplets, bounds; the dependence on the weight must be additive.
        tau: time constant of the eligibility in seconds.
        state: that returned for the steps before; None is no past.
        connections: I to O, without delays.
        backend: as for :func:`neuro.kernels.plasticity.stdp.stdp`.

    Returns:
        The weights and the state after step T.

    Raises:
        InputError: as for ``stdp``; a modulator or state that does not fit; ``tau`` not positive; ``mu`` not 0.

    >>> x, z, m = torch.zeros(3, 1, 1), torch.zeros(3, 1, 1), torch.zeros(3, 1)
    >>> x[0], z[1], m[2] = 1, 1, 0.5
    >>> law = TimingLaw(a2_plus=1.0, tau_plus=1e-3)
    >>> weight, state = modulated_stdp(torch.zeros(1, 1), x, z, m, law, tau=1e-3)
    >>> round(weight.item(), 6)  # 0.5 exp(-1) from the pair, exp(-1) while it waits
    0.067668
    """
    traces = check(weight, x, z, law, state.traces if state else None, connections, backend)
    modulator = _check_modulator(modulator, z.shape, weight, law, tau)
    state = _check_state(state, traces, weight, x.shape[1])
    decay = math.exp(-law.dt / tau)
    if backend == "reference":
        raster = [a.dense() if isinstance(a, EventList) else a.detach() for a in (x, z)]
        with torch.no_grad():
            return modulated_reference(weight.detach(), raster[0], raster[1], modulator, law, decay, state, connections)
    none = torch.empty(0, dtype=torch.int64, device=weight.device)
    csr = (connections.indptr, connections.indices) if connections else (none, none.int())
    spikes = (*listed(x, "x"), *listed(z, "z"), *csr)
    rest = (numbers(law), law.nearest_pre, law.nearest_post, modulator, decay, state.eligibility, state.scale)
    out, *after = _modulated_op(weight.detach(), *spikes, *traces, *rest)
    return out, ModulatedState(Traces(after[0], after[1]), after[2], after[3])


def _check_modulator(modulator: Tensor, shape: tuple[int, ...], weight: Tensor, law: TimingLaw, tau: float) -> Tensor:
    if not 0 < tau < math.inf:
        raise InputError(f"tau must be positive and finite (seconds), got {tau}")
    if law.mu_plus or law.mu_minus:
        raise InputError(
            f"law must be additive (mu_plus and mu_minus 0), got {law.mu_plus} and {law.mu_minus}: "
            "an eligibility is moved by the modulator, not by the weight"
        )
    if tuple(modulator.shape) not in (tuple(shape[:2]), tuple(shape)):
        raise InputError(f"modulator must be {list(shape[:2])} or {list(shape)}, got {list(modulator.shape)}")
    if modulator.dtype != weight.dtype or modulator.device != weight.device:
        raise InputError(
            f"modulator must be {weight.dtype} on {weight.device} like weight, got {modulator.dtype} on {modulator.device}"
        )
    if not (torch.compiler.is_compiling() or bool(torch.isfinite(modulator).all())):
        raise InputError("modulator must be finite, got NaN or inf")
    return (modulator if modulator.dim() == 3 else modulator.unsqueeze(2)).expand(shape)


def _check_state(state: ModulatedState | None, traces: Traces, weight: Tensor, batch: int) -> ModulatedState:
    shape = (batch, *weight.shape)
    if state is None:
        one = torch.ones((), dtype=torch.float64, device=weight.device)
        return ModulatedState(traces, weight.new_zeros(shape), one)
    e = state.eligibility
    if tuple(e.shape) != shape or e.dtype != weight.dtype or e.device != weight.device:
        raise InputError(
            f"state.eligibility must be {list(shape)} {weight.dtype} on {weight.device}, "
            f"got {list(e.shape)} {e.dtype} on {e.device}"
        )
    return ModulatedState(traces, e, state.scale)
