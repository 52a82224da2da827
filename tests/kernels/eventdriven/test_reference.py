from __future__ import annotations

import math

import pytest
import torch

from neuro.kernels.eventdriven.reference import membrane_reference, response, spiking_layer_reference
from neuro.kernels.eventdriven.spike_times import SpikeTimes


@pytest.mark.parametrize("tau_syn", [5e-3, 20e-3])
def test_the_response_solves_the_membrane_equation(tau_syn: float) -> None:
    d = torch.tensor([1e-3, 8e-3, 0.1], dtype=torch.float64, requires_grad=True)
    v = response(d, 20e-3, tau_syn)
    (slope,) = torch.autograd.grad(v.sum(), d)
    torch.testing.assert_close(20e-3 * slope, torch.exp(-d / tau_syn) - v)


def test_one_spike_by_hand() -> None:
    one = SpikeTimes(torch.zeros(1).double(), torch.zeros(1).int(), torch.tensor([0, 1]), torch.ones(1).double(), 1)
    weight = torch.tensor([[5.0]]).double().requires_grad_()
    made = spiking_layer_reference(one, weight, tau_mem=0.02, tau_syn=0.01, end=0.1)
    x = (5 + math.sqrt(5)) / 10  # the larger root of w x^2 - w x + 1 = 0, x = exp(-t / tau_mem)
    assert made.time.tolist() == pytest.approx([-0.02 * math.log(x)], rel=1e-12)
    made.time.sum().backward()
    assert weight.grad is not None
    assert float(weight.grad) == pytest.approx(-0.02 / x / (25 * (2 * x - 1)), rel=1e-9)  # dx/dw = 1 / (w^2 (2x - 1))


def test_a_membrane_by_hand() -> None:
    one = SpikeTimes(
        torch.full((1,), 5e-4, dtype=torch.float64),
        torch.zeros(1).int(),
        torch.tensor([0, 1]),
        torch.ones(1).double(),
        1,
    )
    weight = torch.tensor([[2.0]]).double()
    made = membrane_reference(one, weight, steps=2, dt=1e-3, tau_mem=1e-3).flatten().tolist()
    half = math.exp(-0.5)
    assert made == pytest.approx([2 * (1 - half), 2 * (half - half**3)], rel=1e-12)
