"""The plain definition of a layer in continuous time, in torch, differentiated by autograd.

Slow and for tests: V is the sum over all arrivals and resets so far, each spike time a root of it found by bisection.
One Newton step with the slope held constant then makes the time a differentiable function of all that V is made of
(the implicit function theorem).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from neuro.kernels.eventdriven.spike_times import SpikeTimes

__all__ = ["membrane_reference", "response", "spiking_layer_reference"]

Arrival = tuple[Tensor, Tensor]  # when (0-d), weight (0-d)


def response(d: Tensor, tau_mem: float, tau_syn: float) -> Tensor:
    """What a unit jump of the current makes of the membrane ``d`` seconds later (any shape, at least 0)."""
    if tau_mem == tau_syn:
        return d / tau_mem * torch.exp(-d / tau_mem)
    return tau_syn / (tau_mem - tau_syn) * (torch.exp(-d / tau_mem) - torch.exp(-d / tau_syn))


@dataclass
class _Neuron:
    """One neuron: what has arrived so far or will, and its own spikes."""

    tau_mem: float
    tau_syn: float
    theta: float
    v_reset: float
    arrivals: list[Arrival] = field(default_factory=list)
    spikes: list[Tensor] = field(default_factory=list)

    def v(self, t: Tensor) -> Tensor:
        """The membrane at ``t`` (0-d), differentiable in all before."""
        at, weight = (torch.stack(part) for part in zip(*self.arrivals, strict=True))
        d = t - at
        made = weight * response(d, self.tau_mem, self.tau_syn)
        total = torch.where(d.detach() >= 0, made, 0.0).sum()
        for s in self.spikes:
            total = total - (self.theta - self.v_reset) * torch.exp((s - t) / self.tau_mem)
        return total

    @torch.no_grad()
    def i(self, t: float) -> float:
        """The current at ``t`` seconds."""
        here = [(float(at), float(weight)) for at, weight in self.arrivals if at <= t]
        return sum(weight * math.exp((at - t) / self.tau_syn) for at, weight in here)

    @torch.no_grad()
    def next_spike(self, after: float, end: float) -> float:
        """The first time after ``after`` that V is above theta, to rounding; inf if that is not before ``end``."""
        edges = sorted({after, end, *(float(at) for at, _ in self.arrivals if after < at < end)})
        for low, high in pairwise(edges):
            current = self.i(low)
            if current <= self.theta:
                continue
            last = min(high, low + self.tau_syn * math.log(current / self.theta))
            if self.above(last):
                while low < (middle := 0.5 * (low + last)) < last:
                    low, last = (low, middle) if self.above(middle) else (middle, last)
                return last
        return math.inf

    def above(self, t: float) -> bool:
        """Whether the membrane is above the threshold at ``t`` seconds."""
        return float(self.v(torch.tensor(t, dtype=torch.float64)).detach()) > self.theta

    def spike(self, t: float) -> Tensor:
        """Spike at ``t``; the time, differentiable."""
        at = torch.tensor(t, dtype=torch.float64)
        slope = (self.i(t) - self.theta) / self.tau_mem
        time = at - (self.v(at) - self.theta) / slope
        self.spikes.append(time)
        return time


def _delay(delay: Tensor | None, j: int, i: int, like: Tensor) -> Tensor:
    if delay is None:
        return like.new_zeros(())
    return delay[i] if delay.dim() == 1 else delay[j, i]


def spiking_layer_reference(
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
) -> SpikeTimes:
    """As :func:`neuro.kernels.eventdriven.spiking_layer.spiking_layer`: ``weight [O, I]`` float64, times in seconds."""
    times: list[Tensor] = []
    neurons: list[int] = []
    start = [0]
    for b in range(spikes.batch):
        layer = [_Neuron(tau_mem, tau_syn, v_threshold, v_reset) for _ in range(weight.shape[0])]
        for s in range(int(spikes.start[b]), int(spikes.start[b + 1])):
            i = int(spikes.neuron[s])
            for j, neuron in enumerate(layer):
                neuron.arrivals.append((spikes.time[s] + _delay(delay, j, i, spikes.time), weight[j, i]))
        ahead = [n.next_spike(0.0, end) for n in layer]
        while (now := min(ahead)) <= end:
            j = ahead.index(now)
            times.append(layer[j].spike(now))
            neurons.append(j)
            ahead[j] = layer[j].next_spike(now, end)
            for k, neuron in enumerate(layer if recurrent is not None else ()):
                assert recurrent is not None
                neuron.arrivals.append((times[-1] + recurrent_delay, recurrent[k, j]))
                ahead[k] = neuron.next_spike(max(now, float(neuron.spikes[-1].detach()) if neuron.spikes else 0.0), end)
        start.append(len(times))
    time = torch.stack(times) if times else torch.zeros(0, dtype=torch.float64)
    made = (torch.tensor(neurons, dtype=torch.int32), torch.tensor(start), torch.ones(len(times), dtype=torch.float64))
    return SpikeTimes(time, *made, weight.shape[0])


def membrane_reference(
    spikes: SpikeTimes,
    weight: Tensor,
    *,
    steps: int,
    dt: float,
    tau_mem: float,
    tau_syn: float | None = None,
    delay: Tensor | None = None,
) -> Tensor:
    """As :func:`neuro.kernels.eventdriven.membrane.membrane`: ``weight [O, I]``, times in seconds, ``[T, B, O]``."""
    edges = dt * torch.arange(steps + 1, dtype=torch.float64)
    out = [[edges.new_zeros(steps) for _ in weight] for _ in range(spikes.batch)]
    for s, b in enumerate(spikes.sample.tolist()):
        i = int(spikes.neuron[s])
        for j in range(weight.shape[0]):
            at = spikes.time[s] + _delay(delay, j, i, spikes.time)
            so_far = _area((edges - at).clamp(min=0.0), tau_mem, tau_syn)
            out[b][j] = out[b][j] + weight[j, i] * so_far.diff() / dt
    return torch.stack([torch.stack(row) for row in out]).permute(2, 0, 1)


def _area(d: Tensor, tau_mem: float, tau_syn: float | None) -> Tensor:
    """The integral of the membrane from a unit arrival to ``d`` seconds later."""
    whole = 1 - torch.exp(-d / tau_mem)
    if tau_syn is None:
        return tau_mem * whole
    if tau_syn == tau_mem:
        return tau_mem * whole - d * torch.exp(-d / tau_mem)
    return tau_syn / (tau_mem - tau_syn) * (tau_mem * whole - tau_syn * (1 - torch.exp(-d / tau_syn)))
