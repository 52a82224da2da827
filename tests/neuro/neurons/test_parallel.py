"""Sliding parallel spiking neurons as a layer: the laws of every layer with state."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.kernels.compiler.route import Route


def layer(size: Any = (3, 5), order: int = 4) -> neuro.SlidingPSN:
    made = neuro.SlidingPSN(size, order=order, v_threshold=0.4).double()
    with torch.no_grad():
        made.weight.add_(0.1 * torch.linspace(-1, 1, order, dtype=torch.float64))
    return made


X = torch.randn(12, 4, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_sequence_is_its_steps_and_its_pieces() -> None:
    cell = layer()
    whole, end = cell(X)
    assert 0 < float(whole.detach().mean()) < 1
    state, steps = cell.initial_state(4, dtype=torch.float64), []
    for x in X:
        z, state = cell.step(x, state)
        steps.append(z)
    assert torch.equal(torch.stack(steps), whole)
    assert torch.equal(state[0], end[0])
    order = torch.tensor([2, 0, 3, 1])
    assert torch.equal(cell(X[:, order])[0], whole[:, order])


def test_its_definition_by_hand() -> None:
    cell = neuro.SlidingPSN(1, order=3)
    assert cell.weight.tolist() == [0.25, 0.5, 1.0]
    z, _ = cell(torch.tensor([0.9, 0.9, 0.0, 0.0, 1.1]).view(5, 1, 1))
    assert z.flatten().tolist() == [0.0, 1.0, 0.0, 0.0, 1.0]


def test_everything_that_trains_has_a_gradient() -> None:
    cell, x = layer(), X.clone().requires_grad_()
    z, _ = cell(x)
    (z * torch.randn_like(z)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in cell.parameters())
    cut = cell(x, route=Route(cut_time=True))[0][-1].sum()
    (grad,) = torch.autograd.grad(cut, x)
    assert not grad[:-1].any()


def test_in_a_network_that_is_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.Linear(6, 8), neuro.SlidingPSN(8, order=2), neuro.Linear(8, 2), neuro.LI(2))
    x = torch.randn(9, 3, 6) * 3
    out, state = net(x)
    assert torch.equal(neuro.load(neuro.save(net, tmp_path / "net.safetensors"))(x)[0], out)
    assert torch.equal(copy.deepcopy(net)(x)[0], out)
    first, mid = net(x[:4])
    assert torch.allclose(torch.cat([first, net(x[4:], mid)[0]]), out, atol=1e-6)
    recorded = neuro.record(net, x)["1"]
    threshold = net.get_parameter("1.v_threshold")
    assert torch.equal((recorded["v"] > threshold).float(), recorded["z"])
    assert state[1] is not None
    net.zero_grad()
    net(x, recompute=4)[0].sum().backward()
    grad = net.get_parameter("0.weight").grad
    assert grad is not None
    assert grad.any()


def test_nir_has_no_place_for_it(tmp_path: Path) -> None:
    net = neuro.Sequential(neuro.Linear(3, 2), neuro.SlidingPSN(2))
    with pytest.raises(InputError, match="SlidingPSN"):
        neuro.hardware.export(net, tmp_path / "net.nir")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 0}, "size must be positive"),
        ({"size": 3, "order": 0}, "order must be a whole number"),
        ({"size": 3, "dt": 0.0}, "dt must be finite and above 0"),
        ({"size": 3, "v_threshold": float("nan")}, "v_threshold must be finite"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        neuro.SlidingPSN(**options)


def test_bad_input_is_named() -> None:
    cell = layer()
    with pytest.raises(InputError, match=r"takes \[T, B, 3, 5\]"):
        cell(X[..., :4])
    with pytest.raises(InputError, match="state must be one tensor"):
        cell(X, (torch.zeros(1),))
