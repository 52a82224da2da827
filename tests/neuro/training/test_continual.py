"""HLOP around a rule: answers to earlier inputs stay, the rest learns, a task broken off leaves nothing behind."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError
from neuro.training.continual import HLOP
from neuro.training.losses import mean_membrane
from neuro.training.rules import BPTT, OTTT, SLTT, EProp, Rule

ROWS = {"0": 4, "2": 6}


def network(bias: bool = False) -> neuro.Sequential:
    torch.manual_seed(0)
    layers = (neuro.Linear(20, 24, bias=bias), neuro.LIF(24, tau=4e-3), neuro.Linear(24, 3, bias=bias), neuro.LI(3))
    return neuro.calibrate(neuro.Sequential(*layers), task(0)[0], drive=1.0)


def task(number: int) -> tuple[Tensor, Tensor]:
    """Currents ``[6, 90, 20]`` in three directions of their own for each task, the class in which of them is the largest."""
    generator = torch.Generator().manual_seed(7 + number)
    basis = torch.linalg.qr(torch.randn(20, 20, generator=generator)).Q[:3]
    mixed = torch.rand(90, 3, generator=generator)
    return (3 * mixed @ basis).expand(6, 90, 20), mixed.argmax(1)


def learn(net: neuro.Sequential, rule: Rule, x: Tensor, y: Tensor, passes: int = 60) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
    for _ in range(passes):
        optimizer.zero_grad()
        rule.backward(net, x, y, mean_membrane)
        optimizer.step()


@torch.no_grad()
def right(net: neuro.Sequential, x: Tensor, y: Tensor) -> float:
    return float((mean_membrane.logits(net(x)[0]).argmax(1) == y).float().mean())


@pytest.mark.parametrize("inner", [BPTT(), SLTT(), OTTT(), EProp()], ids=lambda rule: type(rule).__name__)
def test_what_weights_answer_to_the_stored_subspace_stays(inner: Rule) -> None:
    net = network()
    rule = HLOP(net, ROWS, inner)
    with rule.task():
        learn(net, rule, *task(0), passes=20)
    stored = {name: torch.randn(5, len(s.old)) @ s.old for name, s in rule.subspaces.items()}
    before = {name: stored[name] @ net.layers[name].get_parameter("weight").detach().t() for name in stored}
    weights = {name: net.layers[name].get_parameter("weight").detach().clone() for name in stored}
    with rule.task():
        learn(net, rule, *task(1), passes=20)
    for name, held in before.items():
        weight = net.layers[name].get_parameter("weight").detach()
        assert torch.allclose(stored[name] @ weight.t(), held, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(weight, weights[name], atol=1e-3)


def test_a_first_task_is_kept_that_is_lost_otherwise() -> None:
    found = {}
    for protected in (False, True):
        net = network()
        rule = HLOP(net, ROWS) if protected else None
        for number in range(3):
            if rule is None:
                learn(net, BPTT(), *task(number))
                continue
            with rule.task():
                learn(net, rule, *task(number))
        found[protected] = [right(net, *task(number)) for number in range(3)]
    assert min(found[True]) > 0.8
    assert found[False][0] < found[True][0] - 0.1


def test_the_first_task_learns_as_without_it() -> None:
    plain, guarded = network(bias=True), network(bias=True)
    rule = HLOP(guarded, ROWS)
    learn(plain, BPTT(), *task(0), passes=5)
    with rule.task():
        learn(guarded, rule, *task(0), passes=5)
    for a, b in zip(plain.parameters(), guarded.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_is_not_protected_stands_still_after_the_first_task() -> None:
    net = network(bias=True)
    rule = HLOP(net, {"0": 4})
    with rule.task():
        learn(net, rule, *task(0), passes=3)
    held = {name: p.detach().clone() for name, p in net.named_parameters()}
    with rule.task():
        learn(net, rule, *task(1), passes=3)
    moved = {name for name, p in net.named_parameters() if not torch.equal(p, held[name])}
    assert moved == {"0.weight"}


def test_a_layer_may_not_be_filled() -> None:
    net = network()
    rule = HLOP(net, {"0": 11})
    with rule.task():
        learn(net, rule, *task(0), passes=2)
    with (
        pytest.raises(InputError, match=r"layer '0': .* 11 of 20 inputs are taken, got 11 more; take fewer rows"),
        rule.task(),
    ):
        pass
    with rule.task({"0": 3}):
        learn(net, rule, *task(1), passes=2)
    assert len(rule.subspaces["0"].old) == 14


def test_a_task_broken_off_leaves_no_rows() -> None:
    net = network()
    rule = HLOP(net, ROWS)
    x, y = task(0)
    with pytest.raises(InputError, match="y holds class 11"), rule.task():
        learn(net, rule, x, y + 9, passes=1)
    assert rule.tasks == 0
    assert all(len(s.old) == len(s.new) == 0 for s in rule.subspaces.values())
    with rule.task():
        learn(net, rule, *task(0), passes=1)
    assert {name: len(s.old) for name, s in rule.subspaces.items()} == ROWS


def test_fit_trains_by_it_and_keeps_the_lateral_synapses(toy: ModuleType) -> None:
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.Linear(11, 12), neuro.LIF(12), neuro.Linear(12, 3), neuro.LI(3))
    rule, data = HLOP(net, {"0": 3, "2": 2}), toy.make_data()
    neuro.calibrate(net, data.train.tensors()[0])
    for _ in range(2):
        with rule.task():
            options: dict[str, Any] = {
                "lr": 0.1,
                "optimizer": "momentum",
                "weight_decay": 0.0,
                "calibrated": True,
                "progress": False,
            }
            neuro.fit(net, data, rule, "mean_membrane", epochs=1, **options)
    assert rule.tasks == 2
    assert rule.auxiliary is not None
    assert {tuple(v.shape) for v in rule.auxiliary.state_dict().values()} >= {(6, 11), (4, 12)}
    with pytest.raises(InputError, match="has moved within the protected subspace; use SGD"), rule.task():
        neuro.fit(net, data, rule, "mean_membrane", epochs=1, batch_size=8, calibrated=True, progress=False)


def test_an_optimizer_that_leaves_the_free_space_is_noticed() -> None:
    net = network()
    rule = HLOP(net, ROWS)
    x, y = task(0)
    for number, optimizer in enumerate((torch.optim.Adam(net.parameters()), torch.optim.SGD(net.parameters(), lr=0.1))):
        with rule.task():
            for _ in range(5):
                optimizer.zero_grad()
                rule.backward(net, x, y, mean_membrane)
                optimizer.step()
        assert rule.tasks == number + 1
    adam = torch.optim.Adam(net.parameters())
    with rule.task({"0": 1, "2": 1}):
        rule.backward(net, x, y, mean_membrane)
        adam.step()
        with pytest.raises(InputError, match="layer '0' has moved within the protected subspace; use SGD"):
            rule.backward(net, x, y, mean_membrane)


def test_misuse_is_named() -> None:
    net = network()
    rule = HLOP(net, ROWS)
    with pytest.raises(InputError, match="no task is open"):
        learn(net, rule, *task(0), passes=1)
    with pytest.raises(InputError, match="subspaces of another network"):
        rule.prepare(network())
    with pytest.raises(InputError, match="open already"), rule.task(), rule.task():
        pass
    with pytest.raises(InputError, match="unknown protected layer '1'"), rule.task({"1": 2}):
        pass
    with pytest.raises(InputError, match="unknown layer '7'"):
        HLOP(net, {"7": 2})
    with pytest.raises(InputError, match="layer '1' is LIF"):
        HLOP(net, {"1": 2})
    with pytest.raises(InputError, match="at least one layer"):
        HLOP(net, {})
