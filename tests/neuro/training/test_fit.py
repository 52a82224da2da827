from __future__ import annotations

import csv
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import neuro
from neuro.errors import FileFormatError, InputError
from neuro.training.evaluate import evaluate
from neuro.training.fit import FitResult
from neuro.training.losses import Loss

Fit = Callable[..., FitResult]


@pytest.fixture
def fit(toy: ModuleType, tmp_path: Path) -> Fit:
    """Train a fresh toy network into ``tmp_path / "run"``."""

    def run(net: neuro.Sequential | None = None, **options: Any) -> FitResult:
        return neuro.fit(
            net or toy.make_net(),
            toy.make_data(),
            **{"epochs": 4, "batch_size": 64, "output": tmp_path / "run", **options},
        )

    return run


def same(first: FitResult, second: FitResult) -> bool:
    """Equal to the last bit: history, choice and weights."""
    weights, others = first.net.state_dict(), second.net.state_dict()
    return (
        first.history == second.history
        and first.best_epoch == second.best_epoch
        and all(torch.equal(value, others[name]) for name, value in weights.items())
    )


@pytest.mark.parametrize("rule", ["bptt", "sltt"])
def test_it_learns_and_keeps_the_best_epoch(toy: ModuleType, rule: str) -> None:
    data, net = toy.make_data(), toy.make_net(20)
    result = neuro.fit(net, data, rule, epochs=15, lr=0.02, batch_size=16)
    assert result.net is net
    assert result.validation_accuracy > 0.75
    with torch.no_grad():
        output, _ = net(data.validation.x)
    accuracy = float((output.sum(0).argmax(1) == data.validation.y).double().mean())
    assert accuracy == result.validation_accuracy
    assert list(result.history[0]) == [
        *("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate")
    ]
    assert [row["epoch"] for row in result.history] == list(range(1, 16))
    assert result.folder is None
    assert result.seconds > 0


def test_the_same_seed_gives_the_same_run_and_another_does_not(fit: Fit) -> None:
    torch.manual_seed(1)
    first = fit(output=None, seed=3)
    torch.manual_seed(2)
    assert same(first, fit(output=None, seed=3))
    assert not same(first, fit(output=None, seed=4))


def test_streamed_data_train_the_same_network(toy: ModuleType, fit: Fit) -> None:
    held = toy.make_data()
    streamed = replace(held, train=toy.Streamed(held.train), validation=toy.Streamed(held.validation))
    assert same(fit(output=None), neuro.fit(toy.make_net(), streamed, epochs=4, batch_size=64))


def test_the_caller_s_random_numbers_are_untouched(fit: Fit, toy: ModuleType) -> None:
    def draw() -> tuple[float, float, float]:
        return float(torch.rand(())), float(np.random.rand()), random.random()  # noqa: NPY002 - the global state it is

    def seed() -> None:
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002
        random.seed(5)

    seed()
    expected = draw()
    net = toy.make_net()
    seed()
    fit(net, output=None, epochs=1)
    assert draw() == expected


def test_calibrated_leaves_the_weights_to_training(toy: ModuleType) -> None:
    data = toy.make_data()
    scaled = neuro.calibrate(toy.make_net(), data.train.x)
    before = scaled.get_parameter("in.weight").detach().clone()
    neuro.fit(scaled, data, epochs=1, lr=1e-12, cell_lr=0, weight_decay=0, calibrated=True)
    assert torch.allclose(scaled.get_parameter("in.weight"), before, atol=1e-9)
    plain = toy.make_net()
    before = plain.get_parameter("in.weight").detach().clone()
    neuro.fit(plain, data, epochs=1, lr=1e-12, cell_lr=0, weight_decay=0)
    assert not torch.allclose(plain.get_parameter("in.weight"), before, rtol=0.5)


def test_float64_networks_train(toy: ModuleType) -> None:
    net = toy.make_net().double()
    neuro.fit(net, toy.make_data(), epochs=1)
    assert {value.dtype for value in net.state_dict().values()} == {torch.float64}


def test_no_word_and_no_file_from_lightning(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.DEBUG):
        fit(output=None, epochs=2)
    assert list(tmp_path.iterdir()) == []
    ours = [r for r in caplog.records if r.name.startswith("neuro.training")]
    assert [r.getMessage()[:9] for r in ours] == ["epoch 1/2", "epoch 2/2"]
    assert not [r for r in caplog.records if "lightning" in r.name]


# --- resume ------------------------------------------------------------------------------------------------


