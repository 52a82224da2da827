"""From the files of a run, and its data set, to what the report shows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neuro.errors import FileFormatError
from neuro.network import record
from neuro.report.content import FloatArray, IntArray, Layer, Recording, Report, Sample, TimeConstants
from neuro.report.folder import Evaluation, Files, read_folder

if TYPE_CHECKING:
    from neuro.datasets.splits import Part, Parts
    from neuro.network import Network
    from neuro.neurons import Cell

__all__ = ["collect", "recording", "samples", "time_constants"]

_SAMPLES = 5
_MISTAKES = 8


def collect(folder: str | Path, data: Parts[Any] | None = None) -> Report:
    """Everything the report of a run shows.

    Args:
        folder: the run folder.
        data: the data set the run was trained on, for pictures of samples; they are left out without it.

    Raises:
        InputError: a file that training writes is missing.
        FileFormatError: a file is damaged, or the evaluation belongs to other data.
    """
    files = read_folder(Path(folder))
    evaluation = files.evaluation
    parts: dict[str, Any] = {}
    if evaluation is not None:
        parts = {
            "test_accuracy": evaluation.accuracy,
            "confusion": evaluation.confusion,
            "classes": evaluation.classes,
            "mistakes_total": int((evaluation.labels != evaluation.predicted).sum()),
            "cells": evaluation.cells,
            "synapses": evaluation.synapses,
        }
    if evaluation is not None and data is not None:
        if len(data.test) != evaluation.labels.size:
            problem = f"holds {evaluation.labels.size} samples, the test split has {len(data.test)}; evaluate again"
            raise FileFormatError(Path(folder) / "evaluation.npz", problem)
        parts |= _pictured(files.network, data, evaluation)
    return Report(
        title=f"{files.summary.dataset}, trained with {files.summary.rule.upper()}",
        lead=_lead(files, data),
        folder=os.fspath(folder),
        version=files.summary.versions.get("neuro", "unknown"),
        facts=_facts(files),
        config=files.config,
        curves=files.curves,
        parameters=files.summary.parameters,
        validation_accuracy=files.summary.validation_accuracy,
        selected_on=files.summary.selected_on,
        time_constants=time_constants(files.network, files.settings),
        agreement=files.exported.rows,
        export_notes=files.exported.export.notes,
        dt=files.network.dt,
        **parts,
    )


def _lead(files: Files, data: Parts[Any] | None) -> str:
    if data is None:
        return f"A spiking network on the data set {files.summary.dataset}."
    sizes = [len(part) for part in (data.train, data.validation, data.test)]
    width, height, polarities = data.sensor_size
    return (
        f"{sum(sizes):,} samples: {sizes[0]:,} to train, {sizes[1]:,} to validate, {sizes[2]:,} to test"
        f"{f' ({data.split})' if data.split else ''}. "
        f"Sensor {width} × {height} pixels{' with two polarities' if polarities == 2 else ''}, "
        f"{data.test.steps} steps of {1e3 * data.dt:g} ms."
    )


def _facts(files: Files) -> dict[str, str]:
    summary = files.summary
    layers = " → ".join(_layer_text(layer) for layer in files.network.cells.values())
    return {
        "rule": summary.rule,
        "seed": str(summary.seed),
        "layers": layers,
        "epochs": f"{files.curves.epoch.size} in {summary.seconds:.0f} s",
        "trained": f"{files.finished:%Y-%m-%d %H:%M} UTC",
        **summary.versions,
    }


def _layer_text(cell: Cell) -> str:
    return f"{'×'.join(map(str, cell.size))} {type(cell).__name__}"


def _pictured(net: Network, data: Parts[Any], evaluation: Evaluation) -> dict[str, Any]:
    """The parts of the report that show single samples."""
    labels, predicted = evaluation.labels, evaluation.predicted
    wrong = np.flatnonzero(labels != predicted)
    right = np.flatnonzero(labels == predicted)
    spread = np.linspace(0, wrong.size - 1, min(wrong.size, _MISTAKES)).astype(int)
    one = int(right[0]) if right.size else 0
    return {
        "samples": tuple(samples(data, evaluation, _one_per_class(labels, _SAMPLES))),
        "mistakes": tuple(samples(data, evaluation, wrong[spread])),
        "recording": recording(net, data, next(samples(data, evaluation, np.array([one])))),
    }


def _one_per_class(labels: IntArray, number: int) -> IntArray:
    """The first sample of up to ``number`` classes, spread over all that occur."""
    present = np.unique(labels)
    chosen = present[np.linspace(0, present.size - 1, min(number, present.size)).astype(int)]
    return np.array([int(np.argmax(labels == c)) for c in chosen])


def samples(data: Parts[Any], evaluation: Evaluation, indices: IntArray) -> Iterator[Sample]:
    """Test samples [K] by number, with their frames and what the network said."""
    names = evaluation.classes
    for i in map(int, indices):
        label, predicted = names[evaluation.labels[i]], names[evaluation.predicted[i]]
        yield Sample(i, _frames(data.test, i), label, predicted, evaluation.scores[i])


def _frames(split: Part, i: int) -> FloatArray:
    """Event counts [T, P, H, W] of sample ``i``."""
    width, height, polarities = split.sensor_size
    frames: FloatArray = split[i][0].numpy().reshape(-1, polarities, height, width)
    return frames


def recording(net: Network, data: Parts[Any], sample: Sample) -> Recording:
    """Run one test sample, input [T, 1, ...], and keep spikes and membranes [T, N] of every cell."""
    like = next(net.parameters())
    x = data.test[sample.index][0].unsqueeze(1).to(like)
    layers = tuple(_layer(name, net.cells[name], traces) for name, traces in record(net, x).items() if "v" in traces)
    return Recording(sample, layers, data.classes, net.dt)


def _layer(name: str, cell: Cell, traces: Mapping[str, torch.Tensor]) -> Layer:
    threshold = None
    if cell.equations.drive is not None and "v_threshold" in cell.equations.parameters:
        threshold = cell.parameters_si()["v_threshold"].cpu().numpy().ravel()
    z, v = (traces[key].cpu().numpy().reshape(traces[key].shape[0], -1) for key in ("z", "v"))
    return Layer(name, type(cell).__name__, z, v, threshold, cell.size)


def time_constants(net: Network, settings: Mapping[str, Any]) -> tuple[TimeConstants, ...]:
    """The learned parameters in seconds of every cell, with the value of the same name in ``settings``."""
    return tuple(
        TimeConstants(layer, name, cell.parameters_si()[name].cpu().numpy().ravel(), _number(settings.get(name)))
        for layer, cell in net.cells.items()
        for name in cell.learn
        if cell.equations.parameters[name].unit == "s"
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
