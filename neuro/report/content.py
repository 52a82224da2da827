"""What a report shows, as plain values: no network, no data set, nothing to train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from neuro.hardware.agreement import Row
    from neuro.training.activity import CellActivity, SynapseActivity

__all__ = [
    "Curves",
    "FloatArray",
    "IntArray",
    "Layer",
    "Recording",
    "Report",
    "Sample",
    "TimeConstants",
]

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]


@dataclass(frozen=True)
class Curves:
    """Learning curves, one entry per epoch [E]; accuracies are fractions, NaN where not measured."""

    epoch: IntArray
    train_loss: FloatArray
    validation_loss: FloatArray
    train_accuracy: FloatArray
    validation_accuracy: FloatArray
    best_epoch: int | None = None


@dataclass(frozen=True)
class Sample:
    """One test sample: its event counts per step [T, P, H, W] and what the network made of it.

    ``scores`` [C] are the output layer's spike counts (or its mean membrane when it does not spike).
    """

    index: int
    frames: FloatArray
    label: str
    predicted: str
    scores: FloatArray


@dataclass(frozen=True)
class Layer:
    """What one cell layer did on one sample: spikes and membrane before reset, both [T, N].

    ``threshold`` is [N], or None for a layer that does not spike; ``shape`` is the layer's own
    size, with the product N.
    """

    name: str
    kind: str
    z: FloatArray
    v: FloatArray
    threshold: FloatArray | None
    shape: tuple[int, ...]

    @property
    def neurons(self) -> int:
        """The number of neurons N."""
        return int(self.v.shape[1])


@dataclass(frozen=True)
class Recording:
    """One sample's way through the network; ``dt`` in seconds."""

    sample: Sample
    layers: tuple[Layer, ...]
    classes: tuple[str, ...]
    dt: float


@dataclass(frozen=True)
class TimeConstants:
    """One parameter of one layer after training, in seconds [N], and the value it began with."""

    layer: str
    name: str
    values: FloatArray
    initial: float | None


@dataclass(frozen=True)
class Report:
    """Everything one page shows; an empty part becomes a line that says how to make it."""

    title: str
    lead: str
    folder: str
    version: str
    facts: Mapping[str, str]
    config: str
    curves: Curves
    parameters: int
    test_accuracy: float | None = None
    validation_accuracy: float | None = None
    selected_on: str = "validation"
    confusion: IntArray | None = None
    classes: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()
    mistakes: tuple[Sample, ...] = ()
    mistakes_total: int = 0
    recording: Recording | None = None
    cells: tuple[CellActivity, ...] = ()
    synapses: tuple[SynapseActivity, ...] = ()
    time_constants: tuple[TimeConstants, ...] = ()
    agreement: tuple[Row, ...] = ()
    export_notes: tuple[str, ...] = ()
    dt: float = 1e-3
