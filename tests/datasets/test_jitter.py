"""Jittered recordings: moved and stretched within what was asked for, the same for the same random numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from neuro.datasets.events import check_events, make_events
from neuro.datasets.jitter import Jitter, JitteredDataset
from neuro.datasets.splits import FrameDataset
from neuro.datasets.store import Recordings
from neuro.errors import InputError

WIDTH, DURATION = 9, 0.1
EVENTS = make_events([10_000, 20_000, 60_000], [4, 0, 8], [0, 1, 0], [0, 0, 0])


def many(jitter: Jitter, times: int = 300) -> list[NDArray[np.void]]:
    torch.manual_seed(0)
    return [jitter(EVENTS, (WIDTH, 2), DURATION) for _ in range(times)]


def test_without_jitter_nothing_changes() -> None:
    assert all(np.array_equal(made, EVENTS) for made in many(Jitter(), 3))


def test_the_recording_stays_as_it_is() -> None:
    before = EVENTS.copy()
    many(Jitter(0.3, 0.02, 3, 0.5), 20)
    assert np.array_equal(EVENTS, before)


def test_stretch_is_within_its_limits_and_reaches_them() -> None:
    scales = np.array([made["t"][0] / 10_000 for made in many(Jitter(stretch=0.25))])
    assert scales.min() >= 0.8 - 1e-4
    assert scales.max() <= 1.25 + 1e-4
    assert scales.min() < 0.82
    assert scales.max() > 1.22
    assert all(np.ptp(made["t"] / [10_000, 20_000, 60_000]) < 1e-3 for made in many(Jitter(stretch=0.25), 9))


def test_shift_delays_all_events_alike() -> None:
    shifts = np.array([made["t"] - EVENTS["t"] for made in many(Jitter(shift=30e-3))])
    assert (np.ptp(shifts, 1) == 0).all()
    assert 0 <= shifts.min() < 2000
    assert 28_000 < shifts.max() <= 30_000


def test_columns_move_together_and_leave_at_the_edge() -> None:
    moved = many(Jitter(columns=2))
    seen = {int(x) - 4 for made in moved for x, t in zip(made["x"], made["t"], strict=True) if t == 10_000}
    assert seen == {-2, -1, 0, 1, 2}
    for made in moved:
        check_events(made, (WIDTH, 2, 1))
        by = int(made["x"][made["t"] == 10_000][0]) - 4
        assert len(made) == (3 if by == 0 else 2)


def test_rows_move_as_columns_do() -> None:
    torch.manual_seed(0)
    jitter = Jitter(rows=1)
    moved = [jitter(EVENTS, (WIDTH, 2), DURATION) for _ in range(300)]
    seen = {int(y) for made in moved for y, t in zip(made["y"], made["t"], strict=True) if t == 20_000}
    assert seen == {0, 1}  # the third place is outside the sensor
    assert {len(made) for made in moved} == {1, 2, 3}
    assert all(np.isin(made["x"], EVENTS["x"]).all() for made in moved)
    for made in moved:
        check_events(made, (WIDTH, 2, 1))


def test_rows_leave_the_random_numbers_of_the_rest() -> None:
    torch.manual_seed(0)
    before = Jitter(0.3, 0.02, 3)(EVENTS, (WIDTH, 2), DURATION)
    torch.manual_seed(0)
    again = Jitter(0.3, 0.02, 3, rows=0)(EVENTS, (WIDTH, 2), DURATION)
    assert np.array_equal(before, again)


def test_what_is_shifted_beyond_the_end_is_lost() -> None:
    lengths = {len(made) for made in many(Jitter(shift=60e-3))}
    assert lengths == {2, 3}
    assert all(made["t"].max() < 100_000 for made in many(Jitter(shift=60e-3)))


def test_events_are_dropped_at_the_rate_asked_for() -> None:
    kept = sum(len(made) for made in many(Jitter(drop=0.25), 1000)) / 3000
    assert kept == pytest.approx(0.75, abs=0.03)


def test_the_dataset_is_the_split_jittered_anew_but_repeatable() -> None:
    recordings = Recordings(np.concatenate([EVENTS, EVENTS[:1]]), np.array([0, 3, 4]), np.array([5, 2]))
    base = FrameDataset(recordings, np.array([1, 0]), (WIDTH, 2, 1), 5e-3, DURATION)
    same = JitteredDataset(base, Jitter())
    assert len(same) == 2
    assert torch.equal(same[1][0], base[1][0])
    assert [same[0][1], same[1][1]] == [2, 5]
    varied = JitteredDataset(base, Jitter(0.2, 0.02, 1, 0.1))
    torch.manual_seed(3)
    first = [varied[1][0] for _ in range(5)]
    torch.manual_seed(3)
    assert all(torch.equal(varied[1][0], frames) for frames in first)
    assert len({frames.numpy().tobytes() for frames in first}) > 1
    assert first[0].shape == varied.shape == base.shape


@pytest.mark.parametrize("name", ["stretch", "shift", "columns", "drop", "rows"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_values_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"jitter {name} must be at least 0"):
        Jitter(**{name: value})
    with pytest.raises(InputError, match="drop must be at least 0 and below 1, got 1"):
        Jitter(drop=1.0)
