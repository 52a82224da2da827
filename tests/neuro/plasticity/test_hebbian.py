"""Hebbian rules find what they are known to find, and equal gradients with the edges cut that they cut."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.plasticity import BCM, Activity, Hebbian, KeepLength, Oja, Sanger, SoftHebb, write_grad

Many = tuple[torch.Tensor, torch.Tensor]


def correlated(inputs: int = 12) -> Many:
    """Samples ``[1, B, I]`` and their principal components, in rows."""
    g = torch.Generator().manual_seed(2)
    turn = torch.linalg.qr(torch.randn(inputs, inputs, generator=g, dtype=torch.float64))[0]
    spread = 1.4 ** -torch.arange(inputs, dtype=torch.float64)
    x = torch.randn(1, 2000, inputs, generator=g, dtype=torch.float64) * spread @ turn
    return x, torch.linalg.svd(x[0], full_matrices=False)[2]


def trained(rule: Hebbian, x: torch.Tensor, outputs: int, rate: float, steps: int, size: int = 2000) -> torch.Tensor:
    torch.manual_seed(1)
    layer = neuro.Linear(x.shape[2], outputs, bias=False).double()
    net, past = neuro.Sequential(layer), dict[str, Any]()
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    for part in x[0].split(size) * steps:
        optimizer.zero_grad()
        past = dict(write_grad(net, part.unsqueeze(0), {"0": rule}, past=past).rules)
        optimizer.step()
    return layer.weight.detach()


def degrees(a: torch.Tensor, b: torch.Tensor) -> float:
    return math.degrees(math.acos(min(1.0, float((a @ b).abs() / a.norm() / b.norm()))))


def test_oja_finds_the_first_principal_component() -> None:
    x, components = correlated()
    weight = trained(Oja(), x, 1, 0.2, 200)
    assert degrees(weight[0], components[0]) < 1
    assert weight[0].norm().item() == pytest.approx(1, abs=0.02)


def test_sanger_finds_the_first_three() -> None:
    x, components = correlated()
    weight = trained(Sanger(), x, 3, 0.2, 600)
    assert [k for k in range(3) if degrees(weight[k], components[k]) >= 1] == []
    assert torch.allclose(weight @ weight.t(), torch.eye(3, dtype=torch.float64), atol=0.03)


def test_bcm_makes_a_neuron_selective() -> None:
    """Two patterns, each half of the time: a neuron answers one with 2 and the other not at all."""
    patterns = torch.tensor([[1.0, 0.2], [0.2, 1.0]], dtype=torch.float64)
    g = torch.Generator().manual_seed(0)
    x = patterns[torch.randint(0, 2, (5000,), generator=g)].unsqueeze(0)
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        layer = neuro.Linear(2, 1, bias=False).double()
        torch.nn.init.uniform_(layer.weight, 0.1, 0.5)
        net, past, rule = neuro.Sequential(layer), None, BCM(tau=20e-3)
        optimizer = torch.optim.SGD(net.parameters(), lr=5e-3 * 20)
        for part in x[0].repeat(4, 1).split(20):
            optimizer.zero_grad()
            past = write_grad(net, part.unsqueeze(1), {"0": rule}, past=past).rules
            optimizer.step()
        found.append(sorted((layer.weight.detach() @ patterns.t())[0].tolist()))
    assert all(low == pytest.approx(0, abs=0.15) and high == pytest.approx(2, abs=0.15) for low, high in found)


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_softhebb_rests_at_length_one(beta: float) -> None:
    g = torch.Generator().manual_seed(3)
    centres = torch.rand(6, 20, generator=g, dtype=torch.float64)
    centres /= centres.norm(dim=1, keepdim=True)
    x = centres[torch.randint(0, 6, (1, 1500), generator=g)]
    x = x + 0.05 * torch.randn(x.shape, generator=g, dtype=torch.float64)
    weight = trained(SoftHebb(beta=beta, power=0.0), x, 4, 0.3, 60, 50)
    assert weight.norm(dim=1).tolist() == pytest.approx([1.0] * 4, abs=0.1)


# --- closed form and gradient with cuts ---------------------------------------------------------------------


def seen(weight: torch.Tensor, modulator: bool = False) -> Activity:
    g = torch.Generator().manual_seed(5)
    x = torch.randn(3, 4, weight.shape[1], generator=g, dtype=torch.float64)
    drive = x @ weight.detach().t()
    return Activity(x, drive, drive, torch.randn(3, 4, generator=g, dtype=torch.float64) if modulator else None)


def gradient(energy: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return -torch.autograd.grad(energy, weight)[0] / 12


@pytest.mark.parametrize("modulator", [False, True])
def test_oja_and_sanger_are_gradients_of_reconstruction(modulator: bool) -> None:
    weight = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    given = seen(weight, modulator)
    m = torch.ones(3, 4, dtype=torch.float64) if given.modulator is None else given.modulator
    y = given.drive  # cut
    cut = y.unsqueeze(3) * weight.detach()
    before = cut.cumsum(2) - cut
    for rule, earlier in ((Oja(), 0 * before), (Sanger(), before)):
        error = (given.pre.unsqueeze(2) - earlier - y.unsqueeze(3) * weight).square().sum(3)
        expected = gradient((0.5 * m.unsqueeze(2) * error).sum(), weight)
        assert torch.allclose(rule.change(weight.detach(), given)[0], expected, rtol=1e-12, atol=1e-12)


def test_bcm_and_softhebb_are_gradients_with_their_factor_cut() -> None:
    weight = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    given = seen(weight)
    u = given.pre @ weight.t()
    theta, keep, energy = torch.rand(3, dtype=torch.float64), math.exp(-1 / 30), torch.zeros((), dtype=torch.float64)
    state = theta
    for t in range(3):
        y = given.drive[t]
        energy = energy - (y * (y - theta) * u[t]).sum()
        theta = keep * theta + (1 - keep) * y.square().mean(0)
    actual, after = BCM(tau=30e-3).change(weight.detach(), given, state)
    assert torch.allclose(actual, gradient(energy, weight), rtol=1e-12)
    assert torch.allclose(after, theta)
    p = torch.softmax(2 * given.drive, 2)
    p = torch.where(given.drive == given.drive.amax(2, keepdim=True), p, -p)
    energy = -(p * (given.pre @ weight.t())).sum()
    energy = energy + 0.5 * (p * given.drive).sum((0, 1)) @ weight.square().sum(1)
    rate = (1 - weight.detach().norm(dim=1, keepdim=True)).abs() ** 0.5
    actual, _ = SoftHebb(beta=2.0).change(weight.detach(), given)
    assert torch.allclose(actual, rate * gradient(energy, weight), rtol=1e-12)


@pytest.mark.parametrize("rule", [Oja(), Sanger(), SoftHebb(beta=2.0, power=0.0)])
def test_keeping_the_length_turns_as_the_rule_does_at_length_one(rule: Hebbian) -> None:
    unit = torch.nn.functional.normalize(torch.randn(3, 6, dtype=torch.float64), dim=1)
    there, _ = rule.change(unit, seen(unit))
    sideways = there - (there * unit).sum(1, keepdim=True) * unit
    length = torch.tensor([[0.2], [1.0], [7.0]], dtype=torch.float64)
    actual, _ = KeepLength(rule).change(length * unit, seen(length * unit))
    assert torch.allclose(actual, length * sideways, rtol=1e-9, atol=1e-12)
    assert torch.allclose((actual * unit).sum(1), torch.zeros(3, dtype=torch.float64), atol=1e-12)
    silent, _ = KeepLength(rule).change(0 * unit, seen(0 * unit))
    assert torch.isfinite(silent).all()


def test_bad_values_are_named() -> None:
    with pytest.raises(InputError, match="tau and dt must be positive"):
        BCM(tau=0.0)
    with pytest.raises(InputError, match="beta must be positive"):
        SoftHebb(beta=-1.0)
