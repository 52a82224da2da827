"""Weights scaled on data so that every layer is alive before training starts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from neuro.errors import InputError
from neuro.kernels.compiler.reference import torch_function
from neuro.layer import Population, StatefulLayer
from neuro.neurons import Cell
from neuro.synapses import Conv2d, DelayedLinear, Linear

if TYPE_CHECKING:
    from neuro.network import Sequential

__all__ = ["calibrate"]

_log = logging.getLogger(__name__)

_SATURATED = 0.5
"""Spikes per neuron and step above which a layer says little and learns badly."""


@torch.no_grad()
def calibrate(net: Sequential, x: Tensor, *, drive: float = 0.5) -> Sequential:
    """Scale each layer's weights, in place and from the input upwards, so that its neurons are driven well.

    With ``r = 1`` one step adds only ``dt / tau`` of a current to the membrane, so weights
    initialised for ordinary networks hardly ever reach the threshold. Here the membrane that
    the weights would cause if no spike reset it is measured on data, and the weights are
    scaled until its root mean square over time, samples and neurons is ``drive`` times the
    distance from rest to threshold (1 V in a layer that puts out its membrane). The target is
    that of Rossbroich, Gygax & Zenke 2022, "Fluctuation-driven initialization for spiking
    neural network training" (their xi is 1 / drive); measuring instead of assuming Poisson
    input is the idea of LSUV (Mishkin & Matas 2016). Biases stay as they are. Deterministic.

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
    synapses: list[nn.Module] = []
    for name, layer in net.layers.items():
        if not isinstance(layer, Population):
            synapses.append(layer)
            continue
        # What a parametrisation makes of a weight has the scale that it gives.
        weighted = [s for s in synapses if isinstance(s, Linear | Conv2d | DelayedLinear) and not is_parametrized(s)]
        cell = net.cells.get(name)  # None for a liquid cell: it has no threshold to drive it to
        if weighted and cell is not None:
            _scale(cell, synapses, weighted[-1].weight, x, drive)
        x, _ = layer(_run(synapses, x))
        if cell is not None:
            _report(name, cell, x)
        synapses = []
    return net


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
