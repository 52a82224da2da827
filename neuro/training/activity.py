"""What the layers of a network do: spikes, spike rates, synaptic operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.layer import Population
from neuro.network import leaves
from neuro.synapses import Conv1d, Conv2d, DelayedLinear, Linear, OneToOne, SparseLinear
from neuro.synapses.fan_out import fan_out

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["ActivityCounter", "CellActivity", "SynapseActivity"]


@dataclass(frozen=True)
class CellActivity:
    """What the neurons of one layer did, on average over the samples.

    Args:
        name: layer name.
        kind: class name of the cell.
        neurons: neurons in the layer.
        spiking: False for a layer whose output is a membrane; its counts are then 0.
        spikes: spikes of the whole layer per sample.
        rate: spikes per neuron and step.
        rate_hz: spikes per neuron and second.
        active: share of (sample, neuron) pairs with at least one spike.
    """

    name: str
    kind: str
    neurons: int
    spiking: bool
    spikes: float
    rate: float
    rate_hz: float
    active: float


@dataclass(frozen=True)
class SynapseActivity:
    """What one layer of synapses had to do, on average per sample.

    Args:
        name: layer name.
        kind: class name of the layer.
        events: spikes that arrived. A whole number above 1 in one step counts that often; an
            input that is not whole counts once per step in which it is not zero.
        synops: synaptic operations, the sum over these events of their fan-out.
        macs: multiply-accumulates of a dense layer of this shape over the same steps.
    """

    name: str
    kind: str
    events: float
    synops: float
    macs: float


class _Tally:
    """Running sums over ``[T, B, ...]`` values: the output of a cell or the input of synapses."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.shape: tuple[int, ...] = ()
        self.steps = self.samples = 0
        self.events = self.active = self.synops = self.macs = 0.0
        self.whole = True
        self._fired: Tensor | None = None  # [B, ...], in this run of the network

    def see(self, values: Tensor) -> None:
        values = values.detach()
        self.shape = tuple(values.shape[2:])
        self.steps += values.shape[0] * values.shape[1]
        whole = bool((values == values.round()).all())
        self.whole &= whole
        nonzero = values != 0
        events = (values.abs() if whole else nonzero).sum((0, 1), dtype=torch.float64)
        self.events += float(events.sum())
        fired = nonzero.any(0)
        self._fired = fired if self._fired is None else self._fired | fired
        weights = fan_out(self.layer, self.shape)
        if weights is not None:
            self.synops += float((events.cpu() * weights).sum())
            self.macs += float(weights.sum()) * values.shape[0] * values.shape[1]

    def close(self) -> None:
        """The network has run: on a cycle, a layer has been seen several times by now."""
        if self._fired is not None:
            self.active += float(self._fired.sum())
            self.samples += self._fired.shape[0]
            self._fired = None

    def cell(self, name: str) -> CellActivity:
        neurons = torch.Size(self.shape).numel()
        spikes = self.events * self.whole
        return CellActivity(
            name=name,
            kind=type(self.layer).__name__,
            neurons=neurons,
            spiking=self.whole,
            spikes=spikes / self.samples,
            rate=spikes / (self.steps * neurons),
            rate_hz=spikes / (self.steps * neurons * float(self.layer.dt)),  # type: ignore[arg-type]
            active=self.active * self.whole / (self.samples * neurons),
        )

    def synapse(self, name: str) -> SynapseActivity:
        return SynapseActivity(
            name=name,
            kind=type(self.layer).__name__,
            events=self.events / self.samples,
            synops=self.synops / self.samples,
            macs=self.macs / self.samples,
        )


class ActivityCounter:
    """Counts spikes and synaptic operations of every layer while the network runs.

    Use it around as many batches as you like; one that saw none has nothing to report.

    >>> import neuro
    >>> net = neuro.Sequential(neuro.Linear(3, 2), neuro.LIF(2))
    >>> counter = ActivityCounter(net)
    >>> with counter.watch():
    ...     out, _ = net(torch.ones(4, 5, 3))
    >>> counter.synapses()[0].events, counter.synapses()[0].synops, counter.synapses()[0].macs
    (12.0, 24.0, 24.0)
    """

    def __init__(self, net: Network) -> None:
        self._net = net
        self._layers = dict(leaves(net))
        self._cells = {name: _Tally(layer) for name, layer in leaves(net) if isinstance(layer, Population)}
        self._synapses = {
            name: _Tally(layer)
            for name, layer in leaves(net)
            if isinstance(layer, Linear | SparseLinear | OneToOne | Conv1d | Conv2d | DelayedLinear)
        }

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Count everything that runs inside the block."""
        with ExitStack() as hooks:
            for name, tally in self._cells.items():
                hooks.enter_context(self._layers[name].register_forward_hook(_output_of(tally)))
            for name, tally in self._synapses.items():
                hooks.enter_context(self._layers[name].register_forward_pre_hook(_input_of(tally)))
            hooks.enter_context(self._net.register_forward_hook(self._close))
            yield

    def _close(self, *_: Any) -> None:
        for tally in (*self._cells.values(), *self._synapses.values()):
            tally.close()

    def cells(self) -> tuple[CellActivity, ...]:
        """One row per layer of neurons, in order.

        Raises:
            InputError: nothing ran inside :meth:`watch` yet.
        """
        return tuple(_seen(tally).cell(name) for name, tally in self._cells.items())

    def synapses(self) -> tuple[SynapseActivity, ...]:
        """One row per layer with weights, in order.

        Raises:
            InputError: nothing ran inside :meth:`watch` yet.
        """
        return tuple(_seen(tally).synapse(name) for name, tally in self._synapses.items())


def _seen(tally: _Tally) -> _Tally:
    if tally.samples == 0:
        raise InputError("no sample has run; call the network inside `with counter.watch():` first")
    return tally


def _output_of(tally: _Tally) -> Any:
    return lambda _layer, _arguments, output: tally.see(output[0])


def _input_of(tally: _Tally) -> Any:
    return lambda _layer, arguments: tally.see(arguments[0])
