"""Weights scaled on data so that every layer is alive before training starts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from neuro.errors import InputError
from neuro.kernels.compiler.reference import torch_function
from neuro.layer import Population, StatefulLayer
from neuro.network import Graph, Network
from neuro.network.base import Apply
from neuro.neurons import Cell
from neuro.neurons.recurrent import Recurrent
from neuro.synapses import Conv1d, Conv2d, DelayedLinear, Linear, OneToOne, SparseLinear

__all__ = ["calibrate"]

N = TypeVar("N", bound=Network)

_WEIGHTED = (Linear, SparseLinear, OneToOne, Conv1d, Conv2d, DelayedLinear)

_log = logging.getLogger(__name__)

_SATURATED = 0.5
"""Spikes per neuron and step above which a layer says little and learns badly."""


@torch.no_grad()
def calibrate(net: N, x: Tensor, *, drive: float = 0.5) -> N:
    """Scale each layer's weights, in place and from the input upwards, so that its neurons are driven well.

    With ``r = 1`` one step adds only ``dt / tau`` of a current to the membrane, so weights
    initialised for ordinary networks hardly ever reach the threshold. Here the membrane that
    the weights would cause if no spike reset it is measured on data, and the weights are
    scaled until its root mean square over time, samples and neurons is ``drive`` times the
    distance from rest to threshold (1 V in a layer that puts out its membrane). The target is
    that of Rossbroich, Gygax & Zenke 2022, "Fluctuation-driven initialization for spiking
    neural network training" (their xi is 1 / drive); measuring instead of assuming Poisson
    input is the idea of LSUV (Mishkin & Matas 2016). Biases stay as they are, and so
    does what lies on a cycle of a graph or arrives from several sides. Deterministic.

    Args:
        net: the network; its weights are changed.
        x: one batch ``[T, B, ...]`` of typical input.
        drive: fluctuation of the membrane in units of the distance to threshold.

    Returns:
        ``net``. A layer left dead or saturated is reported with ``logging.warning``.

    Raises:
        InputError: ``drive`` is not positive, or the batch is empty.

    >>> import neuro
    >>> _ = torch.manual_seed(0)
    >>> net = neuro.Sequential(neuro.Linear(20, 100), neuro.LIF(100))
    >>> x = (torch.rand(50, 16, 20) < 0.1).float()
    >>> bool(net(x)[0].any()), bool(neuro.calibrate(net, x)(x)[0].any())
    (False, True)
    """
    if not drive > 0:
        raise InputError(f"drive={drive!r} must be above 0")
    if x.numel() == 0:
        raise InputError(f"calibration needs a batch with samples in it, got shape {list(x.shape)}")
    net.run(x, None, _Calibration(drive).apply("", net))
    return net


class _Calibration:
    """The synapses between one population and the next, found as the batch runs through the network."""

    def __init__(self, drive: float) -> None:
        self.drive = drive
        # What synapses made -> those synapses, and what went into the first; the tensors stay, so no id is used twice.
        self.chains: dict[int, tuple[Tensor, list[nn.Module], Tensor]] = {}

    def apply(self, prefix: str, parent: nn.Module) -> Apply:
        fixed = parent.cyclic if isinstance(parent, Graph) else frozenset()

        def run(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], before: Any) -> tuple[Tensor, Any]:
            if isinstance(layer, Network):
                return layer.run(inputs[0], before, self.apply(f"{prefix}{name}.", layer))
            if isinstance(layer, Population):
                x = inputs[0] if name in fixed else self._driven(layer, inputs[0])
                z, after = layer(x, before)
                if (cell := _declared(layer)) is not None and name not in fixed:
                    _report(f"{prefix}{name}", cell, z)
                return z, after
            made, after = layer(*inputs, before) if isinstance(layer, StatefulLayer) else (layer(*inputs), None)
            if len(inputs) == 1 and name not in fixed:
                _, synapses, source = self.chains.get(id(inputs[0]), (None, [], inputs[0]))
                self.chains[id(made)] = (made, [*synapses, layer], source)
            return made, after

        return run

    def _driven(self, layer: Population, x: Tensor) -> Tensor:
        """The input of ``layer`` from weights scaled for it; ``x`` where no weights stand right before it."""
        _, synapses, source = self.chains.get(id(x), (None, [], x))
        # What a parametrisation makes of a weight has the scale that it gives.
        weighted = [s for s in synapses if isinstance(s, _WEIGHTED) and not is_parametrized(s)]
        cell = _declared(layer)  # None for a liquid cell: it has no threshold to drive it to
        if not weighted or cell is None:
            return x
        weight: Tensor = weighted[-1].weight
        _scale(cell, synapses, weight, source, self.drive)
        return _run(synapses, source)


def _declared(layer: Population) -> Cell | None:
    found = layer.cell if isinstance(layer, Recurrent) else layer
    return found if isinstance(found, Cell) else None


def _run(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)[0] if isinstance(layer, StatefulLayer) else layer(x)
    return x


def _scale(cell: Cell, synapses: Sequence[nn.Module], weight: Tensor, x: Tensor, drive: float) -> None:
    driven = _free_drive(cell, _run(synapses, x))
    kept = weight.clone()
    weight.zero_()
    undriven = _free_drive(cell, _run(synapses, x))  # what bias and leak do alone
    distance = -float(undriven.mean()) if _spikes(cell) else 1.0
    fluctuation = float((driven - undriven).square().mean().sqrt())
    reachable = fluctuation > 0 and distance > 0
    weight.copy_(kept * (drive * distance / fluctuation) if reachable else kept)


def _free_drive(cell: Cell, current: Tensor) -> Tensor:
    """``[T, B, *size]``: how far the membrane is above threshold if no spike resets it, or the output itself."""
    equations, parameters = cell.equations, cell.parameters_si()
    options: dict[str, Any] = {"dt": cell.dt, "method": cell.method, "reset": "none", "learn": (), **parameters}
    free = type(cell)(cell.size, **options)
    _, _, states = free.trace(current)
    observed = equations.output if equations.drive is None else equations.drive
    value: Tensor = torch_function((observed,), (*states, *parameters))(*states.values(), *parameters.values())[0]
    return value


def _spikes(cell: Cell) -> bool:
    return cell.equations.drive is not None


def _report(name: str, cell: Cell, output: Tensor) -> None:
    rate = float(output.mean()) if _spikes(cell) else None
    if rate == 0:
        _log.warning("layer %r is silent on this batch; check that its input is not zero, or lower v_threshold", name)
    elif rate is not None and rate > _SATURATED:
        _log.warning(
            "layer %r spikes in %.0f %% of all steps and will learn badly; lower drive, its bias or r, or raise "
            "v_threshold",
            name,
            100 * rate,
        )
