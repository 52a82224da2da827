"""Lyapunov exponents: those known in closed form, Lorenz's published ones, the divergence, a map by its Jacobians."""

from __future__ import annotations

import math

import pytest
import torch

from neuro.dynamics import Lorenz63, Lorenz96, flow_exponents, lyapunov_exponents, map_exponents
from neuro.errors import InputError


def test_a_rotation_that_stretches_has_known_exponents() -> None:
    turn = torch.tensor([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 0.1]], dtype=torch.float64)
    steps = (1.5 * turn).expand(400, 3, 3)
    wanted = torch.tensor([1.5, 1.5, 0.15], dtype=torch.float64).log() / 0.02
    assert torch.allclose(lyapunov_exponents(steps, dt=0.02), wanted)


def test_lorenz_1963() -> None:
    found = flow_exponents(Lorenz63(), duration=120.0, dt=0.01)
    assert float(found.sum()) == pytest.approx(-(10 + 1 + 8 / 3), abs=1e-3)
    assert float(found[0]) == pytest.approx(0.9056, rel=0.05)
    assert abs(float(found[1])) < 0.05
    assert float(found[2]) == pytest.approx(-14.5723, abs=0.1)


def test_some_of_lorenz_1996() -> None:
    both = flow_exponents(Lorenz96(5), duration=20.0, dt=0.01, skip=10.0)
    assert float(both.sum()) == pytest.approx(-5, abs=1e-3)
    assert torch.allclose(flow_exponents(Lorenz96(5), duration=20.0, dt=0.01, skip=10.0, count=2), both[:2], atol=1e-8)


def test_the_map_of_henon() -> None:
    def step(z: torch.Tensor) -> torch.Tensor:
        return torch.stack([1 - 1.4 * z[0] ** 2 + z[1], 0.3 * z[0]])

    def jacobian(z: torch.Tensor) -> torch.Tensor:
        one = torch.ones(len(z), dtype=z.dtype)
        return torch.stack([-2.8 * z[:, 0], one, 0.3 * one, 0 * one], 1).view(-1, 2, 2)

    found = map_exponents(step, jacobian, torch.tensor([0.1, 0.1], dtype=torch.float64), 5000)
    assert float(found[0]) == pytest.approx(0.419, abs=0.02)
    assert float(found.sum()) == pytest.approx(math.log(0.3), abs=1e-6)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match=r"jacobians must be \[T, M, M\]"):
        lyapunov_exponents(torch.ones(3, 2, 4))
    with pytest.raises(InputError, match="skip must be from 0 to 2"):
        lyapunov_exponents(torch.ones(3, 2, 2), skip=3)
    with pytest.raises(InputError, match="count must be 1 to 3"):
        flow_exponents(Lorenz63(), count=4)
    with pytest.raises(InputError, match="leaves the finite numbers"):
        map_exponents(lambda z: z * 1e300, lambda z: z.unsqueeze(-1), torch.ones(1), 5)
    with pytest.raises(InputError, match="steps must be 1 or more"):
        map_exponents(lambda z: z, lambda z: z.unsqueeze(-1), torch.ones(1), 0)
