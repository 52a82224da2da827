"""Normalisations folded into weights and thresholds: an equal network for inference and export."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from neuro.errors import InputError
from neuro.layer import StatefulLayer
from neuro.network import Network, Sequential, leaves
from neuro.neurons import Cell, Hoyer
from neuro.neurons.membrane_norm import MPBN
from neuro.synapses import (
    AvgPool2d,
    Conv1d,
    Conv2d,
    DelayedLinear,
    Dropout,
    Linear,
    MaxPool2d,
    OneToOne,
    SparseLinear,
    SumPool2d,
)
from neuro.synapses.normalisation import BNTT, TEBN, BatchNorm

__all__ = ["fold"]

_WEIGHTED = (Linear, SparseLinear, DelayedLinear, OneToOne, Conv1d, Conv2d)


N = TypeVar("N", bound=Network)


@torch.no_grad()
def fold(net: N) -> N:
    """A copy of ``net`` for inference without normalisations, equal to ``net.eval()`` in real numbers.

    *Currents* (``BatchNorm``, ``TDBN``): ``y = g x + h`` behind weights ``w`` and bias ``b`` is the weights ``g w`` with bias
    ``g b + h``, for either sign of ``g``; a sum pooling between them shares ``h`` among its window, means let both
    through, maxima where ``g > 0``. ``TEBN`` and ``BNTT`` fold where all their steps have the same ``g`` and ``h``.
    ``Dropout`` goes, ``Hoyer`` becomes ``LIF`` with the thresholds it has learned. *Membranes* (``MPBN``): the threshold becomes
    ``(v_threshold - h) / g``; for negative ``g``, which turns the comparison around, that neuron's incoming weights,
    ``v_leak``, ``v_reset`` and threshold all change sign (and with them its membrane). In floating point a membrane may
    round otherwise.

    Args:
        net: its layers stay as they are; parametrised weights that are folded into are fixed as used.

    Returns:
        The folded network, in evaluation mode, layers of the same names less the normalisations and dropouts.

    Raises:
        InputError: a normalisation that no weights stand before; one of negative gain behind a maximum; one that differs
            from step to step; a membrane's gain of zero, or a threshold that is not above rest and reset, so that the neuron fires without input.

    >>> import neuro
    >>> net = neuro.Sequential(neuro.Linear(4, 3), neuro.BatchNorm(3), neuro.LIF(3))
    >>> list(neuro.fold(net).layers)
    ['0', '2']
    """
    held = [id(layer) for _, layer in leaves(net)]
    if len(set(held)) != len(held):
        raise InputError("a layer stands in this network twice, so what is folded into it would act twice")
    folded = _folded(copy.deepcopy(net), "")
    assert isinstance(folded, type(net))
    return folded.eval()


def _folded(net: Network, prefix: str) -> Network:
    if isinstance(net, Sequential):
        return _chain(net, prefix)
    parts: dict[str, nn.Module] = {}
    for name, layer in net.layers.items():
        if isinstance(layer, BatchNorm | TEBN | BNTT | MPBN):
            raise InputError(
                f"layer {prefix + name!r} ({type(layer).__name__}) cannot be folded: it stands alone in a "
                f"{type(net).__name__}; put it into a Sequential, behind the weights it is to be folded into"
            )
        parts[name] = _folded(layer, f"{prefix}{name}.") if isinstance(layer, Network) else layer
    arrangement = {k: v for k, v in net.arrangement().items() if k != "layers"}
    return type(net).assemble(parts, **arrangement)


def _chain(net: Sequential, prefix: str) -> Sequential:
    made: dict[str, nn.Module] = {}
    for key, layer in net.layers.items():
        name = prefix + key
        if isinstance(layer, BatchNorm | TEBN | BNTT):
            _absorb(made, name, layer, *_same_each_step(name, layer))
        elif isinstance(layer, MPBN):
            cell, sign = _cell(name, layer)
            if bool((sign < 0).any()):
                _absorb(made, name, layer, sign, torch.zeros_like(sign))
            made[key] = cell
        elif isinstance(layer, Hoyer):
            made[key] = layer.to_cell()
        elif not isinstance(layer, Dropout):
            made[key] = _folded(layer, f"{name}.") if isinstance(layer, Network) else layer
    if not made:
        raise InputError("nothing is left of a network of normalisations and dropouts alone")
    return Sequential(made)


def _same_each_step(name: str, layer: BatchNorm | TEBN | BNTT) -> tuple[Tensor, Tensor]:
    """Gain and shift ``[C]``."""
    gain, shift = layer.affine()
    if bool((gain != gain[0]).any() or (shift != shift[0]).any()):
        apart = float((gain.amax(0) - gain.amin(0)).max())
        raise InputError(
            f"layer {name!r} ({type(layer).__name__}) cannot be folded: its gain differs from step to step by up to "
            f"{apart:.2g}, and weights are the same in every step; train with BatchNorm or TDBN for export"
        )
    return gain[0], shift[0]


def _absorb(made: dict[str, nn.Module], name: str, norm: nn.Module, gain: Tensor, shift: Tensor) -> None:
    """Make ``gain x + shift`` (each ``[C]``) part of the weights that stand before the layer ``name``."""
    kind, window = type(norm).__name__, 1
    for key, before in reversed(made.items()):
        if isinstance(before, SumPool2d):
            window *= before.kernel_size[0] * before.kernel_size[1]
            continue
        if isinstance(before, MaxPool2d):
            _need_rising(name, kind, gain)
            continue
        if isinstance(before, AvgPool2d) and not any(before.padding):  # a shift would miss the padding
            continue
        if not isinstance(before, _WEIGHTED):
            break
        outputs = before.size[0] if isinstance(before, OneToOne) else _outputs(before)
        if outputs != gain.numel():
            raise InputError(f"layer {name!r} ({kind}) has {gain.numel()} features, but {outputs} come in")
        made[key] = _scaled(_plain(before), gain, shift / window)
        return
    known = ", ".join(k.__name__ for k in _WEIGHTED)
    raise InputError(
        f"layer {name!r} ({kind}) cannot be folded: no weights stand right before it; put it behind one of {known}"
    )


def _need_rising(name: str, kind: str, gain: Tensor) -> None:
    """A maximum becomes a minimum where the gain is negative."""
    if bool((gain <= 0).any()):
        raise InputError(
            f"layer {name!r} ({kind}) cannot be folded: a maximum stands before it, and {int((gain <= 0).sum())} of its "
            f"{gain.numel()} gains are not above zero; put it before the maximum"
        )


def _outputs(layer: nn.Module) -> int:
    if isinstance(layer, SparseLinear):
        return layer.out_features
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return weight.shape[0]


def _plain(layer: nn.Module) -> nn.Module:
    """``layer``, or for one with parametrised weights a new one that has them as used."""
    if not parametrize.is_parametrized(layer):
        return layer
    # Not remove_parametrizations: that changes the class, which a copy shares with its original.
    kind: Any = parametrize.type_before_parametrizations(layer)
    options = layer.definition()  # type: ignore[operator]
    plain: nn.Module = kind.from_definition(options) if issubclass(kind, StatefulLayer) else kind(**options)
    values = {k: v for k, v in layer.state_dict().items() if not k.startswith("parametrizations.")}
    weight: Tensor = layer.weight  # type: ignore[assignment]
    plain.to(weight).load_state_dict(values | {"weight": weight})
    return plain


def _scaled(layer: nn.Module, gain: Tensor, shift: Tensor) -> nn.Module:
    weight: Tensor = layer.weight  # type: ignore[assignment]
    rows = gain[layer.indices.long()] if isinstance(layer, SparseLinear) else gain.view(-1, *(1,) * (weight.dim() - 1))
    weight.copy_(weight.double() * rows)
    old: Tensor | None = layer.bias  # type: ignore[assignment]
    shape = layer.size if isinstance(layer, OneToOne) else gain.shape
    along = (-1, *(1,) * (len(shape) - 1))
    bias = (0.0 if old is None else old.double() * gain.view(along)) + shift.view(along).expand(shape)
    if old is not None or bool(shift.any()):
        layer.bias = nn.Parameter(bias.to(weight.dtype).clone())
    return layer


def _cell(name: str, layer: MPBN) -> tuple[Cell, Tensor]:
    """The cell that spikes as ``layer`` does in evaluation, and the sign ``[C]`` of each feature's membrane."""
    gain, shift = layer.affine()
    if bool((gain == 0).any()):
        raise InputError(
            f"layer {name!r} (MPBN) cannot be folded: {int((gain == 0).sum())} of its features have gain 0, "
            "for which no threshold stands; prune them first"
        )
    cell, along = layer.cell, (-1, *(1,) * (len(layer.size) - 1))
    sign, values = torch.sign(gain), cell.parameters_si()
    turned = sign.view(along)
    threshold = turned * (values["v_threshold"].double() - shift.view(along)) / gain.view(along)
    signed = {n: turned * values[n].double() for n in ("v_leak", "v_reset") if n in values}
    awake = torch.stack([threshold <= level for level in signed.values()]).any(0)
    if bool(awake.any()):
        raise InputError(
            f"layer {name!r} (MPBN) cannot be folded: {int(awake.sum())} of {awake.numel()} neurons would have a "
            f"threshold at or below rest or reset (the lowest: {float(threshold.min()):.3g} V) and fire without input; "
            "train with a larger v_threshold"
        )
    dtype = values["v_threshold"].dtype
    values |= {n: v.to(dtype) for n, v in signed.items()} | {"v_threshold": threshold.to(dtype)}
    options: dict[str, Any] = {"method": cell.method, "reset": cell.reset, "surrogate": cell.surrogate, **values}
    return type(cell)(cell.size, dt=cell.dt, learn=(), shared=(), **options), sign
