"""Events to frames: the Numba kernel against the NumPy definition, and the law that no event is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tonic.transforms
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuro.errors import InputError
from neuro.kernels.events.frames import bin_count, bin_edges, events_to_frames, events_to_frames_reference

DTYPE = np.dtype([("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")])


def random_events(number: int, size: tuple[int, int, int], end: int, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    events = np.zeros(number, DTYPE)
    for name, high in zip(("t", "x", "y", "p"), (end, *size), strict=True):
        events[name] = rng.integers(0, high, number)
    return np.sort(events, order="t")


@given(
    number=st.integers(0, 300),
    size=st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(1, 2)),
    step=st.integers(1, 400),
    length=st.one_of(st.none(), st.integers(1, 1500)),
    binary=st.booleans(),
)
def test_kernel_equals_reference_and_loses_nothing(
    number: int, size: tuple[int, int, int], step: int, length: int | None, binary: bool
) -> None:
    events = random_events(number, size, 1000)
    before = events.copy()
    duration = None if length is None else length * 1e-6
    ours = events_to_frames(events, size, step * 1e-6, duration, binary=binary)
    reference = events_to_frames_reference(events, size, step * 1e-6, duration, binary=binary)
    assert np.array_equal(ours.counts, reference.counts)
    assert ours.counts.dtype == reference.counts.dtype
    assert ours.late == reference.late
    assert np.array_equal(events, before)
    if not binary:
        assert ours.counts.sum() + ours.late == number
    if length is None:
        assert ours.late == 0


def test_bins_are_half_open_and_start_at_zero() -> None:
    events = np.zeros(5, DTYPE)
    events["t"] = [499, 500, 999, 1000, 1499]
    frames, late = events_to_frames(events, (1, 1, 2), dt=500e-6, duration=1.5e-3)
    assert frames[:, 0, 0, 0].tolist() == [1, 2, 2]
    assert late == 0


def test_every_bin_edge_of_a_decimal_step_is_exact() -> None:
    events = np.zeros(2000, DTYPE)
    events["t"] = np.arange(2000) * 100
    frames, late = events_to_frames(events, (1, 1, 2), dt=1e-4, duration=0.2)
    assert (frames[:, 0, 0, 0] == 1).all()
    assert late == 0


def test_the_last_event_is_counted_by_default() -> None:
    events = np.zeros(11, DTYPE)
    events["t"] = np.arange(11) * 100
    frames, late = events_to_frames(events, (1, 1, 2), dt=500e-6)
    assert frames[:, 0, 0, 0].tolist() == [5, 5, 1]
    assert late == 0


def test_events_from_the_duration_on_are_late_even_in_a_cut_bin() -> None:
    events = np.zeros(4, DTYPE)
    events["t"] = [0, 699, 700, 999]
    frames, late = events_to_frames(events, (1, 1, 2), dt=500e-6, duration=700e-6)
    assert frames[:, 0, 0, 0].tolist() == [1, 1]
    assert late == 2


def test_counts_do_not_wrap_at_sixteen_bits() -> None:
    frames, _ = events_to_frames(np.zeros(70_000, DTYPE), (1, 1, 2), dt=1e-3)
    assert frames[0, 0, 0, 0] == 70_000
    binary, _ = events_to_frames(np.zeros(300, DTYPE), (1, 1, 2), dt=1e-3, binary=True)
    assert binary[0, 0, 0, 0] == 1


def test_one_polarity_merges_without_touching_the_events() -> None:
    events = random_events(50, (4, 3, 2), 1000)
    both, _ = events_to_frames(events, (4, 3, 2), dt=250e-6)
    merged, _ = events_to_frames(events, (4, 3, 1), dt=250e-6)
    assert events["p"].any()
    assert np.array_equal(merged[:, 0], both.sum(1))


def test_other_field_orders_and_widths_and_views() -> None:
    events = random_events(200, (5, 4, 2), 1000)
    wide = events[["x", "y", "t", "p"]].astype([("x", "u2"), ("y", "u2"), ("t", "i8"), ("p", "i1")])
    expected = events_to_frames(events, (5, 4, 2), 1e-4, 1e-3).counts
    assert np.array_equal(events_to_frames(wide, (5, 4, 2), 1e-4, 1e-3).counts, expected)
    doubled = np.repeat(events, 2)[::2]
    assert np.array_equal(events_to_frames(doubled[::-1], (5, 4, 2), 1e-4, 1e-3).counts, expected)


def test_no_events() -> None:
    nothing = np.zeros(0, DTYPE)
    assert events_to_frames(nothing, (3, 2, 2), 5e-3).counts.shape == (0, 2, 2, 3)
    frames, late = events_to_frames(nothing, (3, 2, 2), 5e-3, 11e-3)
    assert frames.shape == (3, 2, 2, 3)
    assert not frames.any()
    assert late == 0


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("t", -1, "t=-1 us lies before time zero"),
        ("x", 4, "x=4 is out of range; allowed are 0 to 3"),
        ("x", -2, "x=-2"),
        ("y", 3, "y=3 is out of range; allowed are 0 to 2"),
    ],
)
def test_an_event_without_a_place_is_refused(field: str, value: int, text: str) -> None:
    events = random_events(10, (4, 3, 2), 1000)
    events[field][6] = value
    for function in (events_to_frames, events_to_frames_reference):
        with pytest.raises(InputError, match=text):
            function(events, (4, 3, 2), 1e-3)


def test_a_polarity_of_minus_one_is_refused() -> None:
    signed = random_events(10, (4, 3, 2), 1000).astype([("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "i1")])
    signed["p"][3] = -1
    with pytest.raises(InputError, match="p=-1 is out of range; allowed are 0 to 1"):
        events_to_frames(signed, (4, 3, 2), 1e-3)


@pytest.mark.parametrize("dt", [0.0, -1e-3, 1e-7, 1.5e-6, float("nan"), float("inf"), "5ms", None])
def test_dt_must_be_whole_microseconds(dt: Any) -> None:
    with pytest.raises(InputError, match="dt must be a positive whole number of microseconds"):
        events_to_frames(random_events(3, (4, 3, 2), 10), (4, 3, 2), dt)
    with pytest.raises(InputError, match="duration must be"):
        bin_count(1e-3, dt)


def test_wrong_arrays_and_sensors_are_refused() -> None:
    with pytest.raises(InputError, match="fields t, x, y and p"):
        events_to_frames(np.zeros((3, 4)), (4, 3, 2), 1e-3)
    with pytest.raises(InputError, match="whole-number fields"):
        events_to_frames(np.zeros(3, [("t", "f8"), ("x", "i2"), ("y", "i2"), ("p", "?")]), (4, 3, 2), 1e-3)
    with pytest.raises(InputError, match="sensor_size"):
        events_to_frames(random_events(3, (4, 3, 2), 10), (4, 0, 2), 1e-3)


def test_bin_count_rounds_up() -> None:
    assert [bin_count(5e-3, d) for d in (1e-6, 5e-3, 5.001e-3, 0.3)] == [1, 1, 2, 60]


def test_bin_edges_end_at_the_length() -> None:
    assert bin_edges(7, 0, 5).tolist() == [7]
    assert bin_edges(7, 10, 5).tolist() == [7, 12, 17]
    assert bin_edges(7, 11, 5).tolist() == [7, 12, 17, 18]


def test_start_anchors_the_bins_where_tonic_puts_them() -> None:
    size = (6, 5, 2)
    events = random_events(400, size, 3000)
    events["t"] += 123_456
    events["t"][-1] = events["t"][0] + 3100
    start = float(events["t"][0]) * 1e-6
    theirs = tonic.transforms.ToFrame(sensor_size=size, time_window=200)(events)
    ours, late = events_to_frames(events, size, 200e-6, start=start)
    assert (len(theirs), len(ours), late) == (15, 16, 0)
    assert np.array_equal(theirs, ours[:15])
    assert ours.sum() == 400
    with pytest.raises(InputError, match=r"lies before start=1\.0 s; crop the recording or start earlier"):
        events_to_frames(events, size, 200e-6, start=1.0)


@pytest.mark.parametrize(("dtype", "most"), [("uint8", 255), ("uint16", 65535)])
def test_a_narrow_count_is_exact_or_refused(dtype: Any, most: int) -> None:
    events = np.zeros(most, DTYPE)
    for function in (events_to_frames, events_to_frames_reference):
        frames, _ = function(events, (1, 1, 2), 1e-3, dtype=dtype)
        assert frames.dtype == dtype
        assert frames[0, 0, 0, 0] == most
        with pytest.raises(InputError, match=f"dtype='{dtype}' must be wider"):
            function(np.zeros(most + 1, DTYPE), (1, 1, 2), 1e-3, dtype=dtype)
    with pytest.raises(InputError, match="dtype must be one of int32, uint16, uint8"):
        events_to_frames(events, (1, 1, 2), 1e-3, dtype=dtype + "x")


@pytest.mark.parametrize("binary", [False, True])
def test_number_of_threads_changes_nothing(binary: bool) -> None:
    size = (9, 7, 2)
    events = random_events(40_000, size, 100_000)
    wanted = events_to_frames_reference(events, size, 1e-3, 70e-3, binary=binary)
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            made = events_to_frames(events, size, 1e-3, 70e-3, binary=binary)
            assert np.array_equal(made.counts, wanted.counts)
            assert made.late == wanted.late
    finally:
        torch.set_num_threads(before)


def test_a_stray_timestamp_is_one_line() -> None:
    events = np.zeros(2, [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "<i1")])
    events["t"] = [0, 2**60]
    with pytest.raises(InputError, match="more than memory holds; look for a stray timestamp"):
        events_to_frames(events, (640, 480, 2), dt=1e-3)
