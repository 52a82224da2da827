"""Piecewise-linear networks as layers: their equations, pieces of a sequence, running alone, bad arguments."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from neuro.dynamics import PLRNN, DendriticPLRNN, ShallowPLRNN
from neuro.errors import InputError
from neuro.kernels.compiler.route import Route

LAYERS: tuple[Callable[[], PLRNN], ...] = (
    lambda: ShallowPLRNN(3, 7, alpha=0.3),
    lambda: ShallowPLRNN(3, 7, clipped=False, alpha=1.0),
    lambda: DendriticPLRNN(3, 4, alpha=0.2),
)
each = pytest.mark.parametrize("make", LAYERS)


@each
def test_pieces_steps_and_definition(make: Callable[[], PLRNN]) -> None:
    torch.manual_seed(0)
    layer = make()
    x = torch.randn(9, 5, 3)
    whole, (last,) = layer(x)
    first, state = layer(x[:4])
    second, (end,) = layer(x[4:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(end, last)
    state = layer.initial_state(5)
    for given, wanted in zip(x, whole, strict=True):
        y, state = layer.step(given, state)
        assert torch.equal(y, wanted)
    again = type(layer).from_definition(layer.definition())
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x)[0], whole)


def test_the_dendritic_equation() -> None:
    torch.manual_seed(1)
    layer = DendriticPLRNN(3, 4, alpha=0.0)
    z = torch.randn(6, 3)
    basis = sum(c * torch.relu(z - h) for c, h in zip(layer.slope, layer.hinge, strict=True))
    wanted = layer.a * z + basis @ layer.weight.t() + layer.bias
    assert torch.allclose(layer.map()(z), wanted, atol=1e-6)
    assert torch.allclose(layer(torch.zeros(1, 6, 3), (z,))[0][0], wanted, atol=1e-6)


@each
def test_by_itself_it_hears_nothing(make: Callable[[], PLRNN]) -> None:
    layer = make()
    z = start = torch.randn(2, 3)
    for made in layer.generate(start, 5):
        z = layer.map()(z)
        assert torch.allclose(made, z, atol=1e-5)


def test_clipped_orbits_are_bounded() -> None:
    torch.manual_seed(2)
    layer = ShallowPLRNN(4, 30)
    with torch.no_grad():
        layer.outer.mul_(20)
    bound = (layer.outer.abs() @ layer.h2.abs() + layer.h1.abs()) / (1 - layer.a.abs())
    assert bool((layer.generate(torch.zeros(1, 4), 2000).abs() <= bound).all())


def test_bad_arguments_are_named() -> None:
    layer = ShallowPLRNN(3, 4)
    with pytest.raises(InputError, match=r"takes x \[T, B, 3\]"):
        layer(torch.zeros(2, 1, 4))
    with pytest.raises(InputError, match="trained through time"):
        layer(torch.zeros(2, 1, 3), route=Route(cut_time=True))
    with pytest.raises(InputError, match=r"start must be \[B, 3\]"):
        layer.generate(torch.zeros(3), 4)
    with pytest.raises(InputError, match="alpha from 0 to 1"):
        ShallowPLRNN(3, 4, alpha=2.0)
    with pytest.raises(InputError, match="hidden must be at least 1"):
        ShallowPLRNN(3, 0)
    with pytest.raises(InputError, match="bases must be at least 1"):
        DendriticPLRNN(3, 0)
