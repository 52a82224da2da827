"""Made-up runs: what a report shows, without training anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

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
