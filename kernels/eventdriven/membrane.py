"""The membrane of a readout in continuous time, averaged over each step of a grid, and its exact gradient.

With a synapse, ``tau_m dV/dt = I - V``, ``tau_s dI/dt = -I`` and an arriving spike raises I by its weight; without
one it raises V at once and ``tau_m dV/dt = -V``. V is linear in the weights, so no root is sought. It is averaged and not
sampled: a sample changes by a jump where a spike passes it, which no gradient sees (the mean over all steps is the
integral over time, divided by it). The adjoint ``pV = dL/dV``, ``pI = dL/dI`` takes up the gradient g of each step; an
arrival d seconds before the end of its step gives ``dL/dw = f_V(d) pV + f_I(d) pI + g / dt int_0^d f_V``, and minus its
derivative in d, times w, to its time and delay; f is what is left of it.
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
from neuro.kernels.eventdriven.spiking_layer import check_synapses, columns, sample_blocks, table

__all__ = ["membrane"]


@operator("neuro::event_membrane")
def _membrane_op(
    time: Tensor,
    neuron: Tensor,
    start: Tensor,
    weight: Tensor,
    delay: Tensor | None,
    steps: int,
    dt: float,
    taus: Sequence[float],
) -> Tensor:
    from neuro.kernels.eventdriven.membrane_numba import forward

    out = weight.new_empty((steps, start.numel() - 1, weight.shape[0]))
    arrays = (start, time, neuron, columns(weight, weight), table(delay))
    given: Any = (*(a.detach().contiguous().numpy() for a in arrays), dt, tuple(taus), out.numpy())
    run_blocks([lambda block=block: forward(*block, *given) for block in sample_blocks(out.shape[1])])  # type: ignore[misc]
    return out


@_membrane_op.register_fake
def _membrane_fake(
    time: Tensor,
    neuron: Tensor,
    start: Tensor,
    weight: Tensor,
    delay: Tensor | None,
    steps: int,
    dt: float,
    taus: Sequence[float],
) -> Tensor:
    return weight.new_empty((steps, start.numel() - 1, weight.shape[0]))


@operator("neuro::event_membrane_backward")
def _backward_op(
    grad: Tensor,
    time: Tensor,
    neuron: Tensor,
    start: Tensor,
    weight: Tensor,
    delay: Tensor | None,
    dt: float,
    taus: Sequence[float],
) -> tuple[Tensor, Tensor, Tensor]:
    from neuro.kernels.eventdriven.membrane_numba import backward

    arrays = (start, time, neuron, columns(weight, weight), table(delay))
    given: Any = (*(a.detach().contiguous().numpy() for a in arrays), dt, tuple(taus), grad.contiguous().numpy())
    blocks = sample_blocks(grad.shape[1])
    grad_in = torch.zeros_like(time, memory_format=torch.contiguous_format)
    sums = [a.new_zeros((len(blocks), *a.shape)) for a in arrays[3:]]

    def run(k: int) -> None:
        task: Any = (*blocks[k], *given, (grad_in.numpy(), *(s[k].numpy() for s in sums)))
        backward(*task)

    run_blocks([lambda k=k: run(k) for k in range(len(blocks))])  # type: ignore[misc]
    return grad_in, sums[0].sum(0).t(), sums[1].sum(0)


@_backward_op.register_fake
def _backward_fake(
    grad: Tensor,
    time: Tensor,
    neuron: Tensor,
    start: Tensor,
    weight: Tensor,
    delay: Tensor | None,
    dt: float,
    taus: Sequence[float],
) -> tuple[Tensor, Tensor, Tensor]:
    delays = (0, 0) if delay is None else (delay.numel() // delay.shape[-1], delay.shape[-1])
    grad_weight = weight.new_empty(weight.shape[::-1]).t()
    return time.new_empty(time.shape), grad_weight, time.new_empty(delays, dtype=torch.float64)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, _, ctx.dt, ctx.taus = inputs
    ctx.save_for_backward(*tensors)


def _autograd(ctx: Any, grad: Tensor) -> Any:
    delay = ctx.saved_tensors[4]
    grad_in, weights, delays = _backward_op(grad, *ctx.saved_tensors, ctx.dt, ctx.taus)
    grad_delay = None if delay is None else delays.reshape(delay.shape).to(delay.dtype)
    return grad_in, None, None, weights, grad_delay, None, None, None


_membrane_op.register_autograd(_autograd, setup_context=_setup_context)


def membrane(
    spikes: SpikeTimes,
    weight: Tensor,
    *,
    steps: int,
    dt: float,
    tau_mem: float,
    tau_syn: float | None = None,
    delay: Tensor | None = None,
) -> Tensor:
    """Mean V of leaky integrators over each step, ``[T, B, O]``; differentiable in the input's times, weights and delays.

    Step k is the time from ``k dt`` to ``(k + 1) dt``.

    Args:
        spikes: of the presynaptic population, I neurons.
        weight: ``[O, I]``, what a spike adds to the current (without a synapse: to V), in volts.
        steps: T; spikes that arrive after the last step change nothing.
        dt: seconds from step to step.
        tau_mem: time constant of the membrane in seconds.
        tau_syn: that of the synapse; None if there is none.
        delay: seconds from a spike to its arrival, ``[I]`` or ``[O, I]``.

    Raises:
        InputError: shapes, dtypes or devices that do not fit; constants out of range; values that are not finite.

    >>> one = SpikeTimes(torch.zeros(1).double(), torch.zeros(1).int(), torch.tensor([0, 1]), torch.ones(1).double(), 1)
    >>> [round(v, 3) for v in membrane(one, torch.tensor([[2.0]]), steps=3, dt=1e-3, tau_mem=1e-3).flatten().tolist()]
    [1.264, 0.465, 0.171]
    """
    if not torch.compiler.is_compiling():
        check_synapses(spikes, weight, delay)
        given = (dt, tau_mem, 1.0 if tau_syn is None else tau_syn)
        if not all(math.isfinite(c) and c > 0 for c in given):
            raise InputError(f"dt and time constants must be finite and above 0 s, got {dt}, {tau_mem}, {tau_syn}")
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise InputError(f"steps must be a whole number, at least 0, got {steps!r}")
    made: Tensor = _membrane_op(
        spikes.time, spikes.neuron, spikes.start, weight, delay, steps, dt, [tau_mem, tau_syn or 0.0]
    )
    return made
