"""What a layer makes of its weights before it uses them: standardised, quantised, binary.

Each is a parametrisation of :mod:`torch.nn.utils.parametrize`: the layer trains the original, and
``layer.weight`` is what it makes of it. A network keeps them in its definition, files keep the originals,
and export to NIR writes the weights as used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from neuro.errors import InputError, unknown_name

__all__ = ["PARAMETRISATIONS", "binarise", "describe", "quantise", "restore", "standardise"]

Layer = TypeVar("Layer", bound=nn.Module)


def _rows(weight: Tensor) -> tuple[int, ...]:
    """Shape of one value for each output: ``[out, 1, ...]``."""
    return (weight.shape[0], *(1,) * (weight.dim() - 1))


def _need_rows(weight: Tensor, what: str) -> None:
    if weight.dim() < 2:
        raise InputError(f"{what} needs a weight [out, in, ...] with a row for each output, got {list(weight.shape)}")


class Standardised(nn.Module):
    """Each output's weights with mean 0 and variance 1 / inputs, times a learned gain (see :func:`standardise`)."""

    def __init__(self, weight: Tensor, *, eps: float = 1e-5) -> None:
        super().__init__()
        _need_rows(weight, "weight standardisation")
        if weight[0].numel() < 2:
            raise InputError("weight standardisation needs at least two weights for each output, got one")
        if not (math.isfinite(eps) and eps > 0):
            raise InputError(f"eps must be a positive number, got {eps}")
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(_rows(weight), dtype=weight.dtype, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """``[out, in, ...]`` to the same shape."""
        axes = tuple(range(1, weight.dim()))
        variance, mean = torch.var_mean(weight, dim=axes, correction=0, keepdim=True)
        return (weight - mean) * self.gain * torch.rsqrt(variance * weight[0].numel() + self.eps)

    def definition(self) -> dict[str, Any]:
        """What rebuilds it but for its values."""
        return {"eps": self.eps}


class Binary(nn.Module):
    """Periodic binary weights (see :func:`binarise`)."""

    def __init__(self, weight: Tensor, *, omega: float = 20.0, stage: int = 2) -> None:
        super().__init__()
        _need_rows(weight, "a binary weight")
        if not (math.isfinite(omega) and omega > 0):
            raise InputError(f"omega must be a positive number, got {omega}")
        if stage not in (1, 2):
            raise InputError(f"stage must be 1 (the sine itself) or 2 (its sign), got {stage}")
        self.omega, self.stage = omega, stage
        size = weight.detach().abs().flatten(1).mean(1).view(_rows(weight))
        self.scale = nn.Parameter(size.clone())

    def forward(self, weight: Tensor) -> Tensor:
        """``[out, in, ...]`` to the same shape."""
        wave = torch.sin(self.omega * weight)
        if self.stage == 1:
            return self.scale * wave
        sign = torch.where(wave.detach() >= 0, 1.0, -1.0).to(wave.dtype)
        return self.scale * (sign + (wave - wave.detach()))  # exactly the sign; the gradient is that of the wave

    def definition(self) -> dict[str, Any]:
        """What rebuilds it but for its values."""
        return {"omega": self.omega, "stage": self.stage}


class Quantised(nn.Module):
    """Weights on a grid of integers times a scale (see :func:`quantise`)."""

    def __init__(self, weight: Tensor, *, bits: int = 8, per: str = "tensor") -> None:
        super().__init__()
        if not (isinstance(bits, int) and 2 <= bits <= 16):
            raise InputError(f"bits must be a whole number from 2 to 16, got {bits}; for 1 use binarise")
        if per not in ("tensor", "output"):
            raise unknown_name("quantisation per", per, ("tensor", "output"))
        if per == "output":
            _need_rows(weight, "quantisation per output")
        self.bits, self.per = bits, per

    @torch.no_grad()
    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integers (of the weight's shape and dtype) and the scale, ``[]`` or ``[out, 1, ...]``."""
        size = weight.abs()
        largest = size.flatten(1).amax(1).view(_rows(weight)) if self.per == "output" else size.amax()
        top = 2 ** (self.bits - 1) - 1
        # Weights that are all zero have no scale of their own; any gives codes of zero.
        scale = torch.where(largest > 0, largest / top, 1.0)
        return torch.round(weight / scale).clamp(-top, top), scale

    def forward(self, weight: Tensor) -> Tensor:
        """``[out, in, ...]`` (or any shape, per tensor) to the same shape."""
        codes, scale = self.codes(weight)
        return codes * scale + (weight - weight.detach())

    def definition(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"bits": self.bits, "per": self.per}


PARAMETRISATIONS: Mapping[str, type[Standardised | Binary | Quantised]] = MappingProxyType(
    {c.__name__: c for c in (Standardised, Binary, Quantised)}
)
"""What can be made of a weight, by name."""


def _add(layer: Layer, kind: type[Standardised | Binary | Quantised], options: Mapping[str, Any]) -> Layer:
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor):
        raise InputError(f"{type(layer).__name__} has no weight")
    parametrize.register_parametrization(layer, "weight", kind(weight, **options))
    return layer


def standardise(layer: Layer, *, eps: float = 1e-5) -> Layer:
    """Standardise the weights of each output of ``layer``, in place; returns it.

    ``w = gain[o] (v - mean_o(v)) / sqrt(n var_o(v) + eps)`` over the ``n`` weights of output ``o``: scaled
    weight standardisation, Qiao et al. 2019 (arXiv:1903.10520), with the gain and the root of the fan-in of
    Brock et al. 2021 (arXiv:2101.08692, eq. 4). ``gain`` (``[out, 1, ...]``, one at first) trains.

    Raises:
        InputError: a layer without rows of weights, or with one weight a row.

    >>> import neuro
    >>> layer = standardise(neuro.Linear(100, 3))
    >>> bool(layer.weight.mean(1).abs().max() < 1e-6), round(float(layer.weight.square().sum(1)[0].detach()), 3)
    (True, 1.0)
    """
    return _add(layer, Standardised, {"eps": eps})


def binarise(layer: Layer, *, omega: float = 20.0, stage: int = 2) -> Layer:
    """One bit per weight and a scale per output, in place; returns the layer.

    ``w = scale[o] sign(sin(omega v))``, with the gradient of the sine, ``omega cos(omega v)``, straight
    through the sign: BiPer (Vargas et al., CVPR 2024). Their stage 1 trains the sine itself, stage 2 its sign.
    ``scale`` (``[out, 1, ...]``, at first the mean size of the weights) trains; the sign of zero is 1.

    Raises:
        InputError: a layer without rows of weights; ``omega`` or ``stage`` out of range.

    >>> import neuro
    >>> layer = binarise(neuro.Linear(6, 2))
    >>> [row.abs().unique().numel() for row in layer.weight]
    [1, 1]
    """
    return _add(layer, Binary, {"omega": omega, "stage": stage})


def quantise(layer: Layer, *, bits: int = 8, per: str = "tensor") -> Layer:
    """Train the weights of ``layer`` on a grid of ``2^bits - 1`` values, in place; returns the layer.

    ``w = s round(v / s)``, ``s = max|v| / (2^(bits - 1) - 1)``, symmetric around an exact zero; the gradient passes
    the rounding unchanged (straight-through; Bengio et al. 2013, Jacob et al. 2018). The scale follows the weights.

    Args:
        layer: any with a ``weight``.
        bits: 2 to 16.
        per: ``"tensor"``, one scale; or ``"output"``, one for each output.

    Raises:
        InputError: ``bits`` or ``per`` out of range; scales per output of a weight without rows.

    >>> import neuro
    >>> quantise(neuro.Linear(100, 10), bits=2).weight.unique().numel()
    3
    """
    return _add(layer, Quantised, {"bits": bits, "per": per})


def describe(layer: nn.Module) -> dict[str, Any]:
    """What was made of the weight of ``layer``, JSON-able; empty for nothing.

    Raises:
        InputError: a parametrisation that is not of neuro, or of something other than the weight.
    """
    if not parametrize.is_parametrized(layer):
        return {}
    lists: nn.ModuleDict = layer.parametrizations  # type: ignore[assignment]
    entries = []
    for name, made in ((name, made) for name, chain in lists.items() for made in chain):  # type: ignore[attr-defined]
        if name != "weight" or type(made) not in PARAMETRISATIONS.values():
            known = ", ".join(PARAMETRISATIONS)
            raise InputError(f"parametrisation {type(made).__name__} of {name!r} cannot be written (known: {known})")
        entries.append({"type": type(made).__name__, **made.definition()})
    return {"weights": entries}


def restore(layer: Layer, entries: Iterable[Mapping[str, Any]]) -> Layer:
    """The inverse of :func:`describe`: parametrise the weight of a fresh layer; returns it.

    Raises:
        InputError: an unknown parametrisation.
    """
    for entry in entries:
        if entry["type"] not in PARAMETRISATIONS:
            raise unknown_name("parametrisation", entry["type"], PARAMETRISATIONS)
        _add(layer, PARAMETRISATIONS[entry["type"]], {k: v for k, v in entry.items() if k != "type"})
    return layer
