"""Leaky rate units: the update of the paper, a masked diagonal, time constants above one step whatever happens."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import neuro

X = torch.randn(9, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def layer() -> neuro.LeakyRNN:
    torch.manual_seed(1)
    return neuro.LeakyRNN(2, 7, tau=(1e-3, 8e-3)).double()


def test_the_update_is_that_of_the_paper() -> None:
    cell = layer()
    h, wanted = torch.zeros(4, 7, dtype=torch.float64), []
    tau = cell.time_constants() / 1e-3
    weight = cell.weight * (1 - torch.eye(7))
    for x in X:
        drive = h @ weight.t() + x @ cell.input_weight.t() + cell.bias
        h = F.leaky_relu((1 - 1 / tau) * h + drive / tau, 0.01)
        wanted.append(h)
    y, _ = cell(X)
    assert torch.allclose(y, torch.stack(wanted), rtol=1e-12, atol=1e-14)
    assert bool((y < 0).any())
    leaves = [cell.weight, cell.raw, cell.bias, cell.input_weight]
    pairs = zip(
        torch.autograd.grad(y.square().sum(), leaves, retain_graph=True),
        torch.autograd.grad(torch.stack(wanted).square().sum(), leaves),
        strict=True,
    )
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in pairs)


def test_no_unit_acts_on_itself_and_the_diagonal_does_not_learn() -> None:
    cell = layer()
    y, _ = cell(X)
    y.sum().backward()
    assert cell.weight.grad is not None
    assert not bool(cell.weight.grad.diagonal().any())
    assert bool(cell.weight.grad.any())
    with torch.no_grad():
        cell.weight.diagonal().fill_(100.0)
    assert torch.equal(cell(X)[0], y)


def test_finite_differences() -> None:
    cell = neuro.LeakyRNN(2, 3, tau=(1e-3, 4e-3)).double()
    names = ("input_weight", "bias", "weight", "raw")

    def run(x: torch.Tensor, h: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = torch.func.functional_call(cell, dict(zip(names, values, strict=True)), (x, (h,)))[0]
        return made

    h = torch.rand(2, 3, dtype=torch.float64).requires_grad_()
    values = [cell.get_parameter(n).detach().clone().requires_grad_() for n in names]
    assert torch.autograd.gradcheck(run, (X[:3, :2].clone().requires_grad_(), h, *values))


def test_time_constants_start_where_asked_and_stay_above_one_step() -> None:
    torch.manual_seed(0)
    cell = neuro.LeakyRNN(1, 2000)
    tau = cell.time_constants().detach()
    assert 1e-3 <= float(tau.min()) < 1.01e-3
    assert 1.99e-3 < float(tau.max()) <= 2e-3
    assert float(tau.mean()) == pytest.approx(1.5e-3, rel=0.02)
    optimizer = torch.optim.SGD([cell.raw], 1e6)
    for _ in range(3):
        optimizer.zero_grad()
        cell.time_constants().sum().backward()
        optimizer.step()
    assert float(cell.time_constants().detach().min()) >= 1e-3
    assert bool(torch.isfinite(cell(torch.ones(3, 1, 1))[0]).all())


def test_time_constants_near_one_step_learn_as_fast_as_others() -> None:
    cell = layer()
    cell.raw.data = torch.tensor([1e-9, 0.1, 1.0, 5.0, -1e-9, -0.1, -3.0], dtype=torch.float64)
    assert torch.equal(cell.time_constants().detach(), 1e-3 * (1 + cell.raw.detach().abs()))
    cell.time_constants().sum().backward()
    assert cell.raw.grad is not None
    assert torch.equal(cell.raw.grad.abs(), torch.full((7,), 1e-3, dtype=torch.float64))


def test_without_synapses_a_unit_forgets_at_its_time_constant() -> None:
    cell = layer()
    with torch.no_grad():
        for p in (cell.weight, cell.input_weight, cell.bias):
            p.zero_()
        y, _ = cell(torch.zeros(5, 1, 2, dtype=torch.float64), (torch.ones(1, 7, dtype=torch.float64),))
    kept = 1 - 1e-3 / cell.time_constants().detach()
    assert torch.allclose(y[:, 0], kept ** torch.arange(1, 6, dtype=torch.float64).unsqueeze(1), rtol=1e-12)
