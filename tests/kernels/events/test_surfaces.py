"""Time surfaces and their averages: the kernels against the NumPy definitions and against Tonic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tonic.transforms
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuro.errors import InputError
from neuro.kernels.events.records import RECORD
from neuro.kernels.events.surfaces import (
    events_to_averaged_surfaces,
    events_to_averaged_surfaces_reference,
    events_to_surfaces,
    events_to_surfaces_reference,
)


def recording(number: int, size: tuple[int, int, int], end: int = 1000) -> NDArray[np.void]:
    rng = np.random.default_rng(number)
    events = np.zeros(number, RECORD)
    for name, high in zip(("t", "x", "y", "p"), (end, size[0], size[1], 2), strict=True):
        events[name] = rng.integers(0, high, number)
    return np.sort(events, order="t")


@settings(max_examples=40)
@given(
    number=st.integers(0, 200),
    size=st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(1, 2)),
    step=st.integers(1, 400),
    tau=st.sampled_from([1e-7, 50e-6, 3.0]),
    length=st.one_of(st.none(), st.integers(1, 1500)),
)
def test_surfaces_equal_reference(
    number: int, size: tuple[int, int, int], step: int, tau: float, length: int | None
) -> None:
    events = recording(number, size)
    before = events.copy()
    duration = None if length is None else length * 1e-6
    ours = events_to_surfaces(events, size, step * 1e-6, tau, duration, dtype="float64")
    reference = events_to_surfaces_reference(events, size, step * 1e-6, tau, duration, dtype="float64")
    assert np.allclose(ours.values, reference.values, rtol=1e-10, atol=1e-250)
    assert ours.late == reference.late
    assert np.array_equal(events, before)


def test_surfaces_equal_tonic_in_its_bins_and_keep_the_last() -> None:
    size = (9, 6, 2)
    events = recording(300, size)
    events["t"] += 5000
    events["t"][-1] = events["t"][0] + 1050
    theirs = tonic.transforms.ToTimesurface(sensor_size=size, dt=100, tau=250)(events)
    start = float(events["t"][0]) * 1e-6
    ours = events_to_surfaces(events, size, 100e-6, 250e-6, start=start, dtype="float64").values
    assert (len(theirs), len(ours)) == (10, 11)
    assert np.allclose(theirs, ours[:10], rtol=1e-12, atol=0)


def test_surfaces_fade_to_zero_without_a_not_a_number() -> None:
    events = np.array([(0, 0, 0, True)], RECORD)
    values, late = events_to_surfaces(events, (1, 1, 1), 1e-3, 1e-5, 0.05)
    assert values.dtype == np.float32
    assert values[0, 0, 0, 0] == np.float32(np.exp(-100.0))
    assert not values[10:].any()
    assert late == 0


@settings(max_examples=40)
@given(
    number=st.integers(0, 80),
    size=st.tuples(st.integers(1, 23), st.integers(1, 11), st.integers(1, 2)),
    cell=st.integers(3, 12),
    radius=st.integers(0, 1),
    window=st.integers(1, 2000),
    tau=st.sampled_from([1e-7, 40e-6, 2.0]),
)
def test_averages_equal_reference(
    number: int, size: tuple[int, int, int], cell: int, radius: int, window: int, tau: float
) -> None:
    events = recording(number, size)
    before = events.copy()
    options: dict[str, Any] = {"cell": cell, "radius": radius, "window": window * 1e-6, "tau": tau, "dtype": "float64"}
    ours = events_to_averaged_surfaces(events, size, **options)
    reference = events_to_averaged_surfaces_reference(events, size, **options)
    assert ours.shape == reference.shape
    assert np.allclose(ours, reference, rtol=1e-10, atol=1e-10)
    assert np.array_equal(events, before)


def test_averages_equal_tonic() -> None:
    size = (25, 13, 2)
    events = recording(700, size, 5000)
    theirs = tonic.transforms.ToAveragedTimesurface(
        sensor_size=size, surface_size=5, cell_size=10, time_window=1000, tau=300, decay="exp"
    )(events)
    ours = events_to_averaged_surfaces(events, size, cell=10, radius=2, window=1e-3, tau=300e-6)
    assert ours.dtype == theirs.dtype == np.float32
    assert np.allclose(theirs, ours, rtol=1e-4, atol=1e-6)


def test_averages_over_a_long_time_do_not_overflow() -> None:
    size = (4, 4, 1)
    events = recording(300, size, 10_000_000)
    options: dict[str, Any] = {"cell": 4, "radius": 1, "window": 9.0, "tau": 1e-3, "dtype": "float64"}
    ours = events_to_averaged_surfaces(events, size, **options)
    assert np.allclose(ours, events_to_averaged_surfaces_reference(events, size, **options), rtol=0, atol=1e-12)


def test_number_of_threads_changes_no_bit() -> None:
    events = recording(5000, (50, 40, 2), 100_000)
    before = torch.get_num_threads()
    made = []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            made.append(events_to_averaged_surfaces(events, (50, 40, 2)))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(made[0], made[1])


@pytest.mark.parametrize("tau", [0.0, -1e-3, float("nan"), float("inf"), "1"])
def test_tau_must_be_positive(tau: Any) -> None:
    events = recording(9, (3, 3, 2))
    with pytest.raises(InputError, match="tau must be a positive time"):
        events_to_surfaces(events, (3, 3, 2), 1e-3, tau)
    with pytest.raises(InputError, match="tau must be a positive time"):
        events_to_averaged_surfaces(events, (3, 3, 2), tau=tau)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cell": 4}, r"cell=4 is smaller than a surface of 5 pixels \(radius=2\)"),
        ({"cell": 0}, "cell must be a whole number"),
        ({"radius": -1}, "radius must be a whole number"),
        ({"radius": 1.5}, "radius must be"),
        ({"window": 0.0}, "window must be"),
        ({"dtype": "int8"}, "dtype must be"),
    ],
)
def test_bad_cells_are_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        events_to_averaged_surfaces(recording(9, (3, 3, 2)), (3, 3, 2), **change)


def test_bad_bins_are_refused() -> None:
    events = recording(9, (3, 3, 2))
    with pytest.raises(InputError, match="dt must be"):
        events_to_surfaces(events, (3, 3, 2), 0.0, 1e-3)
    with pytest.raises(InputError, match="lies before start"):
        events_to_surfaces(events, (3, 3, 2), 1e-3, 1e-3, start=1.0)
    dtype: Any = "float16"
    with pytest.raises(InputError, match="dtype must be"):
        events_to_surfaces(events, (3, 3, 2), 1e-3, 1e-3, dtype=dtype)
