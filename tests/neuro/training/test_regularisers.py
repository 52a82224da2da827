"""A penalty on rates: its gradient is that of a loss with the penalty written out, under every rule that asks autograd."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError
from neuro.kernels import Route
from neuro.training.regularisers import SpikeRate, regularised

Y = torch.tensor([0, 2, 1])


def made() -> tuple[neuro.Sequential, Tensor]:
    torch.manual_seed(3)
    net = neuro.Sequential(neuro.Linear(6, 5), neuro.Recurrent(neuro.LIF(5)), neuro.Linear(5, 3), neuro.LI(3)).double()
    x = (torch.rand(20, 3, 6) < 0.4).double()
    neuro.calibrate(net, x)
    return net, x


def test_the_gradient_is_that_of_the_loss_and_the_penalty_together() -> None:
    net, x = made()
    rate = SpikeRate(low=60.0, high=90.0, weight=0.7)
    with regularised(net, [rate]):
        neuro.rules.BPTT().backward(net, x, Y, neuro.losses.max_membrane)
    ours = {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    neuro.rules.BPTT().backward(net, x, Y, neuro.losses.max_membrane)
    without = net.get_parameter("0.weight").grad
    assert without is not None
    without = without.clone()
    net.zero_grad()
    hidden, _ = net.get_submodule("1")(net.get_submodule("0")(x), route=Route())
    out, _ = net.get_submodule("3")(net.get_submodule("2")(hidden))
    (neuro.losses.max_membrane(out, Y) + rate.penalty(hidden, 1e-3)).backward()
    assert float(rate.penalty(hidden.detach(), 1e-3)) > 0
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, net.get_parameter(name).grad, rtol=1e-12, atol=1e-15)
    assert not torch.allclose(ours["0.weight"], without)


def test_penalty_by_hand() -> None:
    z = torch.zeros(10, 2, 3)
    z[:2, :, 1] = 1  # 200 Hz at 1 ms
    z[:, :, 2] = 1  # 1000 Hz
    expected = 2.0 * (1 + 0 + ((1000 - 400) / 400) ** 2) / 3
    assert float(SpikeRate(low=100.0, high=400.0, weight=2.0).penalty(z, 1e-3)) == pytest.approx(expected, rel=1e-5)


def test_training_with_a_low_bound_raises_the_rates(toy: ModuleType) -> None:
    bound = SpikeRate(low=200.0, weight=5.0)

    def missed(regularisers: list[SpikeRate]) -> float:
        net, data = toy.make_net(hidden=12), toy.make_data()
        neuro.fit(net, data, epochs=10, lr=0.1, regularisers=regularisers, calibrated=True)
        with torch.no_grad():
            hidden, _ = neuro.Sequential(net.get_submodule("in"), net.get_submodule("hidden"))(data.train.x)
        return float(bound.penalty(hidden, 1e-3))

    assert missed([bound]) < 0.5 * missed([])


def test_what_is_refused() -> None:
    net, x = made()
    with (
        pytest.raises(InputError, match=r"without a backward pass.* use bptt, tbptt or sltt"),
        regularised(net, [SpikeRate(low=10.0)]),
    ):
        neuro.rules.RTRL  # noqa: B018 - nothing runs
    with (
        pytest.raises(InputError, match=r"concern none of the populations \['1', '3'\]"),
        regularised(net, [SpikeRate(low=10.0, layers=["0"])]),
    ):
        net(x)
    for options, said in (
        ({}, "needs a bound"),
        ({"low": 9.0, "high": 3.0}, "low=9.0 is above high=3.0"),
        ({"low": -1.0}, "low=-1.0 must be above 0"),
        ({"high": 5.0, "weight": 0.0}, "weight=0.0"),
    ):
        with pytest.raises(InputError, match=said):
            SpikeRate(**options)  # type: ignore[arg-type]
