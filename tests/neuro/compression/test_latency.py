from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import neuro
from neuro.compression import first_steps, reduce_latency
from neuro.errors import InputError


class Held:
    """Constant currents ``[T, S, 6]`` whose class is the largest of three pairs."""

    def __init__(self, samples: int, seed: int, steps: int = 4) -> None:
        x = torch.rand(samples, 6, generator=torch.Generator().manual_seed(seed))
        self.x, self.y = x.expand(steps, -1, -1), x.view(-1, 3, 2).sum(2).argmax(1)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.x[:, i], int(self.y[i])

    def tensors(self) -> tuple[Tensor, Tensor]:
        return self.x, self.y


class Forbidden:
    """A split that must not be looked at."""

    def __len__(self) -> int:
        raise AssertionError("the test split was touched")


@dataclass(frozen=True)
class Data:
    """Named parts of the task."""

    train: Any
    validation: Any
    test: Any
    name: str = "pairs"
    classes: tuple[str, ...] = ("a", "b", "c")


DATA = Data(Held(160, 1), Held(80, 2), Forbidden())
OPTIONS: dict[str, Any] = {"loss": "mean_membrane", "epochs": 4, "batch_size": 8, "lr": 0.03, "progress": False}


def make_net() -> neuro.Sequential:
    torch.manual_seed(5)
    cell: dict[str, Any] = {"tau": 2e-3, "r": 2.0, "reset": "subtract", "learn": ("tau", "v_threshold")}
    return neuro.Sequential(
        neuro.Linear(6, 20),
        neuro.LIF(20, **cell),
        neuro.Linear(20, 15),
        neuro.LIF(15, **cell),
        neuro.Linear(15, 3),
    )


def test_each_stage_begins_with_the_weights_of_the_one_before(tmp_path: Path) -> None:
    rows = reduce_latency(make_net(), DATA, (4, 2, 1), output=tmp_path, **OPTIONS)
    assert [row.steps for row in rows] == [4, 2, 1]
    assert rows[0].accuracy > 0.8
    before = neuro.load(tmp_path / "steps-4" / "network.safetensors")
    x, y = DATA.validation.tensors()
    with torch.no_grad():
        right = (before(x[:2])[0].mean(0).argmax(1) == y).float().mean()
    assert rows[1].start_accuracy == pytest.approx(float(right))
    assert rows[2].accuracy > 0.75
    assert all(row.lowest_rate > 1e-3 for row in rows)
    with (tmp_path / "stages.csv").open(encoding="utf-8") as stream:
        assert [float(row["accuracy"]) for row in csv.DictReader(stream)] == [row.accuracy for row in rows]


def test_resumed_stages_end_as_those_that_were_never_stopped(tmp_path: Path) -> None:
    whole = make_net()
    rows = reduce_latency(whole, DATA, (3, 1), **OPTIONS)
    reduce_latency(make_net(), DATA, (3,), output=tmp_path, **OPTIONS)
    again = make_net()
    assert reduce_latency(again, DATA, (3, 1), output=tmp_path, resume=True, **OPTIONS) == rows
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))


def test_one_step_is_a_network_of_binary_activations() -> None:
    net = make_net()
    reduce_latency(net, DATA, (2, 1), **OPTIONS)
    x, _ = DATA.validation.tensors()
    layers = list(net.layers.values())
    here = x[0]
    with torch.no_grad():
        for synapses, cell in ((layers[0], layers[1]), (layers[2], layers[3])):
            assert isinstance(cell, neuro.LIF)
            current = synapses(here.unsqueeze(0))[0]
            membrane = current * cell.value("r") * (cell.dt / cell.value("tau"))
            here = (membrane > cell.value("v_threshold")).float()
        torch.testing.assert_close(net(x[:1])[0][0], layers[4](here.unsqueeze(0))[0])


def test_data_may_be_made_for_each_number_of_steps() -> None:
    asked: list[int] = []

    def made(steps: int) -> Data:
        asked.append(steps)
        return Data(Held(32, 1, steps), Held(16, 2, steps), Forbidden())

    reduce_latency(make_net(), made, (3, 2), **OPTIONS | {"epochs": 1})
    assert asked == [3, 2]


def test_stops_at_a_layer_that_fell_silent() -> None:
    net = make_net()
    net.layers["3"].get_parameter("v_threshold").data.fill_(900.0)
    with pytest.raises(InputError, match=r"with 2 steps layer '3' has 0 spikes .* below least_rate=0\.001"):
        reduce_latency(net, DATA, (2, 1), calibrated=True, **OPTIONS | {"epochs": 1})


def test_first_steps_of_samples_with_and_without_tensors() -> None:
    short = first_steps(DATA, 2)
    assert short.train.tensors()[0].shape == (2, 160, 6)
    assert torch.equal(short.validation[3][0], DATA.validation.x[:2, 3])
    assert (short.name, short.classes, len(short.train)) == ("pairs", DATA.classes, 160)
    streamed = first_steps(Data([(torch.zeros(5, 2), 1)], [], []), 4)
    assert not hasattr(streamed.train, "tensors")
    assert streamed.train[0][0].shape == (4, 2)
    with pytest.raises(InputError, match="samples have 4 steps, fewer than the 5"):
        first_steps(DATA, 5).train.tensors()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": (3, 3)}, r"steps=\(3, 3\)"),
        ({"steps": ()}, r"steps=\(\)"),
        ({"steps": (2, 0)}, r"steps=\(2, 0\)"),
        ({"least_rate": -1.0}, "least_rate=-1"),
        ({"resume": True}, "needs the output folder"),
        ({"overwrite": True}, "overwrite is not taken"),
        ({"epochs": 0}, "epochs=0"),
    ],
)
def test_refuses_what_it_cannot_use(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        reduce_latency(make_net(), DATA, **{"steps": (2, 1), **OPTIONS, **change})
