"""Kuramoto oscillators: on the sphere, downhill in energy, in step above the critical coupling and not below."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError


def symmetric(gamma: float) -> neuro.AKOrN:
    torch.manual_seed(0)
    layer = neuro.AKOrN(12, dimension=4, gamma=gamma, omega=0.0).double()
    with torch.no_grad():
        layer.coupling.copy_((layer.coupling + layer.coupling.t()) / 2)
    return layer


def rises(gamma: float) -> int:
    """Updates, of 60 from each of 20 starts under a stimulus that stays, after which the energy is higher."""
    layer, g = symmetric(gamma), torch.Generator().manual_seed(1)
    stimulus = torch.randn(1, 20, 48, generator=g, dtype=torch.float64).expand(60, 20, 48)
    start = torch.nn.functional.normalize(torch.randn(20, 12, 4, generator=g, dtype=torch.float64), dim=2)
    _, _, traced = layer.trace(stimulus, (start,))
    return int((traced["energy"].diff(dim=0) > 1e-12).sum())


def test_energy_falls_for_short_updates_and_symmetric_coupling_only() -> None:
    assert rises(0.05) == 0
    assert rises(0.2) == 0
    assert rises(2.0) > 0


def test_oscillators_stay_on_the_sphere() -> None:
    torch.manual_seed(0)
    layer = neuro.AKOrN(7, dimension=6, omega=3.0, updates=3).double()
    x = 10 * torch.randn(200, 2, 42, dtype=torch.float64)
    y, (end,) = layer(x)
    norms = y.detach().unflatten(2, (7, 6)).norm(dim=3)
    assert float((norms - 1).abs().max()) < 1e-12
    assert torch.equal(end.flatten(1), y[-1])


def test_one_update_by_hand() -> None:
    layer = neuro.AKOrN(2, dimension=2, gamma=0.5).double()
    with torch.no_grad():
        layer.omega.copy_(torch.tensor([[0.3], [-0.2]]))
        layer.coupling.zero_()
        layer.coupling[0, 3] = 2.0  # what the second's y does to the first's x
    state = torch.tensor([[[0.0, 1.0], [0.6, 0.8]]], dtype=torch.float64)
    y, _ = layer(torch.tensor([[[0.0, 5.0, 1.0, 0.0]]], dtype=torch.float64), (state,))
    # First: c = (0, 5) is radial, J x = (1.6, 0) tangent, the turn is 0.3 (-1, 0).
    first = torch.tensor([0.5 * (1.6 - 0.3), 1.0], dtype=torch.float64)
    # Second: c = (1, 0) less its radial part 0.6 (0.6, 0.8); the turn is -0.2 (-0.8, 0.6).
    second = torch.tensor([0.6 + 0.5 * (0.64 + 0.16), 0.8 + 0.5 * (-0.48 - 0.12)], dtype=torch.float64)
    assert torch.allclose(y[0, 0], torch.cat([first / first.norm(), second / second.norm()]), rtol=1e-12)


def coherence(frequencies: Tensor, strength: float, steps: int = 1200) -> float:
    """Order parameter, late, of phase oscillators coupled all to all."""
    number = len(frequencies)
    torch.manual_seed(0)
    layer = neuro.AKOrN(number, dimension=2, gamma=0.05).double()
    with torch.no_grad():
        layer.omega.copy_(frequencies[:, None])
        layer.coupling.copy_(torch.eye(2).repeat(number, number) * strength / number)
    with torch.inference_mode():
        y, _ = layer(torch.zeros(1, 1, 1, dtype=torch.float64).expand(steps, 1, 2 * number))
        return float(layer.order(y[steps // 2 :]).mean())


QUANTILES = (torch.arange(200, dtype=torch.float64) + 0.5) / 200 - 0.5


@pytest.mark.parametrize("strength", [2.0, 3.0])
def test_lorentzian_frequencies_lock_as_kuramoto_found(strength: float) -> None:
    """Half-width 0.5, critical coupling 1: ``r = sqrt(1 - 1 / K)``."""
    lorentzian = 0.5 * torch.tan(math.pi * QUANTILES)
    assert abs(coherence(lorentzian, strength) - math.sqrt(1 - 1 / strength)) < 0.03


def test_the_order_parameter_jumps_at_the_critical_coupling() -> None:
    """Uniform frequencies in [-1, 1]: from 0 to pi / 4 at ``4 / pi = 1.27``."""
    assert coherence(2 * QUANTILES, 1.1) < 0.25
    assert coherence(2 * QUANTILES, 1.45) > math.pi / 4


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 0}, "AKOrN size must be an integer from 1 on"),
        ({"dimension": 3}, "AKOrN dimension must be even"),
        ({"gamma": 0.0}, "AKOrN gamma must be finite and above 0"),
        ({"omega": -1.0}, "AKOrN omega must be finite and from 0 on"),
        ({"updates": 0}, "AKOrN updates must be"),
        ({"dt": float("inf")}, "AKOrN dt must be finite and above 0"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        neuro.AKOrN(**({"size": 3} | options))
