"""Gaussian taps: normalised, centred on their delay, and the same tap by tap as all at once."""

from __future__ import annotations

import pytest
import torch

from neuro.kernels.delays.taps import each_tap, filter_delays, gaussian_taps, mean_delay

DELAY = torch.tensor([[0.0, 3.25], [6.0, 2.5], [-9.0, 40.0]], dtype=torch.float64)


@pytest.mark.parametrize("sigma", [1e-3, 0.5, 3.0, 100.0])
def test_taps_are_a_normalised_gaussian(sigma: float) -> None:
    taps = gaussian_taps(DELAY, sigma, 7)
    assert torch.allclose(taps.sum(-1), torch.ones(3, 2, dtype=torch.float64))
    if sigma == 3.0:  # where nothing underflows, the definition as it is written
        there = torch.exp(-0.5 * ((torch.arange(7).double() - 3.25) / 3.0) ** 2)
        assert torch.allclose(taps[0, 1], there / there.sum())
    one_by_one = torch.stack(list(each_tap(DELAY, sigma, 7)), -1)
    assert torch.allclose(one_by_one, taps, rtol=1e-12, atol=1e-300)
    assert torch.allclose(mean_delay(DELAY, sigma, 7), (taps * torch.arange(7)).sum(-1))


def test_derivative_is_the_stated_one() -> None:
    delay = torch.tensor(2.3, dtype=torch.float64, requires_grad=True)
    taps = gaussian_taps(delay, 1.7, 6)
    d = torch.arange(6)
    stated = taps * (d - mean_delay(delay.detach(), 1.7, 6)) / 1.7**2
    for k in range(6):
        (found,) = torch.autograd.grad(taps[k], delay, retain_graph=True)
        assert torch.allclose(found, stated[k])


def test_filter_is_a_convolution_channel_by_channel() -> None:
    g = torch.Generator().manual_seed(3)
    x = torch.randn(12, 2, 5, generator=g, dtype=torch.float64, requires_grad=True)
    delay = (4 * torch.rand(5, generator=g, dtype=torch.float64)).requires_grad_()
    kernel = gaussian_taps(delay, 0.8, 5).flip(-1).unsqueeze(1)
    expected = torch.nn.functional.conv1d(x.permute(1, 2, 0), kernel, groups=5).permute(2, 0, 1)
    actual = filter_delays(x, delay, 0.8, 5)
    assert torch.allclose(actual, expected)
    cotangent = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (x, delay), cotangent)
    for have, want in zip(torch.autograd.grad(actual, (x, delay), cotangent), wanted, strict=True):
        assert torch.allclose(have, want)
