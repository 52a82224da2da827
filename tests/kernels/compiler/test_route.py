from __future__ import annotations

import dataclasses

import pytest
import torch

import neuro
from neuro.kernels.compiler.route import Route


def test_the_default_is_backpropagation_through_time_without_the_reset() -> None:
    assert Route() == Route(cut_time=False, cut_reset=True, cut_recurrence=False)


def test_a_route_is_a_value() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(Route(), "cut_time", True)  # noqa: B010 - a plain assignment is what a type checker refuses
    assert len({Route(), Route(cut_time=True), Route(cut_time=True)}) == 2


def gradient(route: Route) -> torch.Tensor:
    """Of a loss on the last step alone, with respect to the input ``[T, B, N]``."""
    cell = neuro.LIF(3, tau=4e-3)
    x = torch.full((7, 2, 3), 1.4, requires_grad=True)  # a spike in the fifth step, none after it
    z, _ = cell(x, route=route)
    z[-1].sum().backward()
    assert x.grad is not None
    return x.grad


def test_cutting_time_leaves_the_gradient_of_the_step_itself() -> None:
    whole, cut = gradient(Route()), gradient(Route(cut_time=True))
    assert bool((whole[:-1] != 0).any())
    assert not bool((cut[:-1] != 0).any())
    assert torch.equal(cut[-1], whole[-1])


def test_the_reset_is_an_edge_of_its_own() -> None:
    assert not torch.equal(gradient(Route(cut_reset=False)), gradient(Route()))
