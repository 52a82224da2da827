"""The event array: validation, and Tonic taking it as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tonic.transforms
from numpy.typing import NDArray

from neuro.datasets.events import EVENT_DTYPE, check_events, make_events
from neuro.errors import InputError
from neuro.kernels.events.frames import events_to_frames

SIZE = (7, 5, 2)


def sample(number: int = 400) -> NDArray[np.void]:
    rng = np.random.default_rng(3)
    columns = (rng.integers(0, high, number) for high in SIZE)
    return make_events(np.sort(rng.integers(0, 10_000, number)), *columns)


def test_dtype_has_tonics_names_and_widths() -> None:
    assert EVENT_DTYPE.names == ("t", "x", "y", "p")
    assert {name: EVENT_DTYPE[name] for name in "txyp"} == {name: tonic.io.events_struct[name] for name in "txyp"}


def test_make_events_keeps_values_and_accepts_none_at_all() -> None:
    events = make_events([1, 2**40], [0, 32767], [3, 4], [1, 0])
    assert events.tolist() == [(1, 0, 3, True), (2**40, 32767, 4, False)]
    assert make_events([], [], [], []).dtype == EVENT_DTYPE


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (([1, 2], [1], [1, 1], [0, 0]), "equally long"),
        (([[1]], [[1]], [[1]], [[1]]), "one-dimensional"),
        (([1], [40000], [0], [1]), "x=40000 does not fit"),
        (([1], [0], [-70000], [1]), "y=-70000 does not fit"),
        (([1], [0], [0], [-1]), "p=-1 does not fit"),
        (([0.5], [0], [0], [1]), "t=0.5 does not fit"),
    ],
)
def test_make_events_refuses_what_does_not_fit(columns: tuple[Any, ...], text: str) -> None:
    with pytest.raises(InputError, match=text):
        make_events(*columns)


def test_check_events_accepts_a_recording_and_silence() -> None:
    check_events(sample(), SIZE)
    check_events(sample(0), (1, 1, 1))


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("t", -5, "event 9: t=-5 is before time zero"),
        ("x", 7, r"event 9: x=7 is outside the sensor \(width 7\)"),
        ("x", -1, "event 9: x=-1"),
        ("y", 5, r"event 9: y=5 is outside the sensor \(height 5\)"),
        ("t", 1, "event 9: t=1 us is before the event in front of it"),
    ],
)
def test_check_events_names_the_first_event_at_fault(field: str, value: int, text: str) -> None:
    events = sample()
    events[field][9] = value
    with pytest.raises(InputError, match=text):
        check_events(events, SIZE)


def test_check_events_refuses_other_arrays() -> None:
    events: Any
    for events in ([1, 2], np.zeros(4), sample().reshape(20, 20), sample().astype(tonic.io.events_struct)):
        with pytest.raises(InputError, match="dtype"):
            check_events(events, SIZE)
    with pytest.raises(InputError, match="one polarity"):
        check_events(sample(), (7, 5, 1))


def test_tonic_frames_agree_where_tonic_loses_nothing() -> None:
    events = sample()
    frames = tonic.transforms.ToFrame(sensor_size=SIZE, time_window=1000, start_time=0, end_time=10_000)(events)
    ours, late = events_to_frames(events, SIZE, dt=1e-3, duration=10e-3)
    assert late == 0
    assert np.array_equal(frames, ours)


def test_tonic_denoise_keeps_a_subset_in_our_dtype() -> None:
    events = sample()
    kept = tonic.transforms.Denoise(filter_time=100)(events)
    assert kept.dtype == EVENT_DTYPE
    assert 0 < len(kept) < len(events)
    check_events(kept, SIZE)


@pytest.mark.parametrize(
    "transform",
    [
        tonic.transforms.ToVoxelGrid(sensor_size=SIZE, n_time_bins=4),
        tonic.transforms.ToTimesurface(sensor_size=SIZE, dt=1000, tau=2000),
        tonic.transforms.ToImage(sensor_size=SIZE),
        tonic.transforms.CropTime(max=5000),
        tonic.transforms.RandomFlipPolarity(p=1.0),
        tonic.transforms.RandomFlipLR(sensor_size=SIZE, p=1.0),
        tonic.transforms.TimeJitter(std=10, clip_negative=True, sort_timestamps=True),
        tonic.transforms.MergePolarities(),
        tonic.transforms.DropEvent(p=0.5),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_tonic_transforms_take_the_array_as_it_is(transform: Any) -> None:
    result = transform(sample())
    assert len(result) > 0
    if result.dtype.names:
        assert result.dtype == EVENT_DTYPE
        check_events(result, SIZE)
