"""Filters: the kernels against the NumPy definitions and against Tonic, and where they differ on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tonic.functional
import tonic.transforms
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuro.errors import InputError
from neuro.kernels.events.filters import (
    denoise,
    denoise_reference,
    drop_hot_pixels,
    hot_pixels,
    hot_pixels_reference,
    refractory_filter,
    refractory_filter_reference,
)
from neuro.kernels.events.records import RECORD

Filter = Callable[[NDArray[Any], tuple[int, int, int], float], NDArray[Any]]
FILTERS: tuple[tuple[Filter, Filter], ...] = (
    (denoise, denoise_reference),
    (refractory_filter, refractory_filter_reference),
)


def recording(number: int, size: tuple[int, int, int], end: int = 1000) -> NDArray[np.void]:
    rng = np.random.default_rng(number)
    events = np.zeros(number, RECORD)
    for name, high in zip(("t", "x", "y", "p"), (end, size[0], size[1], 2), strict=True):
        events[name] = rng.integers(0, high, number)
    return np.sort(events, order="t")


@pytest.mark.parametrize(("ours", "reference"), FILTERS)
@given(
    number=st.integers(0, 200),
    size=st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(1, 2)),
    time=st.integers(1, 1500),
)
def test_filters_equal_their_references(
    ours: Filter, reference: Filter, number: int, size: tuple[int, int, int], time: int
) -> None:
    events = recording(number, size)
    before = events.copy()
    kept = ours(events, size, time * 1e-6)
    assert np.array_equal(kept, reference(events, size, time * 1e-6))
    assert kept.dtype == events.dtype
    assert np.array_equal(events, before)


@pytest.mark.parametrize("time", [1, 20, 300])
def test_filters_equal_tonic_once_the_recording_is_under_way(time: int) -> None:
    size = (9, 6, 2)
    events = recording(600, size)
    events["t"] += 1000
    theirs = tonic.transforms.Denoise(filter_time=time)(events)
    assert np.array_equal(theirs, denoise(events, size, time * 1e-6))
    theirs = tonic.transforms.RefractoryPeriod(delta=time)(events)
    assert np.array_equal(theirs, refractory_filter(events, size, time * 1e-6))


def test_unlike_tonic_pixels_that_never_fired_support_nothing_and_time_zero_is_kept() -> None:
    lonely = np.array([(0, 2, 2, True), (50, 4, 0, False)], RECORD)
    assert len(tonic.transforms.Denoise(filter_time=100)(lonely)) == 2
    assert len(denoise(lonely, (5, 5, 2), 100e-6)) == 0
    assert tonic.transforms.RefractoryPeriod(delta=10)(lonely)["t"].tolist() == [50]
    assert refractory_filter(lonely, (5, 5, 2), 10e-6)["t"].tolist() == [0, 50]


def test_denoise_does_not_reach_round_the_edge_of_a_row() -> None:
    events = np.array([(0, 4, 0, True), (1, 0, 1, True)], RECORD)
    assert len(denoise(events, (5, 2, 2), 1e-3)) == 0


@given(number=st.integers(2, 300), rate=st.floats(1.0, 1e5), length=st.one_of(st.none(), st.integers(1, 3000)))
def test_hot_pixels_equal_reference_and_their_events_go(number: int, rate: float, length: int | None) -> None:
    size = (4, 3, 2)
    events = recording(number, size)
    events["t"][0] = 0
    events["t"][-1] = 1000
    before = events.copy()
    duration = None if length is None else length * 1e-6
    hot = hot_pixels(events, size, rate, duration)
    assert np.array_equal(hot, hot_pixels_reference(events, size, rate, duration))
    kept = drop_hot_pixels(events, size, rate, duration)
    assert not hot[kept["y"], kept["x"]].any()
    assert len(events) - len(kept) == hot[events["y"], events["x"]].sum()
    assert np.array_equal(events, before)


def test_hot_pixels_equal_tonic() -> None:
    size = (9, 6, 2)
    events = recording(600, size)
    rate = 12_000
    theirs = tonic.transforms.DropPixel(hot_pixel_frequency=rate)(events)
    assert 0 < len(theirs) < len(events)
    assert np.array_equal(theirs, drop_hot_pixels(events, size, rate))
    x, y = np.asarray(tonic.functional.identify_hot_pixel(events, rate)).T
    hot = hot_pixels(events, size, rate)
    assert hot[y, x].all()
    assert hot.sum() == len(x)


def test_hot_pixels_of_little() -> None:
    size = (3, 3, 2)
    assert not hot_pixels(recording(0, size), size, 1.0).any()
    with pytest.raises(InputError, match="1 events at one moment have no rate"):
        hot_pixels(recording(1, size), size, 1.0)
    assert hot_pixels(recording(1, size), size, 1.0, 0.5).sum() == 1
    rate: Any
    for rate in (0, -1.0, float("nan"), float("inf"), "5"):
        with pytest.raises(InputError, match="rate must be a positive number"):
            drop_hot_pixels(recording(9, size), size, rate)


@pytest.mark.parametrize("ours", [denoise, refractory_filter, hot_pixels])
def test_events_that_run_backwards_or_lie_outside_are_refused(ours: Filter) -> None:
    events = recording(50, (5, 4, 2))
    swapped = events[::-1]
    with pytest.raises(InputError, match=r"event \d+: t=.* sort by t"):
        ours(swapped, (5, 4, 2), 1e-3)
    with pytest.raises(InputError, match="x=4 is out of range; allowed are 0 to 3"):
        ours(events, (4, 4, 2), 1e-3)


@pytest.mark.parametrize("time", [0.0, -1e-3, 1e-7, float("nan"), None])
def test_times_must_be_whole_microseconds(time: Any) -> None:
    for ours, name in ((denoise, "filter_time"), (refractory_filter, "period")):
        with pytest.raises(InputError, match=f"{name} must be a positive whole number of microseconds"):
            ours(recording(9, (3, 3, 2)), (3, 3, 2), time)


def test_other_dtypes_come_back_as_they_were() -> None:
    plain = recording(80, (5, 4, 2))
    events = np.zeros(80, [("p", "i1"), ("x", "u2"), ("y", "u2"), ("t", "u4"), ("extra", "f4")])
    for name in ("t", "x", "y", "p"):
        events[name] = plain[name]
    kept = denoise(events, (5, 4, 2), 100e-6)
    assert kept.dtype == events.dtype
    assert 0 < len(kept) < 80


def test_a_first_event_is_kept_however_late() -> None:
    events = np.zeros(2, RECORD)
    events["t"], events["x"], events["y"] = [0, 2**62], [0, 1], [0, 1]
    kept = refractory_filter(events, (2, 2, 1), 1e-3)
    assert len(kept) == 2
    assert (kept == refractory_filter_reference(events, (2, 2, 1), 1e-3)).all()
