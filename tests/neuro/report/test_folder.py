from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuro.errors import FileFormatError, InputError
from neuro.report.folder import read_folder


def test_a_whole_folder(run_folder: Path) -> None:
    files = read_folder(run_folder)
    assert files.config.startswith("dataset: tiny # the data set")
    assert files.settings["tau"] == 0.01
    assert files.curves.epoch.tolist() == [1, 2]
    assert files.curves.train_loss.tolist() == [1.5, 0.75]
    assert np.isnan(files.curves.validation_loss[1])
    assert files.curves.best_epoch == 2
    assert (files.summary.rule, files.summary.seed, files.summary.parameters) == ("sltt", 3, 148)
    assert files.evaluation is not None
    assert files.evaluation.confusion.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 2]]
    assert files.evaluation.cells[0].rate_hz == 125.0
    assert files.exported.rows[0].samples_equal == 7
    assert files.exported.export.notes == ("exact: all",)
    assert list(files.network.cells) == ["1", "3"]


def test_a_folder_that_was_only_trained(run_folder: Path) -> None:
    for name in ("evaluation.json", "evaluation.npz", "export.json"):
        (run_folder / name).unlink()
    files = read_folder(run_folder)
    assert files.evaluation is None
    assert files.exported.rows == ()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere does not exist; neuro train"):
        read_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["config.yaml", "metrics.csv", "summary.json", "network.safetensors"])
def test_a_file_of_training_is_missing(run_folder: Path, name: str) -> None:
    (run_folder / name).unlink()
    with pytest.raises(InputError, match=rf"has no {name}; finish training first"):
        read_folder(run_folder)


@pytest.mark.parametrize("name", ["evaluation.json", "evaluation.npz"])
def test_half_an_evaluation(run_folder: Path, name: str) -> None:
    (run_folder / name).unlink()
    with pytest.raises(InputError, match=rf"has no {name}; write it again: neuro evaluate"):
        read_folder(run_folder)


@pytest.mark.parametrize(
    "name",
    [
        "config.yaml",
        "metrics.csv",
        "summary.json",
        "network.safetensors",
        "evaluation.json",
        "evaluation.npz",
        "export.json",
    ],
)
@pytest.mark.parametrize("damage", ["half", "binary", "empty"])
def test_damaged_files_are_named_in_one_line(run_folder: Path, name: str, damage: str) -> None:
    path = run_folder / name
    whole = path.read_bytes()
    half = b"a: [1" if name == "config.yaml" else whole[: -len(whole) // 3]
    path.write_bytes({"half": half, "binary": bytes(range(256)), "empty": b""}[damage])
    with pytest.raises(FileFormatError) as caught:
        read_folder(run_folder)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("epoch,loss\n1,2\n", "every row must hold numbers"),
        ("epoch,loss,accuracy,validation_loss,validation_accuracy\n", "holds no epoch"),
        ("epoch,loss,accuracy,validation_loss,validation_accuracy\n1,a,1,1,1\n", "every row must hold numbers"),
        ("epoch,loss,accuracy,validation_loss,validation_accuracy\n1,2\n", "every row must hold numbers"),
        ("epoch,loss,accuracy,validation_loss,validation_accuracy\nnan,1,1,1,1\n", "an epoch has no number"),
    ],
)
def test_metrics_that_cannot_be_drawn(run_folder: Path, rows: str, problem: str) -> None:
    (run_folder / "metrics.csv").write_text(rows)
    with pytest.raises(FileFormatError, match=problem):
        read_folder(run_folder)


def test_a_value_of_the_wrong_type_is_named(run_folder: Path) -> None:
    path = run_folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": "zero"}))
    with pytest.raises(FileFormatError, match="seed: input should be a valid integer"):
        read_folder(run_folder)


@pytest.mark.parametrize(
    "changed",
    [
        {"labels": np.array([0, 1])},
        {"labels": np.array([0, 0, 1, 1, 2, 2, 3])},
        {"predicted": np.array([0, 0, 1, 1, 2, 2, -1])},
        {"logits": np.zeros((7, 4))},
        {"labels": np.zeros(0, int), "predicted": np.zeros(0, int), "logits": np.zeros((0, 3))},
    ],
    ids=["length", "class", "negative", "scores", "nothing"],
)
def test_arrays_that_do_not_fit_together(run_folder: Path, changed: dict[str, Any]) -> None:
    path = run_folder / "evaluation.npz"
    with np.load(path) as arrays:
        whole: dict[str, Any] = dict(arrays)
    np.savez(path, **(whole | changed))
    with pytest.raises(FileFormatError, match="does not hold labels and predictions of 3 classes"):
        read_folder(run_folder)


@pytest.mark.parametrize("place", range(0, 900, 37))
def test_no_flipped_byte_of_the_arrays_crashes(run_folder: Path, place: int) -> None:
    path = run_folder / "evaluation.npz"
    with np.load(path) as arrays:
        np.savez_compressed(path, **dict(arrays))
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 0xFF
    path.write_bytes(content)
    with contextlib.suppress(FileFormatError):  # or the flip does no harm; anything else fails
        read_folder(run_folder)


def test_arrays_that_would_run_code_are_refused(run_folder: Path) -> None:
    objects = np.array([{}], dtype=object)
    np.savez(run_folder / "evaluation.npz", labels=objects, predicted=objects, logits=objects)
    with pytest.raises(FileFormatError):
        read_folder(run_folder)
