"""What encoders and decoders accept, said in one place."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuro.errors import InputError

__all__ = ["generator", "need_lengths", "need_positive", "need_range", "need_sequence", "need_steps"]


def need_range(x: Tensor, low: float, high: float, what: str, cure: str) -> None:
    """Refuse ``x`` (any shape) of whole numbers, or with a value outside ``[low, high]``.

    Raises:
        InputError: names the value and the ``cure``.
    """
    if not x.is_floating_point():
        raise InputError(f"{what} must be floating point, got {x.dtype}; {cure}")
    if x.numel() == 0:
        return
    least, most = (float(bound) for bound in x.detach().aminmax())  # both NaN if any value is
    if not (least >= low and most <= high and math.isfinite(most)):
        seen = least if least < low else most
        limits = f"in [{low:g}, {high:g}]" if math.isfinite(high) else f"finite and at least {low:g}"
        raise InputError(f"{what} must be {limits}, got {seen:g}; {cure}")


def need_positive(name: str, value: float) -> None:
    """Refuse what is not a positive finite number.

    Raises:
        InputError: names the value.
    """
    if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
        raise InputError(f"{name} must be a positive number, got {value}")


def need_steps(name: str, value: int, least: int = 1) -> None:
    """Refuse what is not a whole number (of time steps) from ``least`` on.

    Raises:
        InputError: names the value.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} must be a whole number from {least} on, got {value!r}")


def need_sequence(z: Tensor, what: str, least: int = 1) -> None:
    """Refuse a sequence ``[T, ...]`` of fewer than ``least`` steps, or of whole numbers.

    Raises:
        InputError: names shape and dtype.
    """
    if z.dim() < 2 or z.shape[0] < least or not z.is_floating_point():
        steps = f"at least {least} step{'s' if least > 1 else ''}"
        raise InputError(f"{what} reads a floating-point [T, B, ...] of {steps}, got {list(z.shape)} {z.dtype}")


def need_lengths(lengths: Tensor, steps: int, samples: int, least: int = 0) -> Tensor:
    """``lengths`` ``[B]`` as int64, refused unless it has ``samples`` whole numbers of steps from ``least`` to ``steps``.

    Raises:
        InputError: names dtype, shape or the value.
    """
    if not isinstance(lengths, Tensor) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise InputError(f"lengths must be a tensor of whole numbers, got {getattr(lengths, 'dtype', type(lengths))}")
    if tuple(lengths.shape) != (samples,):
        raise InputError(f"lengths must be [{samples}], one per sample of the batch, got {list(lengths.shape)}")
    if samples:
        low, high = (int(bound) for bound in lengths.aminmax())
        if low < least or high > steps:
            wrong = low if low < least else high
            raise InputError(f"lengths must be in {least}..{steps}, the steps of the sequence, got {wrong}")
    return lengths.long()


def generator(seed: int | torch.Generator, device: torch.device) -> torch.Generator:
    """What random numbers are drawn from: ``seed`` itself, or a fresh generator on ``device``.

    Raises:
        InputError: neither a generator nor a whole number.
    """
    if isinstance(seed, torch.Generator):
        return seed
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise InputError(f"seed must be a whole number or a torch.Generator, got {seed!r}")
    return torch.Generator(device).manual_seed(seed)
