from __future__ import annotations

from types import ModuleType

import pytest
import torch

import neuro
from neuro.training.optimizer import SCHEDULES, build_optimizer, parameter_groups


def test_every_parameter_is_in_one_group(toy: ModuleType) -> None:
    net = toy.make_net()
    groups = {g["name"]: g for g in parameter_groups(net, lr=0.1, cell_lr=0.2, weight_decay=0.3)}
    assert {name: (g["lr"], g["weight_decay"]) for name, g in groups.items()} == {
        "weights": (0.1, 0.3),
        "biases": (0.1, 0.0),
        "cells": (0.2, 0.0),
    }
    found = [id(p) for g in groups.values() for p in g["params"]]
    assert sorted(found) == sorted(id(p) for p in net.parameters())
    assert {id(p) for p in groups["cells"]["params"]} == {id(p) for c in net.cells.values() for p in c.parameters()}


def test_frozen_parameters_and_empty_groups_are_left_out() -> None:
    net = neuro.Sequential(neuro.Linear(3, 2, bias=False), neuro.LIF(2, learn=()), neuro.Linear(2, 2, bias=False))
    net.get_parameter("0.weight").requires_grad_(False)
    (group,) = parameter_groups(net, lr=0.1, cell_lr=0.2, weight_decay=0.3)
    assert group["name"] == "weights"
    assert [id(p) for p in group["params"]] == [id(net.get_parameter("2.weight"))]


def test_time_constants_do_not_decay(toy: ModuleType) -> None:
    net = toy.make_net()
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    build_optimizer(net, lr=0.1, cell_lr=0.1, weight_decay=0.5).step()
    moved = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"in.weight", "out.weight"}


def test_schedules() -> None:
    assert [SCHEDULES["constant"](k, 4) for k in range(4)] == [1.0] * 4
    assert [SCHEDULES["cosine"](k, 4) for k in range(4)] == pytest.approx([1, 0.853553, 0.5, 0.146447], abs=1e-6)


@pytest.mark.parametrize(
    ("layer", "matrices"),
    [
        (neuro.LTC(2, 3), set()),
        (neuro.CfC(2, 3), {"weights"}),
        (neuro.SlidingPSN(2), set()),
        (neuro.Recurrent(neuro.LIF(2)), {"weights"}),
        (neuro.LIF((2, 1, 1)), set()),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_neurons_of_every_kind_learn_is_no_bias(layer: torch.nn.Module, matrices: set[str]) -> None:
    groups = parameter_groups(neuro.Sequential(layer), lr=0.1, cell_lr=0.2, weight_decay=0.3)
    names = {g["name"] for g in groups}
    assert names >= {"cells"} | matrices
    if not matrices:
        assert names == {"cells"}
