"""Streams whose labels change their meaning, and what a learner that meets them is judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name

__all__ = ["SHIFTS", "LabelShift", "after_shifts", "recovery", "shifted"]


def _swap(meaning: Tensor, draw: torch.Generator) -> Tensor:
    """Two classes exchange their labels."""
    pair, made = torch.randperm(len(meaning), generator=draw)[:2], meaning.clone()
    made[pair] = meaning[pair.flip(0)]
    return made


def _permute(meaning: Tensor, draw: torch.Generator) -> Tensor:
    """Every class gets the label of another one."""
    order = torch.randperm(len(meaning), generator=draw)
    made = meaning.clone()
    made[order] = meaning[order.roll(1)]  # one cycle through all, so that none keeps its own
    return made


SHIFTS: Mapping[str, Callable[[Tensor, torch.Generator], Tensor]] = MappingProxyType(
    {"swap": _swap, "permute": _permute}
)
"""What happens to the labels at a shift."""


@dataclass(frozen=True, eq=False)
class LabelShift:
    """A stream whose labels shift.

    Args:
        labels: ``[S]`` int64, what a learner is told.
        starts: samples at which a new meaning of the labels begins, ascending, the first not counted.
    """

    labels: Tensor
    starts: tuple[int, ...]


def shifted(
    labels: Tensor,
    every: int | tuple[int, int] | None,
    *,
    classes: int,
    kind: str = "swap",
    season: int = 1000,
    seed: int = 0,
) -> LabelShift:
    """Labels whose meaning changes every so many samples.

    Args:
        labels: ``[S]`` int64, the true classes in the order of the stream.
        every: samples between shifts; two numbers take turns (a second-order shift), each for ``season`` samples;
            None never shifts.
        classes: number of classes, 2 or more.
        kind: a name of :data:`SHIFTS`.
        season: samples until the other number of a pair counts.
        seed: of the shifts.

    Raises:
        InputError: an unknown kind; numbers below 1; a class out of range.

    >>> shifted(torch.tensor([0, 1, 0, 1]), 2, classes=2)
    LabelShift(labels=tensor([0, 1, 1, 0]), starts=(2,))
    """
    if kind not in SHIFTS:
        raise unknown_name("shift", kind, SHIFTS)
    pace = (every, every) if not isinstance(every, tuple) else every
    if any(n is not None and n < 1 for n in pace) or season < 1:
        raise InputError(f"every and season must be at least 1, got {every} and {season}")
    if classes < 2 or labels.dim() != 1 or bool(((labels < 0) | (labels >= classes)).any()):
        raise InputError(f"labels must be [S], each from 0 to {classes - 1}, of at least 2 classes")
    draw = torch.Generator().manual_seed(seed)
    meaning, made, starts = torch.arange(classes), labels.clone(), []
    start = 0
    while start < len(labels):
        wait = pace[start // season % 2]
        end = len(labels) if wait is None else min(start + wait, len(labels))
        made[start:end] = meaning[labels[start:end]]
        if end < len(labels):
            starts.append(end)
            meaning = SHIFTS[kind](meaning, draw)
        start = end
    return LabelShift(made, tuple(starts))


def after_shifts(right: Tensor, starts: tuple[int, ...], window: int) -> float:
    """Accuracy over the ``window`` samples after each shift; nan where nothing shifts.

    Args:
        right: ``[S]`` bool, whether each prediction was right.
        starts: of the new meanings.
        window: samples.
    """
    parts = [right[start : start + window] for start in starts]
    return float(torch.cat(parts).double().mean()) if parts else float("nan")


def recovery(right: Tensor, starts: tuple[int, ...], *, window: int = 50, share: float = 0.9) -> float:
    """Median number of samples after a shift until the accuracy of the last ``window`` is ``share`` of that before it.

    A shift that is followed by the next one before that counts with the whole time between them; nan where nothing shifts.

    Args:
        right: ``[S]`` bool, whether each prediction was right.
        starts: of the new meanings.
        window: samples.
        share: of the accuracy before, from 0 to 1.
    """
    times = []
    for start, end in pairwise((*starts, len(right))):
        before = float(right[max(0, start - window) : start].double().mean())
        hits = right[start:end].double().cumsum(0)
        shorter = min(window, end - start)
        means = (hits[shorter - 1 :] - torch.cat([hits.new_zeros(1), hits])[: len(hits) - shorter + 1]) / shorter
        reached = (means >= share * before).nonzero()
        times.append(shorter + int(reached[0]) if len(reached) else end - start)
    return float(torch.tensor(times).double().median()) if times else float("nan")
