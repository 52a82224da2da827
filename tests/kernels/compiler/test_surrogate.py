"""Properties every surrogate must have."""

from __future__ import annotations

import math

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.compiler.reference import slope, torch_function
from neuro.kernels.compiler.surrogate import SURROGATES, Surrogate

DRIVE = torch.linspace(-3, 3, 6001, dtype=torch.float64)
FAMILIES = sorted(SURROGATES)


@pytest.mark.parametrize("family", FAMILIES)
def test_peak_at_threshold_never_negative_symmetric(family: str) -> None:
    surrogate = Surrogate(family, width=0.7, peak=0.3)
    value = slope(DRIVE, surrogate)
    assert slope(torch.zeros(1, dtype=torch.float64), surrogate).item() == pytest.approx(0.3)
    if family == "multi_gaussian":
        assert bool((value < 0).any())
        assert float(value.min()) > -0.05 * 0.3
    else:
        assert bool((value >= 0).all())
    assert bool((value <= 0.3 + 1e-12).all())
    if family == "step":
        assert torch.equal(value > 0, DRIVE > -0.7)
    else:
        assert torch.allclose(value, value.flip(0), atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_shape_is_the_derivative_of_the_stated_primitive(family: str) -> None:
    # Off the kinks of triangle and boxcar, where no derivative exists.
    u = (torch.linspace(-2.9, 2.9, 57, dtype=torch.float64) + 0.013).requires_grad_()
    (primitive,) = torch_function((SURROGATES[family].primitive,), ("u",))(u)
    (derivative,) = torch.autograd.grad(primitive.sum(), u)
    shape = torch_function((SURROGATES[family].shape,), ("u",))(u.detach())[0]
    assert torch.allclose(derivative, torch.as_tensor(shape).to(u.dtype).expand_as(derivative), atol=1e-12)
    zero = torch_function((SURROGATES[family].primitive,), ("u",))(torch.zeros(1, dtype=torch.float64))[0]
    assert float(zero) == 0.0


@pytest.mark.parametrize(("family", "reach"), [("triangle", 0.7), ("boxcar", 0.35)])
def test_finite_support(family: str, reach: float) -> None:
    value = slope(DRIVE, Surrogate(family, width=0.7))
    assert bool((value[DRIVE.abs() > reach + 1e-9] == 0).all())
    assert bool((value[DRIVE.abs() < reach - 1e-3] > 0).all())


def test_spikingjelly_atan_in_our_terms() -> None:
    alpha = 2.0
    theirs = alpha / 2 / (1 + (math.pi / 2 * alpha * DRIVE) ** 2)
    assert torch.allclose(slope(DRIVE, Surrogate("atan", width=2 / (math.pi * alpha), peak=alpha / 2)), theirs)


def test_multi_gaussian_is_that_of_its_paper() -> None:
    sigma, h, s = 0.5, 0.15, 6.0

    def normal(mean: float, deviation: float) -> torch.Tensor:
        return torch.exp(-(((DRIVE - mean) / deviation) ** 2) / 2) / (deviation * math.sqrt(2 * math.pi))

    theirs = (1 + h) * normal(0, sigma) - h * normal(sigma, s * sigma) - h * normal(-sigma, s * sigma)
    peak = float(theirs[3000])
    assert torch.allclose(slope(DRIVE, Surrogate("multi_gaussian", width=sigma, peak=peak)), theirs, atol=1e-14)


def test_fake_numerical_gradient_in_our_terms() -> None:
    alpha = 0.3
    theirs = (1 / DRIVE.abs()).clamp_max(alpha)
    assert torch.allclose(slope(DRIVE, Surrogate("reciprocal", width=1 / alpha, peak=alpha)), theirs)


def test_dampened_triangle_in_our_terms() -> None:
    gamma, threshold = 0.3, 0.6
    theirs = gamma / threshold * (1 - (DRIVE / threshold).abs()).clamp_min(0)
    ours = Surrogate("triangle", width=threshold, peak=gamma / threshold)
    assert torch.allclose(slope(DRIVE, ours), theirs)


@pytest.mark.parametrize(("width", "peak"), [(0, 1), (-1, 1), (float("nan"), 1), (1, 0), (1, float("inf"))])
def test_bad_numbers(width: float, peak: float) -> None:
    with pytest.raises(InputError, match="positive finite"):
        Surrogate("atan", width, peak)


def test_unknown_family() -> None:
    with pytest.raises(InputError, match="did you mean 'triangle'"):
        Surrogate("triangel")
