from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError
from neuro.training.losses import mean_membrane
from neuro.training.rules.local import DRTP, TPSGD
from neuro.training.rules.local.projected import running_mean
from neuro.training.rules.local.three_factor import Seen

T, B, I, H, C = 13, 5, 9, 14, 4


def network() -> neuro.Sequential:
    torch.manual_seed(3)
    surrogate = neuro.Surrogate("triangle", width=0.6)
    cell = neuro.LIF(H, tau=4e-3, reset="subtract", learn=(), surrogate=surrogate)
    return neuro.Sequential(neuro.Linear(I, H), cell, neuro.Linear(H, C), neuro.LI(C, tau=3e-3, learn=())).double()


def batch() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    x = 40 * (torch.rand(T, B, I, generator=draw) < 0.4).double()
    return x, torch.randint(C, (B,), generator=draw)


def test_without_feedback_only_the_last_layer_learns() -> None:
    net, (x, y) = network(), batch()
    DRTP("none").backward(net, x, y, mean_membrane)
    grads = {name: p.grad for name, p in net.named_parameters()}
    assert not any(bool(g.any()) for name, g in grads.items() if g is not None and name.startswith("0"))
    assert all(g is not None and bool(g.any()) for name, g in grads.items() if name.startswith("2"))


def test_either_norm_reaches_the_first_layer() -> None:
    net, (x, y) = network(), batch()
    for rule in (TPSGD(), TPSGD("l2")):
        net.zero_grad()
        rule.backward(net, x, y, mean_membrane)
        grad = net.get_parameter("0.weight").grad
        assert grad is not None
        assert bool(grad.any())


@pytest.mark.parametrize("active", [0.1, 0.5, 0.8])
def test_as_many_neurons_as_asked_for_get_a_target(active: float) -> None:
    """In a silent layer the distance to the target is minus the rate where a class asks for a neuron, 0 elsewhere."""
    silent = torch.zeros(2, 3, 4000, dtype=torch.float64)
    seen = Seen("1", silent, torch.tensor([0, 1, 1]), C, None, torch.ones(2, 1, 1), None)
    made, _ = TPSGD("l2", rate=0.3, active=active).modulator(seen)
    assert set(made.unique().tolist()) == {-0.3, 0.0}
    assert torch.equal(made[0, 1], made[1, 2])
    assert float((made != 0).double().mean()) == pytest.approx(active, abs=0.03)


def test_the_running_mean_goes_on_where_it_stopped() -> None:
    x = torch.rand(7, 2, 3)
    whole, _ = running_mean(x, None)
    first, past = running_mean(x[:3], None)
    assert torch.allclose(torch.cat([first, running_mean(x[3:], past)[0]]), whole)
    assert torch.allclose(whole[4], x[:5].mean(0))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: DRTP("labels"), "unknown feedback 'labels'"),
        (lambda: DRTP(seed=-1), "seed=-1 must be a whole number, at least 0"),
        (lambda: TPSGD("l3"), "unknown norm"),
        (lambda: TPSGD(rate=2.0), r"rate=2.0 must be above 0"),
        (lambda: TPSGD(active=1.0), r"active=1.0 must be above 0, below 1"),
    ],
)
def test_options_out_of_range(make: Callable[[], object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        make()
