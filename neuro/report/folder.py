"""The files of a run folder, read and checked: each problem names the file and the cure."""

from __future__ import annotations

import csv
import zipfile
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import yaml
from pydantic import TypeAdapter, ValidationError

from neuro.errors import FileFormatError, InputError
from neuro.hardware.agreement import Row
from neuro.report.content import Curves, FloatArray, IntArray
from neuro.training.activity import CellActivity, SynapseActivity

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["Evaluation", "Exported", "Files", "Summary", "read_folder"]

_COLUMNS = ("epoch", "loss", "validation_loss", "accuracy", "validation_accuracy")


@dataclass(frozen=True)
class Summary:
    """How training ended: the part of ``summary.json`` that the report shows.

    ``seconds`` is the wall time of training; ``best_epoch`` counts from 1.
    """

    dataset: str
    rule: str
    seed: int
    best_epoch: int
    validation_accuracy: float
    parameters: int
    seconds: float
    versions: dict[str, str]
    selected_on: str = "validation"


@dataclass(frozen=True)
class _Evaluated:
    """The part of ``evaluation.json`` that the report shows."""

    accuracy: float
    classes: tuple[str, ...]
    cells: tuple[CellActivity, ...]
    synapses: tuple[SynapseActivity, ...]


@dataclass(frozen=True)
class _Written:
    """What writing the exported file said: what is exact in it, what is lost."""

    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exported:
    """The part of ``export.json`` that the report shows."""

    rows: tuple[Row, ...] = ()
    export: _Written = field(default_factory=_Written)


@dataclass(frozen=True)
class Evaluation:
    """The network on the test split of S samples and C classes.

    ``labels`` and ``predicted`` [S] are class numbers, ``scores`` [S, C] what the output gave for
    each class, ``confusion`` [C, C] counts with a row per true class.
    """

    accuracy: float
    classes: tuple[str, ...]
    cells: tuple[CellActivity, ...]
    synapses: tuple[SynapseActivity, ...]
    labels: IntArray
    predicted: IntArray
    scores: FloatArray
    confusion: IntArray


@dataclass(frozen=True)
class Files:
    """Everything a run folder holds; what is not there yet is None or empty."""

    config: str
    settings: dict[str, Any]
    curves: Curves
    summary: Summary
    network: Network
    finished: datetime
    evaluation: Evaluation | None
    exported: Exported


def read_folder(folder: Path) -> Files:
    """Read a run folder: config.yaml, metrics.csv, summary.json and network.safetensors must be there.

    Raises:
        InputError: there is no such folder, or a file that training writes is missing.
        FileFormatError: a file is truncated or damaged.
    """
    from neuro.network import load

    if not folder.is_dir():
        raise InputError(f"run folder {folder} does not exist; neuro train --output {folder} makes one")
    for name in ("config.yaml", "metrics.csv", "summary.json", "network.safetensors"):
        if not (folder / name).is_file():
            raise InputError(f"{folder} has no {name}; finish training first: neuro train --resume --output {folder}")
    config, settings = _config(folder / "config.yaml")
    summary = _read(Summary, folder / "summary.json")
    return Files(
        config=config,
        settings=settings,
        curves=_curves(folder / "metrics.csv", summary.best_epoch),
        summary=summary,
        network=load(folder / "network.safetensors"),
        finished=datetime.fromtimestamp((folder / "summary.json").stat().st_mtime, UTC),
        evaluation=_evaluation(folder),
        exported=_exported(folder / "export.json"),
    )


T = TypeVar("T")


def _read(kind: type[T], path: Path) -> T:
    """The fields of ``kind`` from a JSON file; other fields in it are left unread."""
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise FileFormatError(path, f"{place}: {first['msg'].lower()}") from None


def _config(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        settings = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FileFormatError(path, "not valid YAML: " + " ".join(str(error).split())) from None
    if not isinstance(settings, dict):
        raise FileFormatError(path, f"must hold lines of the form `key: value`, holds {type(settings).__name__}")
    return text, settings


def _curves(path: Path, best_epoch: int) -> Curves:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        columns = {name: np.array([float(row[name]) for row in rows]) for name in _COLUMNS}
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise FileFormatError(path, f"every row must hold numbers in {', '.join(_COLUMNS)} ({error!r})") from None
    if not rows:
        raise FileFormatError(path, "holds no epoch")
    if not np.isfinite(columns["epoch"]).all():
        raise FileFormatError(path, "an epoch has no number")
    return Curves(
        epoch=columns["epoch"].astype(np.int64),
        train_loss=columns["loss"],
        validation_loss=columns["validation_loss"],
        train_accuracy=columns["accuracy"],
        validation_accuracy=columns["validation_accuracy"],
        best_epoch=best_epoch,
    )


def _evaluation(folder: Path) -> Evaluation | None:
    path = folder / "evaluation.npz"
    if not (folder / "evaluation.json").exists() and not path.exists():
        return None
    for name in ("evaluation.json", "evaluation.npz"):
        if not (folder / name).is_file():
            raise InputError(f"{folder} has no {name}; write it again: neuro evaluate {folder}")
    found = _read(_Evaluated, folder / "evaluation.json")
    labels, predicted, scores = _arrays(path)
    number = len(found.classes)
    agree = labels.shape == predicted.shape == scores.shape[:1] and scores.shape == (labels.size, number)
    if (
        not agree
        or labels.size == 0
        or min(labels.min(), predicted.min()) < 0
        or max(labels.max(), predicted.max()) >= number
    ):
        raise FileFormatError(path, f"does not hold labels and predictions of {number} classes")
    confusion = np.bincount(labels * number + predicted, minlength=number * number).reshape(number, number)
    return Evaluation(
        found.accuracy, found.classes, found.cells, found.synapses, labels, predicted, scores, confusion
    )  # fmt: skip


def _arrays(path: Path) -> tuple[IntArray, IntArray, FloatArray]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return arrays["labels"].astype(np.int64), arrays["predicted"].astype(np.int64), arrays["logits"]
    except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise FileFormatError(path, f"not the arrays of an evaluation ({' '.join(str(error).split())})") from None


def _exported(path: Path) -> Exported:
    return _read(Exported, path) if path.is_file() else Exported()
