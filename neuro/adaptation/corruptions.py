"""Pictures as bad weather, bad cameras and bad aim leave them, by their definitions, in five strengths.

After Hendrycks & Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations" (ICLR
2019), and Mu & Gilmer, "MNIST-C" (2019); strengths are our own, for digits of about 28 x 28.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from neuro.errors import InputError, unknown_name

__all__ = ["CORRUPTIONS", "corrupt"]

Change = Callable[[Tensor, float, torch.Generator], Tensor]


def _gaussian_noise(x: Tensor, sigma: float, draw: torch.Generator) -> Tensor:
    return x + sigma * torch.randn(x.shape, generator=draw, dtype=x.dtype)


def _shot_noise(x: Tensor, photons: float, draw: torch.Generator) -> Tensor:
    return torch.poisson((x + 0.05) * photons, generator=draw) / photons


def _impulse_noise(x: Tensor, share: float, draw: torch.Generator) -> Tensor:
    hit = torch.rand(x.shape, generator=draw) < share
    return torch.where(hit, (torch.rand(x.shape, generator=draw) < 0.5).to(x), x)


def _blur(x: Tensor, sigma: float, _: torch.Generator) -> Tensor:
    reach = math.ceil(3 * sigma)
    bell = torch.exp(-torch.arange(-reach, reach + 1, dtype=x.dtype).square() / (2 * sigma * sigma))
    bell = bell / bell.sum()
    across = F.conv2d(x.unsqueeze(1), bell.view(1, 1, 1, -1), padding=(0, reach))
    return F.conv2d(across, bell.view(1, 1, -1, 1), padding=(reach, 0)).squeeze(1)


def _contrast(x: Tensor, factor: float, _: torch.Generator) -> Tensor:
    mean = x.mean((1, 2), keepdim=True)
    return mean + factor * (x - mean)


def _brightness(x: Tensor, more: float, _: torch.Generator) -> Tensor:
    return x + more


def _rotation(x: Tensor, degrees: float, draw: torch.Generator) -> Tensor:
    side = torch.randint(0, 2, (len(x),), generator=draw).to(x) * 2 - 1
    angle = math.radians(degrees) * side
    nothing = torch.zeros_like(angle)
    return _mapped(x, torch.stack([angle.cos(), -angle.sin(), nothing, angle.sin(), angle.cos(), nothing], 1))


def _translation(x: Tensor, pixels: float, draw: torch.Generator) -> Tensor:
    direction = 2 * math.pi * torch.rand(len(x), generator=draw, dtype=x.dtype)
    one, nothing = torch.ones_like(direction), torch.zeros_like(direction)
    across, down = 2 * pixels / x.shape[2] * direction.cos(), 2 * pixels / x.shape[1] * direction.sin()
    return _mapped(x, torch.stack([one, nothing, across, nothing, one, down], 1))


def _mapped(x: Tensor, affine: Tensor) -> Tensor:
    grid = F.affine_grid(affine.view(-1, 2, 3), [len(x), 1, *x.shape[1:]], align_corners=False)
    return F.grid_sample(x.unsqueeze(1), grid, align_corners=False).squeeze(1)


def _occlusion(x: Tensor, side: float, draw: torch.Generator) -> Tensor:
    """A square of ``side`` of the picture's own side, somewhere, black."""
    inside = torch.ones(len(x), *x.shape[1:], dtype=torch.bool)
    for axis in (1, 2):
        length = x.shape[axis]
        start = torch.rand(len(x), generator=draw) * (1 - side) * length
        place = torch.arange(length) + 0.5
        along = (place > start.unsqueeze(1)) & (place < start.unsqueeze(1) + side * length)
        inside &= along.unsqueeze(3 - axis)
    return torch.where(inside, 0.0, x)


def _pixelation(x: Tensor, share: float, _: torch.Generator) -> Tensor:
    coarse = (max(1, round(share * x.shape[1])), max(1, round(share * x.shape[2])))
    return F.interpolate(F.adaptive_avg_pool2d(x.unsqueeze(1), coarse), x.shape[1:], mode="nearest").squeeze(1)


CORRUPTIONS: Mapping[str, tuple[Change, tuple[float, ...]]] = MappingProxyType(
    {
        "gaussian_noise": (_gaussian_noise, (0.2, 0.35, 0.5, 0.65, 0.8)),  # standard deviation
        "shot_noise": (_shot_noise, (20.0, 10.0, 5.0, 3.0, 2.0)),  # photons of a white pixel
        "impulse_noise": (_impulse_noise, (0.05, 0.1, 0.2, 0.3, 0.4)),  # share of pixels
        "blur": (_blur, (0.8, 1.2, 1.6, 2.0, 2.5)),  # standard deviation in pixels
        "contrast": (_contrast, (0.7, 0.5, 0.35, 0.25, 0.15)),  # factor
        "brightness": (_brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),  # added to every pixel
        "rotation": (_rotation, (15.0, 25.0, 35.0, 45.0, 60.0)),  # degrees, to either side
        "translation": (_translation, (2.0, 3.0, 4.0, 5.0, 6.0)),  # pixels, in any direction
        "occlusion": (_occlusion, (0.25, 0.32, 0.4, 0.46, 0.54)),  # side of the square
        "pixelation": (_pixelation, (0.7, 0.55, 0.43, 0.32, 0.25)),  # pixels that are left along each side
    }
)
"""Name -> how a picture changes, and by how much at strengths 1 to 5."""


def corrupt(name: str, pictures: Tensor, *, strength: int = 3, seed: int = 0) -> Tensor:
    """Corrupted pictures, cut to 0 to 1.

    Args:
        name: one of :data:`CORRUPTIONS`.
        pictures: ``[S, H, W]`` floats from 0 to 1.
        strength: 1 to 5.
        seed: of what is random; another one, other noise.

    Raises:
        InputError: an unknown name; another shape; a strength out of range.

    >>> corrupt("contrast", torch.tensor([[[0.0, 1.0]]]), strength=2).tolist()
    [[[0.25, 0.75]]]
    """
    if name not in CORRUPTIONS:
        raise unknown_name("corruption", name, CORRUPTIONS)
    if pictures.dim() != 3 or not pictures.is_floating_point() or 0 in pictures.shape:
        raise InputError(f"pictures must be [S, H, W] floats, got {list(pictures.shape)} {pictures.dtype}")
    change, strengths = CORRUPTIONS[name]
    if strength not in range(1, 1 + len(strengths)):
        raise InputError(f"strength must be 1 to {len(strengths)}, got {strength!r}")
    return change(pictures, strengths[strength - 1], torch.Generator().manual_seed(seed)).clamp(0, 1)
