from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import neuro
from neuro.datasets.splits import Splits
from neuro.errors import FileFormatError
from neuro.report import data
from neuro.report.content import Sample


def test_a_run_with_its_data(run_folder: Path, splits: Splits) -> None:
    report = data.collect(run_folder, splits)
    assert report.title == "tiny, trained with SLTT"
    assert "4 to train, 2 to validate, 7 to test" in report.lead
    assert "4 × 3 pixels with two polarities, 10 steps of 2 ms" in report.lead
    assert report.facts["layers"] == "5 LIF → 3 LI"
    assert report.facts["seed"] == "3"
    assert report.test_accuracy == pytest.approx(5 / 7)
    assert [sample.label for sample in report.samples] == ["ant", "bee", "cat"]
    assert [(s.index, s.label, s.predicted) for s in report.mistakes] == [(1, "ant", "bee"), (5, "cat", "ant")]
    assert report.mistakes_total == 2


def test_a_run_without_its_data(run_folder: Path) -> None:
    report = data.collect(run_folder)
    assert report.confusion is not None
    assert report.samples == report.mistakes == ()
    assert report.recording is None


def test_frames_keep_their_places(run_folder: Path, splits: Splits) -> None:
    report = data.collect(run_folder, splits)
    events = splits.test.events(report.samples[1].index)
    frames = report.samples[1].frames
    assert frames.shape == (10, 2, 3, 4)
    expected = np.zeros_like(frames)
    expected[events["t"] // 2000, events["p"].astype(int), events["y"], events["x"]] = 1
    assert (frames == expected).all()


def test_a_recording_is_what_the_network_does(run_folder: Path, splits: Splits) -> None:
    net = neuro.load(run_folder / "network.safetensors")
    recording = data.collect(run_folder, splits).recording
    assert recording is not None
    assert recording.sample.label == recording.sample.predicted == "ant"
    x, _ = splits.test.tensors([recording.sample.index])
    output, _ = net(x)
    hidden, readout = recording.layers
    assert np.allclose(readout.z, output[:, 0].detach().numpy())
    assert readout.threshold is None  # it does not spike
    assert hidden.threshold is not None
    assert (hidden.z.astype(bool) == (hidden.v > hidden.threshold)).all()
    assert hidden.z.shape == (10, 5)


def test_layers_with_a_shape_are_flattened(splits: Splits) -> None:
    net = neuro.Sequential(neuro.Conv2d(2, 3, 2), neuro.LIF((3, 2, 3), dt=2e-3))
    shaped = replace(splits, test=replace(splits.test, layout="frames"))
    x = shaped.test[0][0]
    sample = Sample(0, x.numpy(), "ant", "ant", np.zeros(3))
    (layer,) = data.recording(net, shaped, sample).layers
    assert layer.shape == (3, 2, 3)
    assert layer.z.shape == layer.v.shape == (10, 18)
    traces = neuro.record(net, x.unsqueeze(1))["1"]["v"]
    assert np.allclose(layer.v[:, 1 * 6 + 1 * 3 + 2], traces[:, 0, 1, 1, 2].numpy())


def test_learned_time_constants_and_where_they_began() -> None:
    net = neuro.Sequential(
        neuro.LIF(2, tau=torch.tensor([0.01, 0.03])), neuro.LIF(2, tau=0.5, learn=()), neuro.LI(2, learn=("tau", "r"))
    )  # fmt: skip
    found = data.time_constants(net, {"tau": 0.02})
    assert [(group.layer, group.name, group.initial) for group in found] == [("0", "tau", 0.02), ("2", "tau", 0.02)]
    assert np.allclose(found[0].values, [0.01, 0.03])
    assert data.time_constants(net, {"tau": "fast"})[0].initial is None


def test_an_evaluation_of_other_data_is_refused(run_folder: Path, splits: Splits) -> None:
    other = replace(splits, test=splits.validation)
    with pytest.raises(FileFormatError, match="holds 7 samples, the test split has 2; evaluate again"):
        data.collect(run_folder, other)


def test_a_network_that_is_always_wrong(run_folder: Path, splits: Splits) -> None:
    path = run_folder / "evaluation.npz"
    with np.load(path) as arrays:
        np.savez(path, labels=arrays["labels"], predicted=(arrays["labels"] + 1) % 3, logits=arrays["logits"])
    report = data.collect(run_folder, splits)
    assert report.recording is not None
    assert report.recording.sample.index == 0
    assert len(report.mistakes) == report.mistakes_total == 7
