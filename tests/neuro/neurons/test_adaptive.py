"""Adaptive cells against the published recurrences, written out as scalar loops."""

from __future__ import annotations

import math

import pytest
import torch

import neuro

X = [0.9, 2.1, 0.3, 4.0, 2.5, 0.0, 1.7, 3.3, -1.0, 2.8, 3.9, 0.2, 5.0, 5.0, 5.0, 0.1, 2.0]
DT = 1e-3


def run(cell: neuro.Cell, gain: float = 1.0) -> tuple[list[float], list[float]]:
    """Spikes and membranes before reset, in float64."""
    x = torch.tensor(X, dtype=torch.float64).view(-1, 1, 1) * gain
    z, _, states = cell.double().trace(x)
    return z.flatten().tolist(), states["v"].flatten().tolist()


def test_adlif_is_the_recurrence_of_its_paper() -> None:
    cell = neuro.AdLIF(1, tau=3e-3, tau_w=20e-3, a=0.3, b=0.7, v_threshold=0.9, learn=())
    alpha, beta = math.exp(-DT / 3e-3), math.exp(-DT / 20e-3)
    u = w = s = 0.0
    spikes, membranes = [], []
    for x in X:
        w = beta * w + 0.3 * u + 0.7 * s
        u = alpha * (u - 0.9 * s) + (1 - alpha) * (2 * x - w)
        s = float(u > 0.9)
        spikes.append(s)
        membranes.append(u)
    z, v = run(cell, 2.0)
    assert z == spikes
    assert 2 < sum(z) < len(X)
    assert v == pytest.approx(membranes, rel=1e-6)


def test_se_adlif_is_the_recurrence_of_its_paper() -> None:
    cell = neuro.SEAdLIF(1, tau=3e-3, tau_w=40e-3, a=0.4, b=0.6, q=20.0, v_threshold=0.9, learn=())
    alpha, beta = math.exp(-DT / 3e-3), math.exp(-DT / 40e-3)
    u = w = 0.0
    spikes, membranes = [], []
    for x in X:
        u = alpha * u + (1 - alpha) * (2 * x - w)
        s = float(u > 0.9)
        spikes.append(s)
        membranes.append(u)
        u = u * (1 - s)
        w = beta * w + (1 - beta) * 20.0 * (0.4 * u + 0.6 * s)
    z, v = run(cell, 2.0)
    assert z == spikes
    assert 2 < sum(z) < len(X)
    assert v == pytest.approx(membranes, rel=1e-6)


def test_alif_threshold_rises_with_spikes_and_decays() -> None:
    cell = neuro.ALIF(1, tau=3e-3, tau_a=30e-3, beta=0.5, method="exponential", learn=())
    alpha, rho = math.exp(-DT / 3e-3), math.exp(-DT / 30e-3)
    v = a = 0.0
    spikes = []
    for x in X:
        v, a = alpha * v + (1 - alpha) * 2 * x, rho * a
        z = float(v > 1 + 0.5 * a)
        spikes.append(z)
        v, a = v - z, a + z
    assert run(cell, 2.0)[0] == spikes
    free = neuro.ALIF(1, tau=3e-3, beta=0.0, method="exponential", learn=())
    assert 2 < sum(spikes) < sum(run(free, 2.0)[0])


def test_plif_is_lif_with_one_learned_time_constant() -> None:
    x = torch.rand(20, 3, 5) * 6
    plif, lif = neuro.PLIF(5, tau=3e-3), neuro.LIF(5, tau=3e-3)
    z, wanted = plif(x)[0], lif(x)[0]
    assert bool(z.detach().any())
    assert torch.equal(z, wanted)
    z.sum().backward()
    wanted.sum().backward()
    (tau,), (each,) = plif.parameters(), lif.parameters()
    assert tau.shape == ()
    assert tau.grad is not None
    assert each.grad is not None
    assert tau.grad.item() == pytest.approx(each.grad.sum().item(), rel=1e-5)
