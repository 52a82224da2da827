"""What architectures are put together of."""

from __future__ import annotations

import math

import pytest
import torch

from neuro.architectures.blocks import atan, convolution, lif, need_positive
from neuro.errors import InputError
from neuro.kernels.compiler.reference import slope


def test_the_surrogate_is_that_of_other_libraries() -> None:
    u = torch.linspace(-2, 2, 41, dtype=torch.float64)
    for alpha in (2.0, 5.0):
        wanted = alpha / 2 / (1 + (math.pi / 2 * alpha * u) ** 2)
        assert torch.allclose(slope(u, atan(alpha)), wanted, rtol=1e-12)


def test_the_neuron_decays_to_half_and_starts_again() -> None:
    x = torch.tensor([1.0, 1.5, 1.5, 0.0]).view(4, 1, 1)
    z, (v,) = lif(1, 5e-3)(x)
    assert z.flatten().tolist() == [0.0, 0.0, 1.0, 0.0]  # 0.5, 1.0, 1.25, and from zero again
    assert float(v) == 0.0
    assert lif((2, 3), 1e-3, steps=4.0, v_threshold=0.5).value("v_threshold") == 0.5


def test_convolutions_keep_the_place() -> None:
    x = torch.ones(1, 2, 2, 7, 5)
    for kernel, stride, place in ((3, 1, (7, 5)), (1, 2, (4, 3)), (7, 2, (4, 3))):
        conv, norm = convolution(2, 4, kernel=kernel, stride=stride)
        assert norm(conv(x)).shape == (1, 2, 4, *place)


def test_sizes_are_named() -> None:
    need_positive("net", classes=1)
    for bad in (0, True, 2.0):
        with pytest.raises(InputError, match="net classes must be a whole number from 1 on"):
            need_positive("net", classes=bad)  # type: ignore[arg-type]
