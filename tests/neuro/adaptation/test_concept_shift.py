"""Streams with shifting labels, and their measures against counts by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from neuro.adaptation import after_shifts, recovery, shifted
from neuro.errors import InputError


def classes(count: int = 600) -> Tensor:
    return torch.randint(0, 5, (count,), generator=torch.Generator().manual_seed(0))


def meanings(labels: Tensor, told: Tensor) -> list[int]:
    """What each class is called in a piece; every class must have one name."""
    found = [set(told[labels == c].tolist()) for c in range(5)]
    assert all(len(names) == 1 for names in found)
    return [names.pop() for names in found]


@pytest.mark.parametrize(("kind", "moved"), [("swap", 2), ("permute", 5)])
def test_each_shift_changes_as_many_names_as_it_says(kind: str, moved: int) -> None:
    y = classes()
    stream = shifted(y, 150, classes=5, kind=kind, seed=3)
    assert stream.starts == (150, 300, 450)
    pieces = [meanings(a, b) for a, b in zip(y.split(150), stream.labels.split(150), strict=True)]
    assert pieces[0] == [0, 1, 2, 3, 4]
    for before, after in pairwise(pieces):
        assert sorted(after) == [0, 1, 2, 3, 4]
        assert sum(a != b for a, b in zip(before, after, strict=True)) == moved


def test_the_seed_decides_and_none_never_shifts() -> None:
    y = classes()
    assert torch.equal(shifted(y, 50, classes=5, seed=1).labels, shifted(y, 50, classes=5, seed=1).labels)
    assert not torch.equal(shifted(y, 50, classes=5, seed=1).labels, shifted(y, 50, classes=5, seed=2).labels)
    still = shifted(y, None, classes=5)
    assert torch.equal(still.labels, y)
    assert still.starts == ()


def test_two_paces_take_turns() -> None:
    stream = shifted(classes(400), (100, 20), classes=5, season=100)
    assert stream.starts == (100, 120, 140, 160, 180, 200, 300, 320, 340, 360, 380)


def test_measures() -> None:
    right = torch.ones(100, dtype=torch.bool)
    right[40:50] = False
    assert after_shifts(right, (40, 80), 20) == pytest.approx(0.75)
    assert math.isnan(after_shifts(right, (), 20))
    # Within the last 10 samples 9 are right for the first time 19 samples after the shift at 40.
    assert recovery(right, (40,), window=10) == 19
    assert recovery(right, (40, 60, 80), window=10) == 10  # the median of 19, 10 and 10
    right[40:] = False
    assert recovery(right, (40,), window=10) == 60
    assert math.isnan(recovery(right, ()))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kind": "drift"}, "unknown shift 'drift'"),
        ({"every": 0}, "every and season must be at least 1, got 0"),
        ({"season": 0}, "got 50 and 0"),
        ({"classes": 3}, r"labels must be \[S\], each from 0 to 2"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        shifted(classes(), **({"every": 50, "classes": 5} | options))  # type: ignore[arg-type]
