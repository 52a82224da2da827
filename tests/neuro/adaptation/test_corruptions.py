"""Corruptions: by their definitions, stronger with strength, fresh with the seed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neuro.adaptation import CORRUPTIONS, corrupt
from neuro.errors import InputError

RANDOM = {"gaussian_noise", "shot_noise", "impulse_noise", "rotation", "translation", "occlusion"}


def pictures(count: int = 40, height: int = 28, width: int = 28) -> Tensor:
    """Bright blobs off the middle, on black."""
    generator = torch.Generator().manual_seed(0)
    middle = 0.35 + 0.3 * torch.rand(count, 2, 1, 1, generator=generator)
    down, across = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.exp(-((down - middle[:, 0]).square() + 3 * (across - middle[:, 1]).square()) * 60)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize(("height", "width"), [(28, 28), (20, 31)])
def test_each_changes_the_pictures_the_more_the_stronger(name: str, height: int, width: int) -> None:
    x = pictures(height=height, width=width)
    changed = [corrupt(name, x, strength=strength) for strength in (1, 3, 5)]
    for made in changed:
        assert made.shape == x.shape
        assert made.dtype == x.dtype
        assert float(made.amin()) >= 0
        assert float(made.amax()) <= 1
    weak, middle, strong = (float((made - x).square().mean()) for made in changed)
    assert 0 < weak < middle < strong


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_seed_decides_what_is_random(name: str) -> None:
    x = pictures()
    assert torch.equal(corrupt(name, x, seed=3), corrupt(name, x, seed=3))
    assert torch.equal(corrupt(name, x, seed=3), corrupt(name, x, seed=4)) == (name not in RANDOM)
    assert corrupt(name, x.double()).dtype == torch.float64


def test_noise_has_its_width_and_its_share() -> None:
    grey = torch.full((50, 28, 28), 0.5)
    assert float(corrupt("gaussian_noise", grey, strength=1).std()) == pytest.approx(0.2, abs=0.01)
    hit = corrupt("impulse_noise", grey, strength=4)
    assert float((hit != 0.5).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert set(hit.unique().tolist()) == {0.0, 0.5, 1.0}


def test_a_point_is_blurred_to_a_bell() -> None:
    point = torch.zeros(1, 29, 29)
    point[0, 14, 14] = 1
    made = corrupt("blur", point, strength=3)[0]
    place = torch.arange(29) - 14.0
    assert float(made.sum()) == pytest.approx(1, abs=1e-3)
    assert float((made.sum(0) * place.square()).sum()) == pytest.approx(1.6**2, rel=0.03)
    assert torch.allclose(made, made.t(), atol=1e-7)


def test_geometry() -> None:
    x = pictures(1).expand(60, -1, -1)
    place = torch.arange(28.0)

    def centre(made: Tensor) -> Tensor:
        weight = made.sum((1, 2))
        return torch.stack([(made.sum(2) @ place) / weight, (made.sum(1) @ place) / weight], 1)

    moved = (centre(corrupt("translation", x, strength=2)) - centre(x)).norm(dim=1)
    assert float(moved.mean()) == pytest.approx(3, abs=0.1)
    turned = centre(corrupt("rotation", x, strength=4)) - 13.5
    start = centre(x)[0] - 13.5
    cosine = (turned @ start) / (turned.norm(dim=1) * start.norm())
    assert float(cosine.mean()) == pytest.approx(2**-0.5, abs=0.03)
    white = corrupt("occlusion", torch.ones(60, 28, 28), strength=5)
    assert float((white == 0).float().mean()) == pytest.approx(0.54**2, abs=0.02)
    assert len(corrupt("pixelation", x[:1], strength=5)[0].unique()) <= 49


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="unknown corruption 'blurr'; did you mean 'blur'"):
        corrupt("blurr", pictures())
    with pytest.raises(InputError, match=r"pictures must be \[S, H, W\] floats"):
        corrupt("blur", pictures()[0])
    with pytest.raises(InputError, match="strength must be 1 to 5, got 6"):
        corrupt("blur", pictures(), strength=6)
