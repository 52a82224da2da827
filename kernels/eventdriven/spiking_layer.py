"""A layer of current-based LIF neurons in continuous time, with the exact gradient of its spike times.

Between events ``tau_m dV/dt = I - V`` and ``tau_s dI/dt = -I``; an arriving spike raises I by its weight; where V
reaches theta the neuron spikes and V is ``v_reset``. Spike times are roots in closed form (``tau_m = 2 tau_s``) or
by Newton's steps that cannot miss the first one (:mod:`neuro.kernels.eventdriven.flow_numba`).

Backward runs the adjoint ``pV = dL/dV``, ``pI = dL/dI`` from event to event (EventProp: Wunderlich & Pehle 2021, Sci.
Rep. 11:12829, eqs. 4 to 9; delays: Meszaros, Knight & Nowotny 2025, arXiv 2501.07331). An own spike at t with the
current I and the loss gradient G of its time, direct and through all spikes it makes arrive, maps

``pV <- ((I - v_reset) pV - tau_m G) / (I - theta)``,

an arrival of weight w gives ``dL/dw = pI`` and, to its time and its delay, ``w (pI / tau_s - pV / tau_m)``. What is kept
is one time, neuron and current for each spike. Registered with ``torch.library`` (fake and autograd).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.engines.operators import operator
from neuro.kernels.eventdriven.spike_times import SpikeTimes
from neuro.kernels.propagation.spikes import ranges

__all__ = ["check_synapses", "columns", "sample_blocks", "spiking_layer", "table"]

_TASKS = 8  # at most; each has gradients of all weights of its own
_SAMPLES = 16  # that a task has at least


def sample_blocks(batch: int) -> list[tuple[int, int]]:
    """The samples of each task, by the size of the batch alone."""
    return ranges(batch, max(_SAMPLES, -(-batch // _TASKS)))


def columns(weight: Tensor | None, like: Tensor) -> Tensor:
    """``[post, pre]`` as ``[pre, post]``, the synapses of a presynaptic neuron side by side; ``[0, 0]`` for None."""
    return like.new_zeros((0, 0)) if weight is None else weight.detach().t().contiguous()


def table(delay: Tensor | None) -> Tensor:
    """Delays ``[I]`` or ``[O, I]`` in seconds as ``[1, I]`` or ``[O, I]`` float64; ``[0, 0]`` for None."""
    if delay is None:
        return torch.zeros((0, 0), dtype=torch.float64)
    return delay.detach().double().reshape(-1, delay.shape[-1]).contiguous()


def _arrays(weight: Tensor, delay: Tensor | None, recurrent: Tensor | None) -> tuple[Any, ...]:
    return tuple(a.numpy() for a in (columns(weight, weight), table(delay), columns(recurrent, weight)))


@operator("neuro::event_spikes")
def _spikes_op(
    time: Tensor,
    neuron: Tensor,
    start: Tensor,
    weight: Tensor,
    delay: Tensor | None,
    recurrent: Tensor | None,
    constants: Sequence[float],
    limit: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    from neuro.kernels.eventdriven.spiking_layer_numba import forward

    events = tuple(a.detach().contiguous().numpy() for a in (start, time, neuron))
    given = (*events, *_arrays(weight, delay, recurrent), tuple(constants), limit)
    blocks = sample_blocks(start.numel() - 1)
    made: list[Any] = [None] * len(blocks)

    def run(k: int) -> None:
        made[k] = forward(*blocks[k], *given)

    run_blocks([lambda k=k: run(k) for k in range(len(blocks))])  # type: ignore[misc]
    if any((ends < 0).any() for ends, *_ in made):
        raise InputError(
            f"a sample made more than limit={limit} spikes in one layer; scale the weights down, or raise the limit"
        )
    begin, starts = 0, [torch.zeros(1, dtype=torch.int64)]
    for ends, times, *_ in made:
        starts.append(torch.from_numpy(ends) + begin)
        begin += times.shape[0]
    parts = zip(*(block[1:] for block in made), strict=True) if made else [()] * 3
    times, neurons, currents = (
        torch.cat([*(torch.from_numpy(a) for a in part), torch.empty(0, dtype=dtype)])
        for part, dtype in zip(parts, (torch.float64, torch.int32, torch.float64), strict=True)
    )
    return times, neurons, torch.cat(starts), currents, torch.ones_like(times)


@_spikes_op.register_fake
def _spikes_fake(
    time: Tensor,
    neuron: Tensor,
    start: Tensor,
    weight: Tensor,
    delay: Tensor | None,
    recurrent: Tensor | None,
    constants: Sequence[float],
    limit: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    spikes = torch.library.get_ctx().new_dynamic_size()
    return (
        time.new_empty(spikes),
        neuron.new_empty(spikes),
        start.new_empty(start.shape),
        time.new_empty(spikes),
        time.new_empty(spikes),
    )


@operator("neuro::event_spikes_backward")
def _backward_op(
    grad_time: Tensor,
    grad_count: Tensor,
    time: Tensor,
    neuron: Tensor,
    start: Tensor,
    weight: Tensor,
    delay: Tensor | None,
    recurrent: Tensor | None,
    own_time: Tensor,
    own_neuron: Tensor,
    own_start: Tensor,
    current: Tensor,
    constants: Sequence[float],
    wants_time: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from neuro.kernels.eventdriven.spiking_adjoint_numba import backward

    events: Any = tuple(a.detach().contiguous().numpy() for a in (start, time, neuron))
    arrays = _arrays(weight, delay, recurrent)
    total = grad_time.detach().clone(memory_format=torch.contiguous_format)  # what arrives later is added to it
    own = (own_start, own_time, own_neuron, current, total, grad_count.detach().contiguous())
    made = tuple(a.numpy() for a in own)
    blocks = sample_blocks(start.numel() - 1)
    grad_in = torch.zeros_like(time, memory_format=torch.contiguous_format)
    dtypes = (weight.dtype, torch.float64, weight.dtype)
    sums = [torch.zeros((len(blocks), *a.shape), dtype=d) for a, d in zip(arrays, dtypes, strict=True)]

    def run(k: int) -> None:
        grads = (grad_in.numpy(), *(s[k].numpy() for s in sums), wants_time)
        given: Any = (*blocks[k], *events, *arrays, tuple(constants), made, grads)
        backward(*given)

    run_blocks([lambda k=k: run(k) for k in range(len(blocks))])  # type: ignore[misc]
    weights, delays, own_weights = (s[0] if len(blocks) == 1 else s.sum(0) for s in sums)
    return grad_in, weights.t(), delays, own_weights.t()


@_backward_op.register_fake
def _backward_fake(
    grad_time: Tensor,
    grad_count: Tensor,
    time: Tensor,
    neuron: Tensor,
    start: Tensor,
    weight: Tensor,
    delay: Tensor | None,
    recurrent: Tensor | None,
    own_time: Tensor,
    own_neuron: Tensor,
    own_start: Tensor,
    current: Tensor,
    constants: Sequence[float],
    wants_time: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    delays = (0, 0) if delay is None else (delay.numel() // delay.shape[-1], delay.shape[-1])
    own = (0, 0) if recurrent is None else recurrent.shape
    return (
        time.new_empty(time.shape),
        weight.new_empty(weight.shape[::-1]).t(),
        time.new_empty(delays, dtype=torch.float64),
        weight.new_empty(own[::-1]).t(),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.constants, _ = inputs
    times, neurons, start, current, _ = output
    ctx.save_for_backward(*tensors, times, neurons, start, current)
    ctx.mark_non_differentiable(neurons, start, current)
    ctx.set_materialize_grads(False)


def _autograd(ctx: Any, grad_time: Tensor | None, _: None, __: None, ___: None, grad_count: Tensor | None) -> Any:
    saved = ctx.saved_tensors
    delay, recurrent, times = saved[4], saved[5], saved[6]
    silent = torch.zeros_like(times)
    given = [silent if g is None else g for g in (grad_time, grad_count)]
    wants_time = ctx.needs_input_grad[0] or ctx.needs_input_grad[4]
    grad_in, weights, delays, own = _backward_op(*given, *saved, ctx.constants, wants_time)
    grad_delay = None if delay is None else delays.reshape(delay.shape).to(delay.dtype)
    return grad_in, None, None, weights, grad_delay, None if recurrent is None else own, None, None


_spikes_op.register_autograd(_autograd, setup_context=_setup_context)


def spiking_layer(
    spikes: SpikeTimes,
    weight: Tensor,
    *,
    tau_mem: float,
    tau_syn: float,
    end: float,
    v_threshold: float = 1.0,
    v_reset: float = 0.0,
    delay: Tensor | None = None,
    recurrent: Tensor | None = None,
    recurrent_delay: float = 0.0,
    limit: int = 1_000_000,
) -> SpikeTimes:
    """The spikes of a layer up to ``end``; differentiable in the input's times, weights, delays and recurrent weights.

    The gradient is that of the exact simulation, spikes neither appearing nor vanishing. That of ``count``, which
    is 0 wherever it exists, is stood in for: a membrane raised by ``v_threshold - v_reset`` at a spike counts for one more.

    Args:
        spikes: of the presynaptic population, I neurons.
        weight: ``[O, I]``, what a spike adds to the current, in volts; best stored column by column.
        tau_mem, tau_syn: time constants in seconds.
        end: when the simulation stops, seconds.
        v_threshold, v_reset: volts; the reset below the threshold.
        delay: seconds from a spike to its arrival, by presynaptic neuron ``[I]`` or by synapse ``[O, I]``.
        recurrent: ``[O, O]`` (post, pre), weights of the layer's own spikes.
        recurrent_delay: seconds until those arrive.
        limit: spikes of a sample above which the layer counts as run away.

    Raises:
        InputError: shapes, dtypes or devices that do not fit; constants out of range; values that are not finite;
            delays below 0; a sample with more than ``limit`` spikes.

    >>> one = SpikeTimes(torch.zeros(1).double(), torch.zeros(1).int(), torch.tensor([0, 1]), torch.ones(1).double(), 1)
    >>> made = spiking_layer(one, torch.tensor([[5.0]]), tau_mem=0.02, tau_syn=0.01, end=0.1)
    >>> [round(1e3 * t, 3) for t in made.time.tolist()]  # exp(-t / tau_mem) = (5 + sqrt(5)) / 10
    [6.47]
    """
    constants = (tau_mem, tau_syn, v_threshold, v_reset, end, recurrent_delay)
    if not torch.compiler.is_compiling():
        check_synapses(spikes, weight, delay)
        _check(weight, recurrent, constants, limit)
    out = _spikes_op(spikes.time, spikes.neuron, spikes.start, weight, delay, recurrent, list(constants), limit)
    time, neuron, start, _, count = out
    return SpikeTimes(time, neuron, start, count, weight.shape[0])


def check_synapses(spikes: SpikeTimes, weight: Tensor, delay: Tensor | None) -> None:
    """Refuse what the loops, which index unchecked, cannot take: ``weight [O, I]``, ``delay [I]`` or ``[O, I]`` seconds.

    Raises:
        InputError: as :func:`spiking_layer`.
    """
    if not isinstance(weight, Tensor) or weight.dim() != 2 or weight.shape[1] != spikes.neurons or not weight.shape[0]:
        got = list(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
        raise InputError(f"weight must be [O, I] with I = {spikes.neurons}, the presynaptic neurons, got {got}")
    if weight.dtype not in (torch.float32, torch.float64) or weight.device.type != "cpu":
        raise InputError(f"weight must be float32 or float64 on the CPU, got {weight.dtype} on {weight.device}")
    if not bool(torch.isfinite(weight.detach()).all()):
        raise InputError("weight must be finite, got NaN or inf")
    if delay is None:
        return
    if delay.shape not in (weight.shape, weight.shape[1:]) or delay.device.type != "cpu":
        raise InputError(f"delay must be [I] or [O, I] for a weight {list(weight.shape)}, got {list(delay.shape)}")
    if delay.numel() and not bool(torch.isfinite(delay.detach()).all() and delay.detach().min() >= 0):
        raise InputError(f"delay must be finite and at least 0 s, got {float(delay.detach().min()):g}")


def _check(weight: Tensor, recurrent: Tensor | None, constants: Sequence[float], limit: int) -> None:
    tau_mem, tau_syn, v_threshold, v_reset, end, lag = constants
    if not all(math.isfinite(c) for c in constants) or min(tau_mem, tau_syn) <= 0 or min(end, lag) < 0:
        raise InputError(
            f"time constants must be above 0 s, end and recurrent_delay at least 0 s, all finite; got {constants}"
        )
    if not (v_threshold > 0 and v_reset < v_threshold):
        raise InputError(f"v_threshold must be above 0 and above v_reset, got {v_threshold:g} and {v_reset:g} V")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InputError(f"limit must be a whole number of spikes, at least 1, got {limit!r}")
    if recurrent is None:
        return
    size = weight.shape[0]
    if recurrent.shape != (size, size) or recurrent.dtype != weight.dtype or recurrent.device != weight.device:
        raise InputError(
            f"recurrent must be {[size, size]} {weight.dtype}, got {list(recurrent.shape)} {recurrent.dtype}"
        )
    if not bool(torch.isfinite(recurrent.detach()).all()):
        raise InputError("recurrent must be finite, got NaN or inf")
