"""The event camera: kernel against the plain reference, and what a DVS pixel must do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuro.datasets.events import check_events
from neuro.datasets.sensor import SensorConfig, Thresholds, draw_thresholds, record, record_reference
from neuro.errors import InputError


def pixel(levels: list[float], floor: float) -> NDArray[np.float64]:
    """Video of one pixel whose log intensity takes these values."""
    intensity: NDArray[np.float64] = np.exp(np.array(levels)) - floor
    return intensity[:, None, None]


@given(
    shape=st.tuples(st.integers(1, 25), st.integers(1, 7), st.integers(1, 5)),
    on=st.floats(0.05, 0.6),
    off=st.floats(0.05, 0.6),
    mismatch=st.sampled_from([0.0, 0.04, 0.3]),
    refractory=st.sampled_from([0.0, 1e-4, 3e-3]),
    pace=st.sampled_from([1e-7, 1e-5, 2e-3]),
    seed=st.integers(0, 1000),
)
def test_kernel_equals_reference_event_for_event(
    shape: tuple[int, int, int], on: float, off: float, mismatch: float, refractory: float, pace: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    video = rng.random(shape)
    times = np.cumsum(rng.uniform(pace / 10, pace, shape[0]))  # the fastest puts many events into one microsecond
    config = SensorConfig(on, off, mismatch=mismatch, refractory=refractory)
    thresholds = draw_thresholds(config, shape[1:], rng)
    events = record(video, times, config, thresholds)
    expected = record_reference(video, times, config, thresholds)
    assert events.tobytes() == expected.tobytes()
    check_events(events, (shape[2], shape[1], 2))


def test_more_events_than_the_first_buffer_holds() -> None:
    rng = np.random.default_rng(5)
    video, times = rng.random((200, 9, 11)), np.arange(200) * 1e-3
    config = SensorConfig(0.05, 0.07, mismatch=0.0, refractory=0.0)
    events = record(video, times, config)
    assert len(events) > 3 * 4096
    assert events.tobytes() == record_reference(video, times, config).tobytes()


def test_crossing_times_are_interpolated_and_one_threshold_apart() -> None:
    config = SensorConfig(threshold_on=0.25, refractory=0.0, floor=0.1)
    events = record(pixel([0.0, 1.01], 0.1), [0.0, 0.101], config)
    assert events["t"].tolist() == [25_000, 50_000, 75_000, 100_000]
    assert events["p"].all()


def test_off_events_follow_their_own_threshold() -> None:
    config = SensorConfig(threshold_on=0.25, threshold_off=0.5, refractory=0.0, floor=0.1)
    events = record(pixel([1.2, 0.15, 0.43], 0.1), [0.0, 0.105, 0.205], config)
    assert [(t, bool(p)) for t, p in zip(events["t"], events["p"], strict=True)] == [
        (50_000, False),
        (100_000, False),
    ]  # reference is then 0.2, and 0.43 stays below 0.45
    more = record(pixel([1.2, 0.15, 0.55], 0.1), [0.0, 0.105, 0.205], config)
    assert (int(more["t"][-1]), bool(more["p"][-1])) == (105_000 + 75_000, True)


def test_number_of_events_of_a_slow_ramp_is_the_change_over_the_threshold() -> None:
    levels = np.linspace(0.0, 2.0, 57)
    for threshold in (0.13, 0.31):
        config = SensorConfig(threshold_on=threshold, refractory=0.0, floor=0.3)
        video = pixel(levels.tolist(), 0.3)
        assert len(record(video, np.arange(57) * 1e-3, config)) == int(2.0 / threshold)
        assert len(record(video[::8], np.arange(8) * 8e-3, config)) == int(2.0 / threshold)


def test_the_refractory_time_suppresses_events_but_moves_the_reference() -> None:
    video = pixel([0.0, 1.05], 0.1)
    config = SensorConfig(threshold_on=0.1, refractory=25e-3, floor=0.1)
    events = record(video, [0.0, 0.105], config)
    assert events["t"].tolist() == [10_000, 40_000, 70_000, 100_000]
    back = record(pixel([0.0, 1.05, 0.96], 0.1), [0.0, 0.105, 0.2], config)
    assert len(back) == len(events)  # 0.96 is within a threshold of the reference 1.0


def test_a_refractory_pixel_does_not_silence_its_neighbour() -> None:
    video = np.concatenate([pixel([0.0, 0.11, 0.22], 0.1), pixel([0.0, 0.0, 0.11], 0.1)], axis=2)
    config = SensorConfig(threshold_on=0.1, refractory=1.0, floor=0.1)
    assert record(video, [0.0, 0.011, 0.022], config)["x"].tolist() == [0, 1]


def test_still_scenes_and_single_frames_are_silent() -> None:
    assert len(record(np.full((9, 3, 4), 0.7), np.arange(9) * 1e-3, SensorConfig())) == 0
    assert len(record(np.ones((1, 3, 4)), [0.0], SensorConfig())) == 0


def test_thresholds_have_the_spread_asked_for_and_the_seed_decides() -> None:
    config = SensorConfig(threshold_on=0.4, threshold_off=0.2, mismatch=0.05)
    first, again, other = (draw_thresholds(config, (100, 120), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.on.tobytes() == again.on.tobytes()
    assert first.on.tobytes() != other.on.tobytes()
    assert abs(first.on.mean() - 0.4) < 3e-3
    assert abs(first.off.mean() - 0.2) < 3e-3
    assert abs(first.on.std() - 0.05) < 2e-3
    assert abs(np.corrcoef(first.on.ravel(), first.off.ravel())[0, 1]) < 0.05
    low = draw_thresholds(SensorConfig(0.05, 0.05, mismatch=1.0), (50, 50), np.random.default_rng(0))
    assert low.on.min() == 0.01


def test_thresholds_act_on_their_own_pixel() -> None:
    video = np.tile(pixel([0.0, 1.0], 0.1), (1, 2, 3))
    thresholds = Thresholds(np.full((2, 3), 5.0), np.full((2, 3), 5.0))
    thresholds.on[1, 2] = 0.6
    events = record(video, [0.0, 0.1], SensorConfig(floor=0.1), thresholds)
    assert events[["t", "x", "y"]].tolist() == [(60_000, 2, 1)]


def test_events_of_one_microsecond_stand_in_the_order_of_rows_and_columns() -> None:
    video = np.tile(pixel([0.0, 0.5], 0.1), (1, 40, 30))
    events = record(video, [0.0, 0.1], SensorConfig(floor=0.1))
    assert set(events["t"].tolist()) == {60_000}
    assert events[["y", "x"]].tolist() == [(y, x) for y in range(40) for x in range(30)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold_on", 0.0),
        ("threshold_off", -0.2),
        ("mismatch", -1e-3),
        ("refractory", float("nan")),
        ("floor", 0.0),
        ("sample_step", float("inf")),
        ("sample_step", 1e-9),
        ("refractory", "1ms"),
        ("mismatch", True),
    ],
)
def test_config_refuses_values_out_of_range(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"sensor {name} must be"):
        SensorConfig(**{name: value})


@pytest.mark.parametrize(
    ("video", "times", "text"),
    [
        (np.ones((3, 4)), [0, 1, 2], r"\[K, H, W\]"),
        (np.ones((3, 2, 2)), [0, 1], "with K times"),
        (np.ones((3, 2, 2)), [0, 1, 1], "increasing"),
        (np.ones((2, 2, 2)), [-1, 1], "not negative"),
        (np.ones((2, 2, 2)), [0, np.nan], "finite"),
        (np.full((2, 2, 2), -0.1), [0, 1], "not negative"),
        (np.full((2, 2, 2), np.nan), [0, 1], "finite"),
        (np.full((2, 2, 2), np.inf), [0, 1], "finite"),
        (np.ones((1, 1, 40_000)), [0], "too large"),
        (np.ones((0, 3, 4)), [], "none zero"),
        (np.ones((2, 0, 4)), [0, 1], "none zero"),
    ],
)
def test_unusable_videos_are_refused(video: NDArray[Any], times: list[float], text: str) -> None:
    for function in (record, record_reference):
        with pytest.raises(InputError, match=text):
            function(video, times, SensorConfig())


def test_thresholds_of_another_sensor_are_refused() -> None:
    thresholds = draw_thresholds(SensorConfig(), (2, 3), np.random.default_rng(0))
    with pytest.raises(InputError, match=r"thresholds must be \(3, 2\)"):
        record(np.ones((2, 3, 2)), [0, 1], SensorConfig(), thresholds)
