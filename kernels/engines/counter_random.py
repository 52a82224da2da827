"""Random numbers by counting: each is a function of a seed and its place, so order and threads change nothing."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["counter_uniform"]

# The constants of splitmix64 (Steele, Lea & Flood 2014) as signed 64-bit numbers; products wrap.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64
_BITS = 24  # what a float32 can hold


def counter_uniform(seed: int, *places: Tensor) -> Tensor:
    """Uniform numbers strictly between 0 and 1, float64, in steps of 2^-24.

    Args:
        seed: any whole number that 64 bits hold.
        places: int64 tensors that broadcast; together they say which number is meant.

    >>> counter_uniform(1, torch.tensor([0, 1, 0])).tolist()[0] == counter_uniform(1, torch.tensor(0)).item()
    True
    """
    state = _mix(_word(seed))
    for place in places:
        state = _mix(state.to(place.device) ^ (place * _GOLDEN + _GOLDEN))
    uniform: Tensor = ((state >> (64 - _BITS) & (2**_BITS - 1)).double() + 0.5) / 2**_BITS
    return uniform


def _word(seed: int) -> Tensor:
    return torch.tensor((seed + 2**63) % 2**64 - 2**63, dtype=torch.int64)


def _mix(z: Tensor) -> Tensor:
    z = z + _GOLDEN
    z = (z ^ _right(z, 30)) * _FIRST
    z = (z ^ _right(z, 27)) * _SECOND
    return z ^ _right(z, 31)


def _right(z: Tensor, bits: int) -> Tensor:
    """Shift to the right that brings in zeros; torch's brings in the sign."""
    shifted: Tensor = (z >> bits) & (2 ** (64 - bits) - 1)
    return shifted
