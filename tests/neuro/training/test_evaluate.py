from __future__ import annotations

import json
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.training.evaluate import evaluate
from neuro.training.losses import spike_count


@pytest.fixture
def task(toy: ModuleType) -> tuple[neuro.Sequential, Any]:
    data = replace(toy.make_data(), test=toy.Held(41, 7))
    return neuro.calibrate(toy.make_net(), data.train.x), data


def test_against_one_run_of_everything(task: tuple[neuro.Sequential, Any]) -> None:
    net, data = task
    result = evaluate(net, data, batch_size=16)
    with torch.no_grad():
        output, _ = net(data.test.x)
        loss = float(spike_count(output, data.test.y))
    predicted = output.sum(0).argmax(1)
    assert (result.data, result.split, result.samples, result.classes) == ("toy", "test", 41, ("a", "b", "c"))
    assert torch.equal(result.predicted, predicted)
    assert torch.equal(result.logits, output.sum(0))
    assert torch.equal(result.labels, data.test.y)
    assert result.accuracy == int((predicted == data.test.y).sum()) / 41
    assert result.loss == pytest.approx(loss, rel=1e-6)
    assert int(result.confusion.sum()) == 41
    assert int(result.confusion.trace()) == round(result.accuracy * 41)
    assert result.confusion.sum(1).tolist() == torch.bincount(data.test.y).tolist()
    assert result.cells[0].spikes == pytest.approx(float(neuro.record(net, data.test.x)["hidden"]["z"].sum()) / 41)
    assert result.synops == pytest.approx(result.synapses[0].events * 7 + result.cells[0].spikes * 3)
    assert result.macs == 17 * (11 * 7 + 7 * 3)


def test_batch_size_changes_nothing(task: tuple[neuro.Sequential, Any]) -> None:
    net, data = task
    small, large = (evaluate(net, data, "train", batch_size=size).summary() for size in (7, 1000))
    assert small.pop("loss") == pytest.approx(large.pop("loss"))
    assert small.keys() == large.keys()
    assert json.dumps(small["confusion"]) == json.dumps(large["confusion"])
    assert small["synops"] == pytest.approx(large["synops"])


def test_the_summary_is_json(task: tuple[neuro.Sequential, Any]) -> None:
    net, data = task
    summary = evaluate(net, data, "validation", "mean_membrane").summary()
    assert json.loads(json.dumps(summary)) == summary
    assert summary["loss_name"] == "mean_membrane"
    assert [row["name"] for row in summary["cells"]] == ["hidden", "vote"]


def test_weights_and_gradients_are_left_alone(task: tuple[neuro.Sequential, Any]) -> None:
    net, data = task
    before = [p.clone() for p in net.parameters()]
    evaluate(net, data)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_unknown_names(task: tuple[neuro.Sequential, Any]) -> None:
    net, data = task
    with pytest.raises(InputError, match="unknown split 'tset'; did you mean 'test'"):
        evaluate(net, data, "tset")
    with pytest.raises(InputError, match="unknown loss"):
        evaluate(net, data, "test", "hinge")


def test_too_few_outputs_for_the_classes(toy: ModuleType, task: tuple[neuro.Sequential, Any]) -> None:
    _, data = task
    net = neuro.Sequential(neuro.Linear(11, 2), neuro.LIF(2))
    with pytest.raises(InputError, match="classes 0 to 1"):
        evaluate(net, data)
