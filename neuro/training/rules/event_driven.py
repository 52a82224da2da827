"""A network run from spike to spike in continuous time, and what of it can be.

The network's step-by-step cells are read as what they discretise. Step k is the time from ``k dt`` to ``(k + 1) dt``; a
spike of the input is an event at its beginning. It raises the current of a CuBaLIF by ``r w_in g w``, with g what one
step of input leaves in it: ``dt / tau_syn`` (``method="euler"``) or ``1 - exp(-dt / tau_syn)``. The spikes of the
layers in between come at any time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from neuro.errors import InputError
from neuro.kernels.eventdriven.membrane import membrane
from neuro.kernels.eventdriven.spike_times import SpikeTimes, from_grid, to_grid
from neuro.kernels.eventdriven.spiking_layer import spiking_layer
from neuro.network import Network, Sequential
from neuro.neurons import LI, Cell, CuBaLIF, ExponentialSynapse
from neuro.neurons.recurrent import Recurrent
from neuro.synapses import DelayedLinear, Linear

__all__ = ["EventRun", "event_driven"]


@dataclass(frozen=True, eq=False)
class EventRun:
    """A network run from event to event.

    Args:
        output: ``[T, B, C]``, the mean membrane of an LI over each step, or how often a neuron spiked in it.
        spikes: of each spiking layer, in order.
        reads_spikes: whether the last of them is the output.
    """

    output: Tensor
    spikes: tuple[SpikeTimes, ...]
    reads_spikes: bool


@dataclass(frozen=True)
class _Stage:
    """Synapses and the neurons behind them. ``gain [O]``: volts of current for a weight of 1 and one step of input."""

    synapse: Linear | DelayedLinear
    tau_mem: float
    tau_syn: float | None
    gain: Tensor
    cell: Cell
    recurrent: Recurrent | None = None

    def weight(self) -> Tensor:
        return self._scaled(self.synapse.weight)

    def _scaled(self, weight: Tensor) -> Tensor:
        return (weight.t() * self.gain.to(weight.dtype)).t()

    def delay(self) -> Tensor | None:
        if not isinstance(self.synapse, DelayedLinear):
            return None
        if self.synapse.kind == "dendrite":
            return self.synapse.delay.unsqueeze(1).expand(self.synapse.out_features, self.synapse.in_features)
        return self.synapse.delay

    def spike(self, spikes: SpikeTimes, end: float) -> SpikeTimes:
        assert self.tau_syn is not None
        own = None if self.recurrent is None else self._scaled(self.recurrent.weight)
        return spiking_layer(
            spikes,
            self.weight(),
            tau_mem=self.tau_mem,
            tau_syn=self.tau_syn,
            end=end,
            v_threshold=_one(self.cell, "v_threshold"),
            v_reset=0.0 if self.cell.reset == "subtract" else _one(self.cell, "v_reset"),
            delay=self.delay(),
            recurrent=own,
            recurrent_delay=self.cell.dt,
        )

    def integrate(self, spikes: SpikeTimes, steps: int) -> Tensor:
        times = {"dt": self.cell.dt, "tau_mem": self.tau_mem, "tau_syn": self.tau_syn}
        return membrane(spikes, self.weight(), steps=steps, delay=self.delay(), **times)  # type: ignore[arg-type]


def _one(cell: Cell, name: str) -> float:
    value = cell.value(name).detach().double()
    if value.numel() > 1 and bool((value != value.flatten()[0]).any()):
        raise InputError(f"EventProp takes one {name} for a layer, got {value.unique().numel()} different; use BPTT")
    return float(value.flatten()[0])


def _share(tau: float, dt: float, method: str) -> float:
    """What one step of a constant input of 1 leaves in a state of time constant ``tau``."""
    return dt / tau if method == "euler" else -math.expm1(-dt / tau)


def _check_cell(name: str, cell: Cell) -> None:
    if cell.refractory is not None:
        raise InputError(f"layer {name!r} has a refractory period, which EventProp does not follow; use BPTT")
    if any(p.requires_grad for p in cell.parameters()):
        raise InputError(
            f"layer {name!r} trains {list(cell.learn)}, but EventProp gives gradients of weights and delays only; "
            "give the cell learn=(), or use BPTT"
        )
    if "v_leak" in cell.equations.parameters and bool((cell.value("v_leak") != 0).any()):
        raise InputError(f"layer {name!r} has a v_leak other than 0, where nothing decays to silence; use BPTT")


def _neurons(name: str, layer: nn.Module, synapse: Linear | DelayedLinear) -> _Stage:
    cell = layer.cell if type(layer) is Recurrent else layer  # not one whose synapses have delays
    if not isinstance(cell, CuBaLIF | LI) or (isinstance(layer, Recurrent) and isinstance(cell, LI)):
        kind = type(layer).__name__ if cell is layer else f"Recurrent({type(cell).__name__})"
        raise InputError(
            f"layer {name!r} is {kind}; EventProp takes CuBaLIF, Recurrent(CuBaLIF) and a last LI, whose "
            "membranes have a closed form between spikes; use BPTT"
        )
    _check_cell(name, cell)
    r = cell.value("r").detach().double().flatten().expand(math.prod(cell.size))
    if isinstance(cell, LI):
        tau = _one(cell, "tau")
        return _Stage(synapse, tau, None, r * _share(tau, cell.dt, cell.method), cell)
    if cell.reset == "none":
        raise InputError(f"layer {name!r} has no reset, so it would spike without end; use reset='value' or BPTT")
    tau = _one(cell, "tau_syn")
    gain = r * cell.value("w_in").detach().double().flatten() * _share(tau, cell.dt, cell.method)
    own = layer if isinstance(layer, Recurrent) else None
    return _Stage(synapse, _one(cell, "tau_mem"), tau, gain, cell, own)


def _synaptic(
    name: str, layer: nn.Module, left: list[tuple[str, nn.Module]], synapse: Linear | DelayedLinear
) -> _Stage | None:
    """An ExponentialSynapse and the LI behind it, taken from what is ``left``; None if it is something else."""
    if not isinstance(layer, ExponentialSynapse) or not left or not isinstance(left[0][1], LI):
        return None
    _check_cell(name, layer)
    stage = _neurons(*left.pop(0), synapse)
    r = stage.cell.value("r").detach().double().flatten().expand(math.prod(stage.cell.size))
    return _Stage(synapse, stage.tau_mem, _one(layer, "tau"), r, stage.cell)


def _stages(net: Network) -> Iterator[_Stage]:
    """The network in pairs of synapses and neurons.

    Raises:
        InputError: a layer that EventProp has no equations for, with the reason and the rule that takes it.
    """
    if not isinstance(net, Sequential):
        raise InputError(f"EventProp takes a neuro.Sequential, got {type(net).__name__}; use BPTT")
    left: list[tuple[str, nn.Module]] = list(net.layers.items())
    while left:
        name, synapse = left.pop(0)
        if not isinstance(synapse, Linear | DelayedLinear):
            raise InputError(
                f"layer {name!r} is {type(synapse).__name__}, where EventProp takes synapses: Linear or DelayedLinear "
                "before each layer of neurons; use BPTT"
            )
        biased = synapse.bias is not None
        if biased:
            raise InputError(f"layer {name!r} has a bias, a current without events; give it bias=False, or use BPTT")
        if not left:
            raise InputError(f"layer {name!r} ends the network; EventProp reads CuBaLIF or LI, add one, or use BPTT")
        name, neurons = left.pop(0)
        stage = _synaptic(name, neurons, left, synapse) or _neurons(name, neurons, synapse)
        if isinstance(stage.cell, LI) and left:
            raise InputError(f"layer {name!r}, an LI, must be the last: its membrane is no spike; use BPTT")
        yield stage


def event_driven(net: Network, x: Tensor) -> EventRun:
    """Run ``net`` in continuous time: exact spike times, work for each spike; differentiable in weights and delays.

    Args:
        net: :class:`neuro.Linear` or :class:`neuro.DelayedLinear` without bias, each followed by CuBaLIF,
            Recurrent(CuBaLIF) or, last, LI (with an ExponentialSynapse before it or not). Recurrent spikes arrive
            one step later, delays are not rounded.
        x: spikes ``[T, B, N]`` of 0 and 1, those of step k at ``k dt`` seconds.

    Raises:
        InputError: a layer it has no equations for; input that is not spikes.

    >>> import torch
    >>> import neuro
    >>> net = neuro.Sequential(neuro.Linear(1, 1, bias=False), neuro.CuBaLIF(1, tau_syn=0.01, learn=()))
    >>> _ = net.requires_grad_(False).layers["0"].weight.fill_(50.0)
    >>> x = torch.zeros(50, 1, 1)
    >>> x[0] = 1.0
    >>> run = event_driven(net, x)
    >>> [round(1e3 * t, 3) for t in run.spikes[0].time.tolist()]
    [6.47]
    """
    stages = list(_stages(net))
    if x.dim() != 3 or x.shape[0] < 1 or x.shape[2] != stages[0].synapse.in_features:
        raise InputError(f"x must be [T, B, {stages[0].synapse.in_features}] with T at least 1, got {list(x.shape)}")
    for before, after in pairwise(stages):
        if before.synapse.out_features != after.synapse.in_features:
            raise InputError(
                f"{before.synapse.out_features} neurons do not fit synapses for {after.synapse.in_features}"
            )
    steps, dt = x.shape[0], stages[0].cell.dt
    spikes = [from_grid(x, dt)]
    for stage in stages:
        if isinstance(stage.cell, LI):
            return EventRun(stage.integrate(spikes[-1], steps), tuple(spikes[1:]), reads_spikes=False)
        spikes.append(stage.spike(spikes[-1], steps * dt))
    return EventRun(to_grid(spikes[-1], steps, dt, x.dtype), tuple(spikes[1:]), reads_spikes=True)
