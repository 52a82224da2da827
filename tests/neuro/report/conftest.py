"""Made-up runs: what a report shows, without training anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neuro
from neuro.datasets.events import make_events
from neuro.datasets.splits import FrameDataset, Splits
from neuro.datasets.store import Recordings
from neuro.hardware.agreement import Row
from neuro.report.content import Curves, Layer, Recording, Report, Sample, TimeConstants
from neuro.training.activity import CellActivity, SynapseActivity

STEPS, SIDE = 60, 16


def make_sample(
    rng: np.random.Generator, index: int = 7, label: str = "3", predicted: str = "3", classes: int = 10
) -> Sample:
    y, x = np.mgrid[:SIDE, :SIDE]
    frames = np.zeros((STEPS, 2, SIDE, SIDE))
    for step in range(STEPS):
        centre = SIDE / 2 + 4 * np.sin(6.28 * step / 20)
        ring = np.abs(np.hypot(x - centre, y - SIDE / 2) - 4) < 1
        frames[step, 1] = ring & (rng.random((SIDE, SIDE)) < 0.12) & (x > centre)
        frames[step, 0] = ring & (rng.random((SIDE, SIDE)) < 0.12) & (x <= centre)
    scores = rng.poisson(2, classes).astype(float)
    scores[min(int(predicted), classes - 1)] = 12
    return Sample(index, frames, label, predicted, scores)


def make_layer(rng: np.random.Generator, name: str, neurons: int, rate: float = 0.06) -> Layer:
    v = np.cumsum(rng.normal(0.02, 0.15, (STEPS, neurons)), axis=0) % 1.1
    z = (v > 1.0) * (rng.random((STEPS, neurons)) < 20 * rate)
    return Layer(name, "LIF", z.astype(float), v, np.ones(neurons), (neurons,))


def make_curves(epochs: int = 20) -> Curves:
    e = np.arange(epochs)
    return Curves(
        epoch=e,
        train_loss=2.2 * np.exp(-e / 4) + 0.05,
        validation_loss=2.2 * np.exp(-e / 4) + 0.11 + 0.002 * e,
        train_accuracy=1 - 0.85 * np.exp(-e / 2.5),
        validation_accuracy=0.975 - 0.85 * np.exp(-e / 2.5),
        best_epoch=int(0.8 * epochs),
    )


def make_report(**changes: Any) -> Report:
    rng = np.random.default_rng(0)
    classes = changes.get("classes", tuple(str(i) for i in range(10)))
    number = len(classes)
    confusion = np.diag(rng.integers(30, 38, number))
    for _ in range(max(1, number)):
        confusion[rng.integers(number), rng.integers(number)] += 1
    layers = (make_layer(rng, "hidden", 128), make_layer(rng, "output", number))
    sample = make_sample(rng, classes=number)
    values: dict[str, Any] = {
        "title": "digits with BPTT",
        "lead": "1,797 handwritten digits seen by an event camera; 1,078 train, 359 validation, 360 test.",
        "folder": "runs/demo",
        "version": "0.1.0",
        "facts": {"rule": "bptt", "seed": "0", "date": "2026-03-01 12:00 UTC", "torch": "2.13.0", "Python": "3.11.2"},
        "config": "rule: bptt\nseed: 0\nlr: 0.01\n",
        "curves": make_curves(),
        "parameters": 67338,
        "test_accuracy": 0.9722,
        "validation_accuracy": 0.9805,
        "confusion": confusion,
        "classes": classes,
        "samples": tuple(make_sample(rng, i, str(i), str(i) if i != 2 else "7", number) for i in range(4)),
        "mistakes": tuple(make_sample(rng, i, "3", "8", number) for i in range(7)),
        "mistakes_total": 9,
        "recording": Recording(sample, layers, classes, 1e-3),
        "cells": (
            CellActivity("hidden", "LIF", 128, True, 812.4, 0.06, 63.2, 0.71),
            CellActivity("output", "LIF", 10, True, 21.3, 0.03, 22.1, 0.4),
        ),
        "synapses": (
            SynapseActivity("0", "Linear", 1530.0, 195_840.0, 3_932_160.0),
            SynapseActivity("2", "Linear", 812.4, 8124.0, 76_800.0),
        ),
        "time_constants": (
            TimeConstants("hidden", "tau", np.abs(rng.normal(0.02, 0.004, 128)), 0.02),
            TimeConstants("output", "tau", np.abs(rng.normal(0.024, 0.004, 10)), 0.02),
        ),
        "agreement": (
            Row("neuro, read back", "hidden", "spikes", 292_464, 292_464, 0, 1.0, 360, 360, ""),
            Row("neuro, read back", "output", "spikes", 7668, 7668, 0, 1.0, 360, 360, ""),
            Row("snntorch 1.0.0", "hidden", "spikes", 292_464, 261_120, 31_344, 0.98867, 360, 3, "dt taken as 0.0001 s"),
            Row("snntorch 1.0.0", "output", "spikes", 7668, 6920, 748, 0.99654, 360, 12, "follows from the layers before"),
            Row("norse 1.1.0", "hidden", "spikes", 292_464, None, None, None, 360, None, "not installed: pip install it"),
        ),
    }  # fmt: skip
    return Report(**(values | changes))


@pytest.fixture
def report() -> Callable[..., Report]:
    """Make a whole, plausible report; keywords replace its parts."""
    return make_report


def make_split(rng: np.random.Generator, labels: list[int]) -> FrameDataset:
    """Recordings of a 4 x 3 sensor with two polarities, 20 ms long, in steps of 2 ms."""
    each = [
        make_events(np.sort(rng.integers(0, 20_000, 30)), rng.integers(0, 4, 30), rng.integers(0, 3, 30), rng.integers(0, 2, 30))
        for _ in labels
    ]  # fmt: skip
    source = Recordings(np.concatenate(each), np.arange(len(labels) + 1) * 30, np.array(labels))
    return FrameDataset(source, np.arange(len(labels)), (4, 3, 2), 2e-3, 20e-3)


@pytest.fixture
def splits() -> Splits:
    """A tiny data set of three classes with seven test samples."""
    rng = np.random.default_rng(5)
    train, validation, test = (make_split(rng, labels) for labels in ([0, 1, 2, 0], [1, 2], [0, 0, 1, 1, 2, 2, 2]))
    return Splits("tiny", train, validation, test, ("ant", "bee", "cat"), (4, 3, 2), 2e-3, "a tiny data set")


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of a tiny network with everything that train, evaluate and export leave."""
    folder = tmp_path / "run"
    folder.mkdir()
    torch.manual_seed(1)
    net = neuro.Sequential(
        neuro.Linear(24, 5), neuro.LIF(5, tau=10e-3, dt=2e-3), neuro.Linear(5, 3), neuro.LI(3, dt=2e-3)
    )
    neuro.save(net, folder / "network.safetensors")
    (folder / "config.yaml").write_text("dataset: tiny # the data set\nrule: sltt\ntau: 0.01\nseed: 3\n")
    header = "epoch,loss,accuracy,validation_loss,validation_accuracy,learning_rate\n"
    (folder / "metrics.csv").write_text(header + "1,1.5,0.5,1.25,0.5,0.01\n2,0.75,0.75,nan,0.875,0.01\n")
    summary = {
        "dataset": "tiny", "rule": "sltt", "loss": "mean_membrane", "seed": 3, "epochs": 2, "best_epoch": 2,
        "validation_accuracy": 0.875, "parameters": 148, "seconds": 1.25, "versions": {"neuro": "0.1.0", "torch": "2.13.0"},
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))
    write_evaluation(folder)
    rows = [Row("neuro, read back", "1", "spikes", 12, 12, 0, 1.0, 7, 7, "")]
    exported = {
        "path": "network.nir",
        "exact": True,
        "rows": [asdict(row) for row in rows],
        "export": {"notes": ["exact: all"]},
    }
    (folder / "export.json").write_text(json.dumps(exported))
    return folder


def write_evaluation(folder: Path) -> None:
    labels = np.array([0, 0, 1, 1, 2, 2, 2])
    predicted = np.array([0, 1, 1, 1, 2, 0, 2])
    evaluation = {
        "accuracy": 5 / 7, "classes": ["ant", "bee", "cat"],
        "cells": [asdict(CellActivity("1", "LIF", 5, True, 12.5, 0.25, 125.0, 0.75))],
        "synapses": [asdict(SynapseActivity("0", "Linear", 30.0, 150.0, 1200.0))],
    }  # fmt: skip
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    np.savez(folder / "evaluation.npz", labels=labels, predicted=predicted, logits=np.eye(3)[predicted])
