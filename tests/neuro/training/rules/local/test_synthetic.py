from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError
from neuro.training.losses import mean_membrane
from neuro.training.rules.local import Synthetic

T, B, I, H, C = 9, 60, 12, 30, 3


def network() -> neuro.Sequential:
    torch.manual_seed(3)
    return neuro.Sequential(
        neuro.Linear(I, H), neuro.LIF(H, tau=4e-3, reset="subtract", learn=()),
        neuro.Linear(H, H), neuro.LIF(H, tau=4e-3, reset="subtract", learn=()),
        neuro.Linear(H, C), neuro.LI(C, tau=3e-3, learn=()),
    )  # fmt: skip


def batch() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    y = torch.randint(C, (B,), generator=draw)
    sign = torch.randn(B, I, generator=draw).sign()
    sign[:, 0] = sign[:, 1] * (1.0 - 2 * (y == 0))  # a product of two inputs: no weights from input to class tell it
    sign[:, 2] = 2.0 * (y == 1) - 1
    return sign.expand(T, B, I), y


def test_predictors_come_to_foretell_what_comes_down() -> None:
    net, (x, y) = network(), batch()
    neuro.calibrate(net, x, drive=1.0)
    rule = Synthetic(hidden=32).prepare(net)
    own: Any = rule.auxiliary
    optimizer = torch.optim.Adam([*net.parameters(), *own.parameters()], lr=5e-3)
    losses = []
    for step in range(120):
        optimizer.zero_grad()
        losses.append(float(rule.backward(net, x, y, mean_membrane).loss))
        if step == 0:  # a predictor knows nothing yet, so the layer waits for it
            assert not bool(net.get_parameter("0.weight").grad.any())  # type: ignore[union-attr]
            assert bool(own["layer_3"].out.grad.any())
            assert not bool(own["layer_1"].out.grad.any())  # nor has the layer above anything to hand down
        optimizer.step()
    made = mean_membrane.logits(net(x)[0]).argmax(1)
    assert losses[-1] < 0.3 * losses[0]
    assert float((made == y).float().mean()) > 0.9


def test_predictors_are_functions_of_the_seed() -> None:
    first, again, other = (Synthetic(seed=s).prepare(network()).auxiliary for s in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    for one, two, three in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three) == (not one.any())


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Synthetic(hidden=0), "hidden=0 must be a whole number"),
        (lambda: Synthetic(decay=1.0), r"decay=1.0 must be at least 0, below 1"),
        (lambda: Synthetic().backward(network(), *batch(), mean_membrane), r"rule\.prepare"),
    ],
)
def test_what_it_refuses(make: Callable[[], object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        make()
