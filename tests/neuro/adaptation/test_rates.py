"""Rates of online learning: at rest while recognition is right, restless after a shift; the loop is plain SGD."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import neuro
from neuro.adaptation import ConstantRate, HomeostaticRate, RandomRate, Rate, meet, shifted
from neuro.errors import InputError
from neuro.training.losses import mean_membrane
from neuro.training.rules import BPTT, SLTT

EFFECTS = (1, -1, 1, -1)


def network() -> neuro.Sequential:
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.Linear(12, 16), neuro.LIF(16, tau=2e-3), neuro.Linear(16, 4), neuro.LI(4, tau=2e-3))
    return neuro.calibrate(net, stream(50)[0], drive=1.0)


def stream(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    y = torch.randint(0, 4, (count,), generator=generator)
    x = 0.15 * torch.randn(count, 12, generator=generator) + torch.eye(4).repeat(1, 3)[y]
    return x.expand(4, -1, -1), y


def test_while_recognition_is_right_the_rate_rests_and_after_a_shift_it_does_not() -> None:
    x, y = stream(900)
    told = torch.where(torch.arange(900) < 600, y, (y + 1) % 4)  # a full permutation
    rate = HomeostaticRate(EFFECTS, 0.05, step=0.15, low=0.002, high=0.5)
    met = meet(network(), x, told, rate, BPTT(), mean_membrane)
    assert float(met.right[400:600].double().mean()) > 0.95
    quiet, restless = met.rates[400:600].log(), met.rates[600:800].log()
    assert float((quiet - math.log(0.05)).abs().amax()) < 0.16  # one step
    assert float(restless.var()) > 5 * float(quiet.var())


def test_one_constant_rate_is_stochastic_gradient_descent() -> None:
    x, y = stream(15)
    met_net, plain = network(), network()
    met = meet(met_net, x, y, ConstantRate(0.2), SLTT(), mean_membrane)
    optimizer, right = torch.optim.SGD(plain.parameters(), lr=0.2), []
    for k in range(15):
        optimizer.zero_grad()
        right.append(int(mean_membrane.logits(plain(x[:, k : k + 1])[0]).argmax()) == int(y[k]))
        SLTT().backward(plain, x[:, k : k + 1], y[k : k + 1], mean_membrane)
        optimizer.step()
    assert met.right.tolist() == right
    assert met.rates.tolist() == pytest.approx([0.2] * 15)
    for a, b in zip(met_net.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_stream_is_learned_and_a_shift_is_felt() -> None:
    x, y = stream(600)
    shift = shifted(y, 300, classes=4, kind="permute", seed=2)
    met = meet(network(), x, shift.labels, ConstantRate(0.3), BPTT(), mean_membrane)
    assert float(met.right[200:300].double().mean()) > 0.9
    assert float(met.right[300:330].double().mean()) < 0.5
    assert float(met.right[500:].double().mean()) > 0.9


def seen(rate: Rate, pairs: list[tuple[int, int]]) -> list[float]:
    made = []
    for predicted, label in pairs:
        rate.see(predicted, label)
        made.append(round(math.log(rate.lr / 0.1), 6))
    return made


def test_the_homeostatic_rate_by_hand() -> None:
    rate = HomeostaticRate(EFFECTS, 0.1, step=0.5, low=0.02, high=0.2)
    # At the set point anything is taken in; below it only what looks as if it raised the rate, above only what lowers.
    assert seen(rate, [(0, 1), (1, 1), (2, 3), (0, 0), (0, 2), (0, 0), (2, 2), (1, 0), (3, 1)]) == pytest.approx(
        [-0.5, -0.5, -1.0, -0.5, 0.0, 0.5, 0.5, math.log(2), math.log(2) - 0.5], abs=1e-6
    )


def test_the_random_rate_walks_between_its_bounds() -> None:
    made = seen(RandomRate(0.1, step=0.3, low=0.05, high=0.2, seed=4), [(0, 0)] * 200)
    assert min(made) == pytest.approx(math.log(0.5), abs=1e-6)
    assert max(made) == pytest.approx(math.log(2), abs=1e-6)
    assert made == seen(RandomRate(0.1, step=0.3, low=0.05, high=0.2, seed=4), [(0, 0)] * 200)
    assert seen(ConstantRate(0.1), [(0, 1), (1, 0)]) == [0.0, 0.0]


def test_bad_options_are_named() -> None:
    with pytest.raises(InputError, match="lr must be above 0"):
        ConstantRate(0.0)
    with pytest.raises(InputError, match="low, lr and high must ascend"):
        RandomRate(0.9)
    with pytest.raises(InputError, match=r"effects must be 1 or -1 for each class, got \[1, 0\]"):
        HomeostaticRate([1, 0], 0.1)
    x, y = stream(5)
    with pytest.raises(InputError, match=r"labels must be \[5\]"):
        meet(network(), x, y[:4], ConstantRate(0.1), BPTT(), mean_membrane)
