"""Neurons that fire at random: the rate is the one stated, the numbers are where they should be."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.neurons.stochastic import SRM


@pytest.mark.parametrize(("v_leak", "rate", "v_noise"), [(1.0, 40.0, 0.2), (0.5, 60.0, 0.4), (1.2, 500.0, 0.1)])
def test_rate_of_firing_is_the_escape_rate(v_leak: float, rate: float, v_noise: float) -> None:
    cell = SRM(100, v_leak=v_leak, rate=rate, v_noise=v_noise, v_refractory=0.0, dt=1e-3, seed=4)
    x = torch.zeros(600, 10, 100)
    z, _ = cell(x)
    wanted = 1 - math.exp(-rate * math.exp((v_leak - 1.0) / v_noise) * 1e-3)
    seen = float(z[200:].detach().mean())  # the membrane has settled
    assert abs(seen - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / z[200:].numel()) + 0.002 * wanted


def test_a_spike_makes_the_next_less_likely() -> None:
    z, _ = SRM(200, v_leak=1.0, rate=100.0, v_refractory=3.0, tau_refractory=5e-3)(torch.zeros(500, 5, 200))
    z = z[100:].detach()
    soon = float((z[:-1] * z[1:]).sum() / z[:-1].sum())
    assert soon < 0.05 * float(z.mean())
    later = float((z[:-40] * z[40:]).sum() / z[:-40].sum())
    assert later > 0.7 * float(z.mean())


def run(cell: SRM, x: torch.Tensor, **options: Any) -> torch.Tensor:
    z: torch.Tensor = cell(x, **options)[0].detach()
    return z


def test_seed_steps_samples_and_engines() -> None:
    x = torch.rand(60, 4, 31) * 4
    cell = SRM(31, rate=300.0, seed=5)
    whole, end = cell(x)
    assert whole.any()
    assert torch.equal(run(cell, x), whole)
    assert torch.equal(run(cell, x, backend="reference"), whole)
    assert not torch.equal(run(SRM(31, rate=300.0, seed=6), x), whole)
    first, state = cell(x[:17])
    second, after = cell(x[17:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert all(torch.equal(a, b) for a, b in zip(after, end, strict=True))
    order = torch.tensor([2, 0, 3, 1])
    state = tuple(s[order] for s in cell.initial_state(4))
    assert torch.equal(cell(x[:, order], state)[0], whole[:, order])
    same = cell(x[:, :1].expand(-1, 4, -1))[0]
    assert not torch.equal(same[:, 0], same[:, 1])  # samples draw numbers of their own
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(run(cell, x), whole)
    finally:
        torch.set_num_threads(before)


def test_steps_are_counted_beyond_what_a_float32_holds() -> None:
    cell = SRM(50, v_leak=1.0, rate=300.0, v_refractory=0.0)
    i, v, *rest, step, lap, sample = cell.initial_state(2)
    late = (i, v + 1.0, *rest, step + 2**20 - 5, lap + 40.0, sample)
    whole, end = cell(torch.zeros(30, 2, 50), late)
    state, spikes = late, []
    for _ in range(30):
        z, state = cell.step(torch.zeros(2, 50), state)
        spikes.append(z)
    assert torch.equal(torch.stack(spikes), whole)
    assert int(end[-3].detach().max()) == 25
    assert int(end[-2].detach().max()) == 41
    assert len({tuple(z.flatten().tolist()) for z in spikes}) == 30


def test_gradients_are_those_of_the_reference() -> None:
    torch.manual_seed(0)
    x = (torch.rand(25, 3, 7, dtype=torch.float64) * 5).requires_grad_()
    cell = SRM(7, learn=tuple(SRM.equations.parameters), rate=200.0).double()
    grads = []
    for backend in ("numba", "reference"):
        cell.zero_grad()
        z, _ = cell(x, backend=backend)
        (z * torch.linspace(-1, 1, z.numel(), dtype=z.dtype).view(z.shape)).sum().backward()
        assert x.grad is not None
        grads.append([x.grad.clone(), *(p.grad.clone() for p in cell.parameters() if p.grad is not None)])
        x.grad = None
    assert len(grads[0]) == 1 + len(SRM.equations.parameters)
    for a, b in zip(*grads, strict=True):
        assert a.any()
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-13)


def test_in_a_network_that_is_saved(tmp_path: Path) -> None:
    net = neuro.Sequential(neuro.Linear(5, 8), SRM(8, seed=11, rate=200.0), neuro.Linear(8, 2), neuro.LI(2))
    x = torch.rand(30, 2, 5)
    read = neuro.load(neuro.save(net, tmp_path / "net.safetensors"))
    assert torch.equal(read(x)[0], net(x)[0])
    assert torch.equal(copy.deepcopy(net)(x)[0], net(x)[0])
    assert neuro.record(net, x)["1"]["v"].shape == (30, 2, 8)


@pytest.mark.parametrize("seed", [1.5, None, True])
def test_bad_seed_is_named(seed: Any) -> None:
    with pytest.raises(InputError, match="seed must be a whole number"):
        SRM(3, seed=seed)
