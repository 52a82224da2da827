"""Neurons that never spike or hardly ever rest, and where a network stops being finite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neuro.layer import Population
from neuro.network import leaves

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["SATURATED", "LayerHealth", "SpikeWatch", "first_fault"]

SATURATED = 0.95
"""A neuron that spikes in at least this share of all steps says nothing any more."""

_MANY = 0.75
"""Share of dead or saturated neurons of a layer from which on there is a warning; sparse codes leave some silent."""


@dataclass(frozen=True)
class LayerHealth:
    """How many neurons of a layer take part.

    Args:
        name: of the layer.
        kind: class of the cell.
        neurons: in the layer.
        dead: that spiked in no step of any sample.
        saturated: that spiked in :data:`SATURATED` of all steps or more.
    """

    name: str
    kind: str
    neurons: int
    dead: int
    saturated: int

    def warning(self) -> str | None:
        """What is wrong and what helps; None where too few neurons are concerned.

        >>> LayerHealth("1", "LIF", 8, 1, 0).warning() is None
        True
        """
        if self.dead >= _MANY * self.neurons:
            return (
                f"layer {self.name!r} ({self.kind}): {self.dead} of {self.neurons} neurons never spiked on the validation "
                "split and learn next to nothing; lower lr, lower v_threshold, call neuro.calibrate on the "
                "network first, or hold a rate by regularisers=[SpikeRate(low=...)] (--rate-low)"
            )
        if self.saturated >= _MANY * self.neurons:
            return (
                f"layer {self.name!r} ({self.kind}): {self.saturated} of {self.neurons} neurons spiked in nearly every step of "
                "the validation split and carry no signal; lower lr, raise v_threshold, give them a refractory "
                "period, or bound the rate by regularisers=[SpikeRate(high=...)] (--rate-high)"
            )
        return None


class SpikeWatch:
    """Counts the spikes of every neuron while the network runs inside :meth:`watch`.

    Layers whose output is not made of spikes (leaky integrators) are left out.

    >>> import neuro
    >>> net = neuro.Sequential(neuro.OneToOne(3), neuro.IF(3))
    >>> watch = SpikeWatch(net)
    >>> with watch.watch():
    ...     _ = net(torch.tensor([0.0, 1.0, 1e6]).expand(50, 2, 3))
    >>> [(row.name, row.dead, row.saturated) for row in watch.layers()]
    [('1', 2, 1)]
    """

    def __init__(self, net: Network) -> None:
        self._populations = {name: m for name, m in leaves(net) if isinstance(m, Population)}
        self._spikes: dict[str, Tensor | None] = dict.fromkeys(self._populations)
        self._seen = dict.fromkeys(self._populations, 0)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Count whatever runs inside the block."""
        with ExitStack() as hooks:
            for name, population in self._populations.items():
                hooks.enter_context(population.register_forward_hook(self._counter(name)))
            yield

    def _counter(self, name: str) -> Any:
        def count(_layer: Any, _arguments: Any, result: tuple[Tensor, Any]) -> None:
            z = result[0].detach()
            before = self._spikes[name]
            if self._seen[name] == 0 and not bool(((z == 0) | (z == 1)).all()):
                self._seen[name] = -1
            if self._seen[name] >= 0:
                spikes = z.sum((0, 1))
                self._spikes[name] = spikes if before is None else before + spikes
                self._seen[name] += z.shape[0] * z.shape[1]

        return count

    def layers(self) -> tuple[LayerHealth, ...]:
        """A row for each spiking layer that ran, in order."""
        rows = []
        for name, population in self._populations.items():
            spikes, seen = self._spikes[name], self._seen[name]
            if spikes is None or seen <= 0:
                continue
            dead, saturated = int((spikes == 0).sum()), int((spikes >= SATURATED * seen).sum())
            rows.append(LayerHealth(name, type(population).__name__, spikes.numel(), dead, saturated))
        return tuple(rows)


@torch.no_grad()
def first_fault(net: Network, x: Tensor) -> str:
    """Where on the way from ``x`` ``[T, B, ...]`` to the output the first value that is not finite appears, in words.

    Weights are looked at before outputs, so that a damaged layer is named and not the one after it.
    """
    if not bool(torch.isfinite(x).all()):
        step, sample = (int(n) for n in (~torch.isfinite(x)).nonzero()[0][:2])
        return f"the input is {x[step, sample].flatten().sum()} at step {step} of sample {sample} of the batch"
    for name, parameter in net.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return f"{name} is not finite any more"
    if (inside := _first_output(net, x)) is not None:
        return inside
    return "every layer is finite forward, so it is the loss or the way back from it"


def _first_output(net: Network, x: Tensor) -> str | None:
    found: list[str] = []

    def look(name: str, layer: Any) -> Any:
        def hook(_layer: Any, _arguments: Any, result: Any) -> None:
            out = result[0] if isinstance(result, tuple) else result
            if not found and not bool(torch.isfinite(out).all()):
                step, sample = (int(n) for n in (~torch.isfinite(out)).nonzero()[0][:2])
                found.append(
                    f"layer {name!r} ({type(layer).__name__}) is the first whose output is not finite, at step {step} of "
                    f"sample {sample} of the batch"
                )

        return hook

    with ExitStack() as hooks:
        for name, layer in leaves(net):
            hooks.enter_context(layer.register_forward_hook(look(name, layer)))
        net(x)
    return found[0] if found else None
