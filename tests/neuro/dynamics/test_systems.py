"""Chaotic systems: equations against their Jacobians, trajectories against a second method and a tighter tolerance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neuro.dynamics import Flow, Lorenz63, Lorenz96, Roessler, simulate
from neuro.dynamics.lyapunov import _runge_kutta
from neuro.errors import InputError

FLOWS = [Lorenz63(), Lorenz96(5), Lorenz96(4, force=6.0), Roessler(a=0.3, c=4.0)]


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_jacobians_are_finite_differences(flow: Flow) -> None:
    x = np.random.default_rng(0).standard_normal((2, flow.dimension))
    for k in range(flow.dimension):
        h = np.zeros(flow.dimension)
        h[k] = 1e-6
        column = (flow.derivative(x + h) - flow.derivative(x - h)) / 2e-6
        assert np.allclose(flow.jacobian(x)[..., k], column, atol=1e-7)


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_a_trajectory_by_another_method(flow: Flow) -> None:
    states = simulate(flow, 11, 0.1, tolerance=1e-11)
    assert np.allclose(states[0], flow.start)
    joint = flow.start[:, None]
    for t in range(1, 11):
        for _ in range(200):
            joint = _runge_kutta(flow, joint, 0.0005)
        assert np.allclose(states[t], joint[:, 0], atol=1e-6)


def test_what_is_skipped_is_a_piece_of_the_whole() -> None:
    whole = simulate(Lorenz63(), 50, 0.1, tolerance=1e-11)
    assert torch.allclose(simulate(Lorenz63(), 20, 0.1, skip=3.0, tolerance=1e-11), whole[30:], atol=1e-6)
    again = simulate(Lorenz63(), 20, 0.1, start=whole[30].numpy(), tolerance=1e-11)
    assert torch.allclose(again, whole[30:], atol=1e-6)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match="steps must be 1 or more"):
        simulate(Lorenz63(), 0, 0.1)
    with pytest.raises(InputError, match=r"start must be \[3\]"):
        simulate(Lorenz63(), 3, 0.1, start=np.zeros(4))
    with pytest.raises(InputError, match="size must be at least 4"):
        Lorenz96(3)