def test_a_killed_run_resumes_to_the_same_bits(toy: ModuleType, tmp_path: Path) -> None:
    epochs, folder = 60, tmp_path / "killed"
    script = Path(toy.__file__ or "")
    process = subprocess.Popen([sys.executable, "-P", script, folder, str(epochs)], stderr=subprocess.PIPE)
    metrics = folder / "metrics.csv"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and len(metrics.read_text().splitlines()) > 4):
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    done = len(metrics.read_text().splitlines()) - 1
    assert 3 < done < epochs, "the kill must hit training"
    options: dict[str, Any] = {"epochs": epochs, "batch_size": 8, "progress": False}
    resumed = neuro.fit(toy.make_net(seed=9), toy.make_data(), output=folder, resume=True, **options)
    whole = neuro.fit(toy.make_net(), toy.make_data(), output=tmp_path / "whole", **options)
    assert same(resumed, whole)
    for name in ("metrics.csv", "network.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


class _Interrupt:
    """A loss whose readout presses Ctrl-C at a given call."""

    def __init__(self, at: int) -> None:
        self.at, self.calls = at, 0

    def __call__(self, output: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return output.sum(0)


def test_ctrl_c_raises_and_leaves_a_resumable_run(fit: Fit) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(loss=Loss("spike_count", _Interrupt(at=9)))  # two readouts a batch, one batch and one validation an epoch
    assert signal.getsignal(signal.SIGINT) is handler
    resumed = fit(resume=True)
    assert same(resumed, fit(output=None))


def test_ctrl_c_in_the_first_epoch_can_be_resumed_too(fit: Fit) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(loss=Loss("spike_count", _Interrupt(at=1)))
    assert same(fit(resume=True), fit(output=None))


def test_a_finished_run_returns_at_once(fit: Fit, toy: ModuleType) -> None:
    first = fit()
    assert first.folder is not None
    weights = first.folder.weights.read_bytes()
    first.folder.weights.unlink()
    untrained = toy.make_net(seed=5)
    again = fit(untrained, resume=True, loss=Loss("spike_count", _Interrupt(at=1)))
    assert same(first, again)
    assert again.net is untrained
    assert first.folder.weights.read_bytes() == weights


def test_a_stopped_run_is_finished(fit: Fit) -> None:
    options: dict[str, Any] = {"epochs": 60, "patience": 2, "lr": 0.02}
    first = fit(**options)
    assert len(first.history) < 60
    again = fit(resume=True, loss=Loss("spike_count", _Interrupt(at=1)), **options)
    assert same(first, again)


def test_more_epochs_go_on_as_if_asked_from_the_start(fit: Fit) -> None:
    fit(epochs=3, schedule="constant")
    longer = fit(epochs=7, schedule="constant", resume=True)
    assert same(longer, fit(epochs=7, schedule="constant", output=None))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lr": 0.5}, "option lr=0.01, not 0.5"),
        ({"seed": 1}, "option seed=0, not 1"),
        ({"rule": "sltt"}, r"option rule='BPTT\(.*\)', not 'SLTT\(chunk=64.*\)'"),
        ({"epochs": 2}, "option epochs=4, not 2"),
    ],
)
def test_other_options_do_not_resume(fit: Fit, changed: dict[str, Any], said: str) -> None:
    fit()
    with pytest.raises(InputError, match=said):
        fit(resume=True, **changed)


def test_other_data_do_not_resume(fit: Fit, toy: ModuleType, tmp_path: Path) -> None:
    fit()
    other = replace(toy.make_data(), train=toy.Held(54, 1))
    with pytest.raises(InputError, match="data train=53, not 54"):
        neuro.fit(toy.make_net(), other, epochs=4, batch_size=64, output=tmp_path / "run", resume=True)


def test_another_architecture_does_not_resume(fit: Fit, toy: ModuleType) -> None:
    fit()
    with pytest.raises(InputError, match=r"in\.weight is \[7, 11\] in the file, \[9, 11\] in the network"):
        fit(toy.make_net(9), resume=True)


def test_a_truncated_checkpoint_is_named_and_kept(fit: Fit) -> None:
    folder = fit().folder
    assert folder is not None
    whole = folder.checkpoint.read_bytes()
    folder.checkpoint.write_bytes(whole[:1000])
    with pytest.raises(FileFormatError, match=r"last\.ckpt: truncated"):
        fit(resume=True)
    assert folder.checkpoint.read_bytes() == whole[:1000]


# --- output ------------------------------------------------------------------------------------------------


def test_an_output_that_holds_a_run(fit: Fit) -> None:
    first = fit()
    with pytest.raises(InputError, match="set resume or overwrite"):
        fit()
    assert same(fit(overwrite=True), first)


def test_resume_needs_an_output(fit: Fit) -> None:
    with pytest.raises(InputError, match="output folder"):
        fit(output=None, resume=True)


def test_an_unknown_logger(fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'tensorboard'"):
        fit(logger=("csv", "tensorbord"))
    assert not (tmp_path / "run").exists()


def test_the_metrics_file_holds_the_history(fit: Fit) -> None:
    result = fit()
    assert result.folder is not None
    with result.folder.metrics.open(newline="") as stream:
        rows = tuple({name: float(value) for name, value in row.items()} for row in csv.DictReader(stream))
    assert rows == result.history


class _Ragged:
    """The toy's samples, each cut to a length of its own."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        x, y = self.held[i]
        return x[: 9 + i % 9], y


def test_samples_of_different_lengths_train_and_are_judged_without_their_padding(toy: ModuleType) -> None:
    data = toy.Toy(_Ragged(toy.Held(53, 1)), _Ragged(toy.Held(31, 2)), _Ragged(toy.Held(20, 3)))
    net = toy.make_net()
    result = neuro.fit(net, data, loss="last_membrane", epochs=3, batch_size=16, progress=False)
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    judged = evaluate(net, data, "test", "last_membrane", batch_size=7)
    for i in range(len(data.test)):
        alone = net(data.test[i][0].unsqueeze(1))[0][-1, 0]
        assert torch.equal(judged.logits[i], alone)


def test_padding_and_statistics_do_not_go_together(toy: ModuleType) -> None:
    data = toy.Toy(_Ragged(toy.Held(53, 1)), _Ragged(toy.Held(31, 2)), _Ragged(toy.Held(20, 3)))
    net = neuro.Sequential(neuro.Linear(11, 3), neuro.BatchNorm(3), neuro.LIF(3))
    with pytest.raises(InputError, match="would count the padding in its statistics"):
        neuro.fit(net, data, epochs=1, progress=False)
