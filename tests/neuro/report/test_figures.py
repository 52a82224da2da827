from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure

from neuro.report import figures
from neuro.report.content import Curves, TimeConstants
from neuro.report.style import picture
from neuro.training.activity import CellActivity, SynapseActivity


def texts(figure: Figure) -> list[str]:
    """Everything written in a figure, once it is laid out; a layout that fails is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture(figure)
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    for axes in figure.axes:
        found += [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
        legend = axes.get_legend()
        found += [text.get_text() for text in legend.get_texts()] if legend else []
    return [text for text in found if text]


def curves(epochs: int, best: int | None, **changes: object) -> Curves:
    e = np.arange(1, epochs + 1)
    made = Curves(e, 2.0 / e, 2.1 / e, 1 - 0.9 / e, 1 - 0.95 / e, best)
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("epochs", [1, 2, 31, 200])
def test_learning_curves_of_any_length(epochs: int) -> None:
    written = texts(figures.learning_curves(curves(epochs, epochs)))
    assert f"selected: epoch {epochs}" in written
    assert {"Loss", "Accuracy (%)", "train", "validation", "epoch"} <= set(written)


def test_accuracy_is_shown_in_percent() -> None:
    drawn = figures.learning_curves(curves(4, 3))
    accuracy = drawn.axes[1].lines[1].get_ydata()
    assert np.allclose(accuracy, 100 * (1 - 0.95 / np.arange(1, 5)))


def test_learning_curves_with_values_that_are_not_finite() -> None:
    holes = curves(3, 2, validation_loss=np.array([1.0, np.nan, np.inf]), train_loss=np.full(3, np.nan))
    written = texts(figures.learning_curves(holes))
    assert written.count("train") == 1  # only beside the accuracy
    nothing = np.full(3, np.nan)
    gone = curves(3, 2, train_loss=nothing, validation_loss=nothing)
    assert "no finite values were recorded" in texts(figures.learning_curves(gone))


def test_no_epoch_is_marked_when_none_was_selected() -> None:
    assert not [text for text in texts(figures.learning_curves(curves(5, None))) if "selected" in text]


@pytest.mark.parametrize("number", [1, 2, 10, 51])
def test_confusion_matrix_of_any_size(number: int) -> None:
    rng = np.random.default_rng(number)
    counts = rng.integers(0, 3, (number, number)) + 20 * np.eye(number, dtype=int)
    written = texts(figures.confusion_matrix(counts, [f"class {i}" for i in range(number)]))
    printed = [text for text in written if text.isdigit()]
    assert len(printed) == (np.count_nonzero(counts) if number <= 50 else 0)
    assert {"true class", "predicted class", "recall"} <= set(written)


def test_a_confusion_matrix_with_empty_classes_and_no_hit() -> None:
    counts = np.array([[0, 5], [0, 0]])
    written = texts(figures.confusion_matrix(counts, ["cat", "dog"]))
    assert {"5", "0.0 %", "no samples"} <= set(written)


def test_mistakes_and_hits_differ_in_colour() -> None:
    image = figures.confusion_matrix(np.array([[9, 1], [0, 9]]), ["a", "b"]).axes[0].images[0].get_array()
    assert image is not None
    hit, mistake, empty = image[0, 0], image[0, 1], image[1, 0]
    assert hit[2] > hit[0]  # blue
    assert mistake[0] > mistake[2]  # orange
    assert empty[3] == 0


def cell(name: str, spiking: bool = True, rate: float = 12.5) -> CellActivity:
    return CellActivity(name, "LIF", 10, spiking, 3.0, 0.1, rate, 0.5)


def test_work_names_layers_and_writes_values() -> None:
    drawn = figures.work_per_layer([cell("hidden"), cell("readout", spiking=False)],
                                   [SynapseActivity("first", "Linear", 5.0, 1234.0, 3.2e6)])  # fmt: skip
    written = texts(drawn)
    assert {"12.5", "1,234", "3.2 M"} <= set(written)
    names = [label.get_text() for axes in drawn.axes for label in axes.get_yticklabels()]
    assert names == ["hidden", "first"]  # a layer that does not spike has no firing rate


def test_work_of_silent_unknown_and_absent_layers() -> None:
    assert "0" in texts(figures.work_per_layer([cell("hidden", rate=0.0)], [SynapseActivity("0", "Linear", 0, 0, 0)]))
    assert "–" in texts(figures.work_per_layer([cell("hidden", rate=float("nan"))], []))
    assert {"no spiking layer", "no layer with weights"} <= set(texts(figures.work_per_layer([], [])))


@pytest.mark.parametrize("number", [1, 3, 4])
def test_time_constants_of_any_number_of_layers(number: int) -> None:
    rng = np.random.default_rng(0)
    groups = [TimeConstants(f"layer {i}", "tau", rng.uniform(0.01, 0.03, 5 + 40 * i), 0.02) for i in range(number)]
    written = texts(figures.time_constants(groups))
    assert written.count("initial: 20 ms") == number
    assert written.count("tau (ms)") == number


@pytest.mark.parametrize("values", [[0.02], [0.02, 0.02, 0.02], [1e-9, 1.0], [0.0]])
def test_time_constants_that_do_not_spread_or_spread_far(values: list[float]) -> None:
    drawn = figures.time_constants([TimeConstants("hidden", "tau", np.array(values), None)])
    assert sum(patch.get_height() for patch in drawn.axes[0].patches) == len(values)  # type: ignore[attr-defined]
    assert not [text for text in texts(drawn) if "initial" in text]


def test_time_constants_that_are_not_finite_are_left_out() -> None:
    drawn = figures.time_constants([TimeConstants("hidden", "tau", np.array([np.nan, np.inf]), 0.02)])
    assert "no finite values" in texts(drawn)
