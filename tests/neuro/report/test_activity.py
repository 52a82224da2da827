from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from neuro.report import activity
from neuro.report.content import Layer, Recording, Report, Sample
from neuro.report.style import picture

Maker = Callable[..., Report]


def texts(figure: Figure) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture(figure)
    found = [text.get_text() for axes in figure.axes for text in axes.texts] + [t.get_text() for t in figure.texts]
    for axes in figure.axes:
        found += [axes.get_title(loc="left"), axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
    return [text for text in found if text]


def sample(frames: np.ndarray, classes: int = 3) -> Sample:
    return Sample(4, frames, "1", "2", np.arange(classes, dtype=float))


def layer(z: np.ndarray, *, threshold: bool = True, shape: tuple[int, ...] | None = None) -> Layer:
    size = z.shape[1]
    return Layer("hidden", "LIF", z, z + 0.5, np.ones(size) if threshold else None, shape or (size,))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 2, 5, 9), (60, 2, 34, 34), (7, 1, 128, 4), (12, 2, 4, 128)])
def test_event_frames_of_any_sensor(shape: tuple[int, ...]) -> None:
    frames = np.random.default_rng(0).poisson(0.1, shape).astype(float)
    drawn = activity.event_frames([sample(frames)] * 2, dt=2e-3)
    written = texts(drawn)
    assert len(drawn.axes) == 2 * (min(6, shape[0]) + 1)
    assert "all events" in written
    assert "✗ predicted  2" in written
    assert f"{2 * shape[0]:.0f} ms" in " ".join(written)  # the last span ends with the recording


def test_event_frames_share_out_every_event() -> None:
    frames = np.zeros((5, 2, 2, 2))
    frames[4, 1, 0, 1] = 1  # the last step belongs to the last of three uneven spans
    drawn = activity.event_frames([sample(frames)], dt=1e-3, slices=3)
    lit = [axes.images[0].get_array()[..., 3].any() for axes in drawn.axes]  # type: ignore[index]
    assert lit == [False, False, True, True]


def test_on_is_blue_and_off_is_orange() -> None:
    frames = np.zeros((1, 2, 1, 2))
    frames[0, 1, 0, 0] = 1  # ON at the left
    frames[0, 0, 0, 1] = 1  # OFF at the right
    image = activity.event_frames([sample(frames)], dt=1e-3).axes[0].images[0].get_array()
    assert image is not None
    assert image[0, 0, 2] > image[0, 0, 0]
    assert image[0, -1, 0] > image[0, -1, 2]


def test_a_sample_without_any_event() -> None:
    assert "all events" in texts(activity.event_frames([sample(np.zeros((10, 2, 8, 8)))], dt=1e-3))


@pytest.mark.parametrize("neurons", [1, 2, 41, 700])
def test_rasters_count_spikes_and_silent_neurons(neurons: int) -> None:
    z = np.zeros((20, neurons))
    z[3:6, 0] = 1
    recording = Recording(sample(np.zeros((20, 2, 4, 4))), (layer(z),), ("a", "b", "c"), 1e-3)
    written = texts(activity.spike_raster(recording))
    assert f"hidden: {neurons} LIF neurons, 3 spikes, {neurons - 1} silent" in written


def test_a_raster_without_any_spike_says_so() -> None:
    recording = Recording(sample(np.zeros((20, 1, 4, 4))), (layer(np.zeros((20, 5))),), ("a",), 1e-3)
    written = texts(activity.spike_raster(recording))
    assert "no spikes" in written
    assert "input: 16 channels, 0 events" in written


def test_a_layer_that_does_not_spike_has_a_membrane_but_no_raster() -> None:
    readout = layer(np.random.default_rng(0).normal(size=(20, 3)), threshold=False)
    recording = Recording(sample(np.ones((20, 2, 4, 4))), (readout,), ("a", "b", "c"), 1e-3)
    assert len(activity.spike_raster(recording).axes) == 2  # the input alone
    drawn = activity.membranes(recording)
    assert {"class a", "class b", "class c"} <= set(texts(drawn))
    assert all(len(axes.lines) == 1 for axes in drawn.axes)  # no threshold, no spike marks


