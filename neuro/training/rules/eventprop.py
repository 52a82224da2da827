"""EventProp: the exact gradient of a network of spikes in continuous time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from neuro.encoding.decoders import first_spike_time
from neuro.errors import InputError
from neuro.kernels.eventdriven.spike_times import first_times, to_grid
from neuro.network import Network
from neuro.training.losses import Loss
from neuro.training.rules.base import About, Rule, RuleResult
from neuro.training.rules.event_driven import EventRun, event_driven

__all__ = ["EventProp", "TimeLoss", "first_spike"]


@dataclass(frozen=True)
class TimeLoss(Loss):
    """Cross entropy on when each output neuron first spikes.

    Args:
        time_logits: exact times ``[B, C]`` in seconds -> logits ``[B, C]``; what EventProp differentiates. Rules that
            go by steps use ``readout``.
    """

    time_logits: Callable[[Tensor], Tensor]


def first_spike(tau: float = 5e-3, dt: float = 1e-3) -> TimeLoss:
    """Cross entropy of ``softmax(-t / tau)``, t the first spike of each output neuron: the first one says the class.

    Göltz et al. 2021, Nat. Mach. Intell. 3:823, eq. 8. A neuron that does not spike counts as spiking at the end.

    Args:
        tau: seconds between first spikes that make a class e times as likely.
        dt: time step of the network in seconds, for rules that go by steps.

    Raises:
        InputError: ``tau`` or ``dt`` not above 0.

    >>> import torch
    >>> first_spike(tau=1e-3).time_logits(torch.tensor([[2e-3, 5e-3]])).round().tolist()
    [[-2.0, -5.0]]
    """
    if not (tau > 0 and dt > 0):
        raise InputError(f"tau and dt must be above 0 s, got {tau} and {dt}")
    return TimeLoss("first_spike", partial(_step_logits, tau=tau, dt=dt), partial(_time_logits, tau=tau))


def _time_logits(times: Tensor, tau: float) -> Tensor:
    return -times / tau


def _step_logits(output: Tensor, tau: float, dt: float) -> Tensor:
    return -first_spike_time(output, dt=dt) / tau


@dataclass(frozen=True)
class EventProp(Rule):
    """The exact gradient of the network in continuous time, from spike to spike (Wunderlich & Pehle 2021).

    The network runs by :func:`event_driven`, not by steps. Where a loss reads membranes of an LI, or times of spikes
    (:func:`first_spike`), the gradient is exact; spikes neither appear nor vanish in it. A loss that counts spikes
    has none: what stands in is that a membrane raised by a threshold at a spike counts for one more. Silent neurons
    learn nothing: start from weights that make most of them spike.

    Args:
        rate: spikes per sample that each neuron in between is drawn to; None leaves them free.
        strength: how hard: ``strength / 2 (n - rate)^2`` for each neuron and sample, averaged over both, is added to
            the loss that is differentiated, though not to the one reported (Nowotny, Turner & Knight 2025).

    Raises:
        InputError: a negative rate or strength.
    """

    rate: float | None = None
    strength: float = 1e-3
    about: ClassVar[About] = About(
        paper="Wunderlich & Pehle 2021, Event-based backpropagation can compute exact gradients for spiking neural networks",
        memory="one time and one current for each spike, whatever T is",
        time="by spikes: each costs its fan-out, forward and back; steps without spikes cost nothing",
        needs="Linear or DelayedLinear without bias, CuBaLIF (learn=()), a last LI; input of 0 and 1",
        exact="losses on the membrane of an LI or on spike times; spikes neither appear nor vanish in it",
    )

    def __post_init__(self) -> None:
        """Check the options."""
        if (self.rate is not None and not 0 <= self.rate < math.inf) or not 0 <= self.strength < math.inf:
            raise InputError(f"rate and strength must be at least 0, got {self.rate!r} and {self.strength!r}")

    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> RuleResult:
        """As in :meth:`Rule.backward`; ``x`` holds spikes ``[T, B, N]``."""
        run = event_driven(net, x)
        if isinstance(loss, TimeLoss):
            if not run.reads_spikes:
                raise InputError(f"{loss.name} reads spikes; make the last layer a CuBaLIF, or use max_membrane")
            times = first_times(run.spikes[-1], x.shape[0] * net.dt)
            value = cross_entropy(loss.time_logits(times), y)
        else:
            value = loss(run.output, y)
        total = value if self.rate is None else value + self._drawn(run)
        if total.requires_grad:
            total.backward()
        return RuleResult(value.detach(), run.output.detach())

    def _drawn(self, run: EventRun) -> Tensor:
        assert self.rate is not None
        total = run.output.new_zeros(())
        for spikes in run.spikes[: -1 if run.reads_spikes else None]:
            counts = to_grid(spikes, 1, 1.0, run.output.dtype)
            total = total + 0.5 * self.strength * (counts - self.rate).square().mean()
        return total
