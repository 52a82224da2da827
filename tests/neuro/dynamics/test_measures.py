"""Measures of a reconstruction: by hand, their extremes, and that they tell what they should apart."""

from __future__ import annotations

import math

import pytest
import torch

from neuro.dynamics import Lorenz63, prediction_error, simulate, spectrum_distance, state_space_divergence
from neuro.errors import InputError


def test_divergence_by_hand() -> None:
    truth = torch.tensor([[0.0, 0.0], [0.1, 0.2], [1.0, 1.0], [0.9, 1.0]])
    made = torch.tensor([[0.0, 0.0], [0.9, 0.9], [1.0, 1.0], [1.0, 0.8]])
    wanted = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert state_space_divergence(truth, made, bins=2) == pytest.approx(wanted, abs=1e-4)
    outside = torch.cat([made, torch.full((4, 2), 7.0)])  # half of the time it is elsewhere
    assert state_space_divergence(truth, outside, bins=2) == pytest.approx(wanted + math.log(2), abs=1e-4)


def test_lorenz_is_near_itself_and_far_from_noise_and_from_rest() -> None:
    series = simulate(Lorenz63(), 6000, 0.05, skip=20.0, tolerance=1e-6)
    first, second = series.split(3000)
    noise = series.mean(0) + series.std(0) * torch.randn(3000, 3, generator=torch.Generator().manual_seed(0))
    rest = series[:1].expand(3000, 3)
    near, far, stuck = (state_space_divergence(first, x, bins=10) for x in (second, noise, rest))
    assert near < 0.5
    assert 2 * near < far < stuck
    near, far = (spectrum_distance(first, x) for x in (second, noise))
    assert near < 0.2 < far < spectrum_distance(first, rest) <= 1


def test_spectra_by_hand() -> None:
    t = torch.arange(256.0).unsqueeze(1) * (2 * math.pi / 256)
    one, two, both = torch.sin(5 * t), torch.sin(40 * t), torch.sin(5 * t) + torch.sin(40 * t)
    assert spectrum_distance(one, two, smoothing=0.0) == pytest.approx(1, abs=1e-3)
    assert spectrum_distance(one, both, smoothing=0.0) == pytest.approx(math.sqrt(1 - math.sqrt(0.5)), abs=1e-3)
    assert spectrum_distance(one, -3 * one + 2) < 1e-3


def test_a_model_that_ran_away_is_as_far_as_can_be() -> None:
    truth, made = torch.rand(50, 2), torch.full((50, 2), float("nan"))
    assert state_space_divergence(truth, made) == math.inf
    assert spectrum_distance(truth, made) == 1


def test_prediction_error_by_lag() -> None:
    truth = torch.zeros(3, 2, 2)
    made = torch.tensor([0.0, 3.0, -4.0]).view(3, 1, 1).expand(3, 2, 2)
    assert prediction_error(truth, made).tolist() == [0, 3, 4]


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match="of the same M"):
        state_space_divergence(torch.ones(4, 2), torch.ones(4, 3))
    with pytest.raises(InputError, match="take fewer bins"):
        state_space_divergence(torch.ones(4, 20), torch.ones(4, 20))
    with pytest.raises(InputError, match="truth must be finite"):
        spectrum_distance(torch.full((4, 2), math.nan), torch.ones(4, 2))
    with pytest.raises(InputError, match="smoothing must be 0 or more"):
        spectrum_distance(torch.ones(4, 2), torch.ones(4, 2), smoothing=-1.0)
    with pytest.raises(InputError, match="the same"):
        prediction_error(torch.ones(4, 2, 1), torch.ones(4, 2, 2))