def test_membranes_show_threshold_and_spikes() -> None:
    z = np.zeros((20, 4))
    z[5, 2] = z[9, 2] = 1
    shown = dataclasses.replace(layer(z), threshold=np.array([1.0, 1.0, 0.7, 1.0]))
    recording = Recording(sample(np.zeros((20, 2, 4, 4))), (shown,), (), 2e-3)
    drawn = activity.membranes(recording)
    first = drawn.axes[0]
    assert "neuron 2: 2 spikes" in texts(drawn)
    assert np.allclose(first.lines[1].get_ydata(), 0.7)
    assert np.allclose(first.lines[2].get_xdata(), [2 * 5.5, 2 * 9.5])  # ms, the middle of the step


@pytest.mark.parametrize("neurons", [1, 2, 3, 50])
def test_membranes_of_few_neurons_and_of_one_step(neurons: int) -> None:
    recording = Recording(sample(np.zeros((1, 2, 4, 4))), (layer(np.zeros((1, neurons))),), (), 1e-3)
    assert len(set(texts(activity.membranes(recording))) & {f"neuron {i}: 0 spikes" for i in range(50)}) == min(
        neurons, 3
    )


def test_neurons_of_a_convolution_are_named_by_place() -> None:
    z = np.zeros((5, 2 * 3 * 4))
    z[:, 23] = 1
    recording = Recording(sample(np.zeros((5, 2, 4, 4))), (layer(z, shape=(2, 3, 4)),), (), 1e-3)
    assert "neuron 1, 2, 3: 5 spikes" in texts(activity.membranes(recording))


def test_membranes_with_values_that_are_not_finite() -> None:
    broken = dataclasses.replace(layer(np.zeros((5, 2))), v=np.full((5, 2), np.nan))
    recording = Recording(sample(np.zeros((5, 2, 4, 4))), (broken,), (), 1e-3)
    assert "neuron 0: 0 spikes" in texts(activity.membranes(recording))


@pytest.mark.parametrize(("number", "classes"), [(1, 1), (5, 10), (8, 40)])
def test_mistakes_show_sample_and_scores(number: int, classes: int) -> None:
    names = tuple(str(i) for i in range(classes))
    shown = [Sample(i, np.ones((4, 2, 3, 3)), "1", "2", np.arange(float(classes))) for i in range(number)]
    drawn = activity.mistakes(shown, names)
    assert texts(drawn).count("true 1, predicted 2") == number
    heights = [bar.get_height() for bar in drawn.axes[1].patches]  # type: ignore[attr-defined]
    assert heights == list(range(classes))


def test_all_of_a_made_up_report_can_be_drawn(report: Maker) -> None:
    made = report()
    assert made.recording is not None
    assert texts(activity.spike_raster(made.recording))
    assert texts(activity.membranes(made.recording))


def test_a_sensor_of_one_row_is_drawn_over_time() -> None:
    frames = np.zeros((6, 1, 1, 4))
    frames[5, 0, 0, 0] = 2  # the first channel, in the last step
    turned = activity.bands(sample(frames)).frames
    assert turned.shape == (1, 1, 4, 6)
    assert turned[0, 0, 3, 5] == turned.sum() == 2
    drawn = activity.event_bands([sample(frames)] * 3, dt=2e-3)
    assert "true 1, ✗ predicted 2, test sample 4" in texts(drawn)
    assert [tuple(axes.images[0].get_extent()) for axes in drawn.axes] == [(0, 12, 0, 4)] * 3


def test_pictures_are_constant_currents_of_one_channel() -> None:
    picture = np.zeros((1, 1, 4, 3))
    picture[0, 0, 1] = 0.5
    shown = sample(picture.repeat(6, axis=0))
    assert activity.shows_pictures(shown)
    varying, two = shown.frames.copy(), shown.frames.repeat(2, axis=1)
    varying[3, 0, 1, 2] = 1
    assert not any(activity.shows_pictures(sample(frames)) for frames in (varying, two, 0 * varying))
    drawn = activity.pictures([shown] * 2)
    assert texts(drawn).count("true 1, ✗ 2") == 2
    dark = np.asarray(drawn.axes[0].images[0].get_array())[..., 3]
    assert (dark.max(), dark[0].max()) == (0.5, 0)
    recording = Recording(shown, (layer(np.zeros((6, 5))),), ("a",), 1e-3)
    assert "input: 12 channels, a constant current" in texts(activity.spike_raster(recording))
