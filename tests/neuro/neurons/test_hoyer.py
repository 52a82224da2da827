"""Neurons of one step at the Hoyer extremum."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import neuro
from neuro.errors import InputError

X = 1.5 * torch.rand(2, 5, 3, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.2


def cell(size: Any = (3, 4, 2), **options: Any) -> neuro.Hoyer:
    return neuro.Hoyer(size, v_threshold=0.8, **options).double()


def test_the_extremum_of_each_feature() -> None:
    made = cell(momentum=0.25)
    z, state = made(X)
    c = (X / 0.8).clamp(0, 1)
    extremum = (c**2).sum((0, 1, 3, 4)) / c.sum((0, 1, 3, 4))
    assert torch.equal(z.detach(), (extremum.view(3, 1, 1) <= X / 0.8).double())
    assert torch.allclose(made.extremum, 0.75 + 0.25 * extremum, rtol=1e-12)
    assert state == ()
    flat = cell(24)
    z, _ = flat(X.flatten(2))
    whole = (c**2).sum() / c.sum()
    assert torch.equal(z.detach(), (X.flatten(2) / 0.8 >= whole).double())
    assert flat.extremum.shape == ()


def test_evaluation_uses_the_running_extremum() -> None:
    made = cell(scale=0.9)
    made(X)
    kept = made.extremum.clone()
    z, _ = made.eval()(X)
    assert torch.equal(z.detach(), (0.9 * kept.view(3, 1, 1) * made.v_threshold.detach() <= X).double())
    assert torch.equal(made.extremum, kept)
    for t in range(2):
        assert torch.equal(made.step(X[t], ())[0], z[t])


def test_backward_is_a_half_within_the_window() -> None:
    x = torch.tensor([-0.1, 0.0, 0.1, 0.7, 1.5, 1.59, 1.7]).double().view(1, 1, 7).requires_grad_()
    made = cell(7)
    (z,) = made(x)[:1]
    z.sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad.flatten(), torch.tensor([0, 0, 1, 1, 1, 1, 0]).double() * 0.5 / 0.8)
    inside = x.detach()[..., 2:6].sum() / 0.8
    assert made.v_threshold.grad is not None
    assert float(made.v_threshold.grad) == pytest.approx(float(-0.5 * inside / 0.8))


def test_the_measure_pushes_away_from_the_extremum() -> None:
    made, x = cell(24), X.flatten(2).clone().requires_grad_()
    made.measure(x).backward()
    assert x.grad is not None
    u = x.detach() / 0.8
    c = u.clamp(0, 1)
    extremum = (c**2).sum() / c.sum()
    assert float(made.measure(x).detach()) == pytest.approx(float(c.sum() ** 2 / (c**2).sum()))
    below, above = (u > 0) & (u < extremum), (u > extremum) & (u < 1)
    assert bool((x.grad[below] > 0).all())
    assert bool((x.grad[above] < 0).all())
    assert below.any()
    assert above.any()
    made.v_threshold.requires_grad_(False)
    assert torch.autograd.gradcheck(made.measure, (X[:, :1].flatten(2).requires_grad_(),))


def test_silence_is_no_nan() -> None:
    made, x = cell(), torch.zeros_like(X).requires_grad_()
    z, _ = made(x)
    assert not z.any()
    (z.sum() + made.measure(x)).backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
    assert torch.equal(made.extremum, torch.ones(3).double())
    x = X.clone()
    x[:, :, 1] = -1
    assert not cell()(x)[0][:, :, 1].any()


def test_as_cells_it_spikes_the_same() -> None:
    made = cell()
    made(X)
    made.eval()
    x = X.clone()
    x[0, 0] = made.extremum.view(3, 1, 1) * made.v_threshold.detach()  # exactly at threshold
    z, _ = made(x)
    as_cell = made.to_cell()
    assert torch.equal(as_cell(x)[0], z)
    assert bool(z[0, 0].all())
    flat = cell(24)
    flat(X.flatten(2))
    assert torch.equal(flat.to_cell()(X.flatten(2))[0], flat.eval()(X.flatten(2))[0])


def test_in_a_network_that_is_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.Linear(6, 24), neuro.Hoyer(24), neuro.Linear(24, 2))
    x = torch.rand(1, 5, 6)
    net(x)[0].sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
    net.eval()
    y, _ = net(x)
    assert torch.equal(neuro.load(neuro.save(net, tmp_path / "net.safetensors")).eval()(x)[0], y)
    assert torch.equal(copy.deepcopy(net)(x)[0], y)
    recorded = neuro.record(net, x)["1"]
    assert torch.equal(recorded["z"], net.layers["1"](recorded["v"])[0])
    with pytest.raises(InputError, match="Hoyer"):
        neuro.hardware.export(net, tmp_path / "net.nir")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 0}, "size must be positive"),
        ({"size": 3, "v_threshold": 0.0}, "v_threshold must be a positive number"),
        ({"size": 3, "momentum": -1.0}, "momentum must be a positive number"),
        ({"size": 3, "dt": float("nan")}, "dt must be a positive number"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        neuro.Hoyer(**options)


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match=r"Hoyer takes \[T, B, 3, 4, 2\]"):
        cell()(X[..., 0])
