from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError
from neuro.training.losses import mean_membrane
from neuro.training.rules.local import DECOLLE

T, B, I, H, C = 13, 5, 9, 14, 4


def network() -> neuro.Sequential:
    torch.manual_seed(3)
    surrogate = neuro.Surrogate("triangle", width=0.6)
    cell = neuro.LIF(H, tau=4e-3, reset="subtract", learn=(), surrogate=surrogate)
    return neuro.Sequential(neuro.Linear(I, H), cell, neuro.Linear(H, C), neuro.LI(C, tau=3e-3, learn=())).double()


def batch() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    x = 40 * (torch.rand(T, B, I, generator=draw) < 0.4).double()
    return x, torch.randint(C, (B,), generator=draw)


def gradient(rule: DECOLLE, net: neuro.Sequential, x: Tensor, y: Tensor) -> Tensor:
    net.zero_grad()
    rule.backward(net, x, y, mean_membrane)
    made = net.get_parameter("0.weight").grad
    assert made is not None
    assert bool(made.any())
    return made.clone()


def test_hidden_layers_rest_outside_the_steps_that_are_theirs() -> None:
    net, (x, y) = network(), batch()
    late = gradient(DECOLLE(burn_in=T - 3), net, x, y)
    assert torch.allclose(gradient(DECOLLE(last=3), net, x, y), late, rtol=1e-12)
    whole, early = gradient(DECOLLE(), net, x, y), gradient(DECOLLE(), net, x[: T - 3], y)
    assert torch.allclose(T * whole, 3 * late + (T - 3) * early, rtol=1e-9, atol=1e-12)
    with pytest.raises(InputError, match="burn_in=13 leaves no step of 13"):
        gradient(DECOLLE(burn_in=T), net, x, y)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: DECOLLE("mse"), "unknown loss of DECOLLE"),
        (lambda: DECOLLE(amplitude=0), "amplitude=0 must be above 0"),
        (lambda: DECOLLE(burn_in=-1), "burn_in=-1"),
        (lambda: DECOLLE(last=0), "last=0"),
        (lambda: DECOLLE(chunk=0), "chunk=0"),
    ],
)
def test_options_out_of_range(make: Callable[[], object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        make()
