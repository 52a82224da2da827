"""Thresholds follow the spikes; weights keep their sum."""

from __future__ import annotations

import math

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.plasticity import Activity, HomeostaticThreshold, WeightScaling, write_grad


def test_threshold_equals_its_recurrence() -> None:
    z = (torch.rand(40, 3, 5) < 0.3).double()
    rule = HomeostaticThreshold(step=0.2, tau=30e-3, rest=0.8)
    theta = start = torch.rand(5, dtype=torch.float64)
    for t in range(40):
        theta = 0.8 + (theta - 0.8) * math.exp(-1 / 30) + 0.2 * z[t].mean(0)
    change, _ = rule.change(start, Activity(z, z, z))
    assert torch.allclose(start + change, theta, rtol=1e-12)


def test_busy_neurons_calm_down() -> None:
    torch.manual_seed(0)
    cell = neuro.LIF(6, learn=["v_threshold"], shared=[])
    net = neuro.Sequential(cell)
    x = torch.linspace(2, 12, 6).expand(100, 1, 6)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    counts = []
    for _ in range(30):
        optimizer.zero_grad()
        out = write_grad(net, x, {"0": HomeostaticThreshold(step=0.02, tau=50.0)}).output
        optimizer.step()
        counts.append(out.sum(0)[0])
    assert (counts[-1] < counts[0]).all()
    spread = [float(c.max() - c.min()) for c in (counts[0], counts[-1])]
    assert spread[1] < 0.5 * spread[0]


def test_weights_keep_their_sum() -> None:
    weight = torch.tensor([[1.0, -3.0], [0.0, 0.0], [0.5, 0.5]])
    change, _ = WeightScaling(total=2.0).change(weight, Activity(weight, weight, weight))
    assert torch.allclose(weight + change, torch.tensor([[0.5, -1.5], [0.0, 0.0], [1.0, 1.0]]))
    change, _ = WeightScaling(total=2.0, rate=0.5).change(weight, Activity(weight, weight, weight))
    assert torch.allclose((weight + change)[0], torch.tensor([0.75, -2.25]))


def test_bad_values_are_named() -> None:
    with pytest.raises(InputError, match="tau and dt must be positive"):
        HomeostaticThreshold(tau=0.0)
    with pytest.raises(InputError, match="step and rest must be finite"):
        HomeostaticThreshold(rest=math.nan)
    with pytest.raises(InputError, match="total must be positive"):
        WeightScaling(total=-1.0)
