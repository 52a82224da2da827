"""Matrices that never learn: functions of a seed, so there is nothing to store and nothing to lose on resume."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name

__all__ = ["BASES", "basis", "uniform"]


def uniform(seed: int, name: str, rows: int, columns: int, like: Tensor) -> Tensor:
    """``[rows, columns]``, uniform within ``sqrt(6 / columns)`` (He et al. 2015), of ``seed`` and ``name`` alone.

    >>> torch.equal(uniform(0, "1", 3, 4, torch.ones(1)), uniform(0, "1", 3, 4, torch.ones(1)))
    True
    """
    drawn = torch.rand(rows, columns, generator=_generator(seed, name), dtype=torch.float64)
    return ((2 * drawn - 1) * math.sqrt(6 / columns)).to(like)


def _generator(seed: int, name: str) -> torch.Generator:
    words = np.random.SeedSequence([seed, *name.encode()]).generate_state(2)
    return torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))


def _cosine(rows: int, columns: int, _seed: int, _name: str) -> Tensor:
    """Rows 1 to ``rows`` of the DCT-II, exactly orthogonal; row 0 is constant and tells classes nothing."""
    frequency = torch.arange(1, rows + 1, dtype=torch.float64)[:, None]
    position = torch.arange(columns, dtype=torch.float64) + 0.5
    return torch.cos(math.pi / columns * frequency * position) * math.sqrt(2.0)


def _square(rows: int, columns: int, seed: int, name: str) -> Tensor:
    made = _cosine(rows, columns, seed, name)
    return torch.where(made >= 0, 1.0, -1.0).to(torch.float64)


def _random(rows: int, columns: int, seed: int, name: str) -> Tensor:
    return torch.randn(rows, columns, generator=_generator(seed, name), dtype=torch.float64)


BASES: Mapping[str, Callable[[int, int, int, str], Tensor]] = MappingProxyType(
    {"cosine": _cosine, "square": _square, "random": _random}
)
"""Label vectors of LLS by name: (classes, features, seed, name of layer) -> ``[classes, features]`` float64."""


def basis(kind: str, classes: int, features: int, seed: int, name: str, like: Tensor) -> Tensor:
    """One fixed vector per class, ``[classes, features]``.

    >>> made = basis("cosine", 4, 9, 0, "1", torch.ones(1, dtype=torch.float64))
    >>> bool(((made @ made.t() / 9) - torch.eye(4)).abs().max() < 1e-12)
    True

    Raises:
        InputError: an unknown kind; fewer features than the classes can be told apart by.
    """
    if kind not in BASES:
        raise unknown_name("basis", kind, BASES)
    if classes >= features:
        raise InputError(
            f"layer {name!r} has {features} features for {classes} classes; label vectors need more features than "
            "classes: widen the layer, pool less, or use rule='drtp'"
        )
    return BASES[kind](classes, features, seed, name).to(like)
