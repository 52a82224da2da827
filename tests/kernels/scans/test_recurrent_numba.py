"""The weight's gradient from the list of spikes equals the dense product."""

from __future__ import annotations

import pytest
import torch

from neuro.kernels.scans.recurrent_numba import weight_gradient


@pytest.mark.parametrize("share", [0.0, 0.05, 1.0])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 3, 63), (7, 5, 100), (3, 2, 600), (0, 2, 3), (3, 0, 4), (2, 3, 0)], ids=str
)
@pytest.mark.parametrize("graded", [False, True])
def test_weight_gradient_is_the_sum_of_outer_products(shape: tuple[int, int, int], share: float, graded: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    time, batch, neurons = shape
    rows = torch.rand((time + 1, batch, neurons), generator=generator, dtype=torch.float64)
    earlier = (rows < share).double() * (rows + 0.5 if graded else 1)
    grad = torch.randn(shape, generator=generator, dtype=torch.float64)
    made = weight_gradient(earlier[1:], earlier[0], grad)
    assert made.shape == (neurons, neurons)
    assert torch.allclose(made, torch.einsum("tbi,tbj->ij", grad, earlier[:-1]), rtol=1e-12, atol=1e-12)
    assert bool(made.any()) == bool(share > 0.5 and rows[:-1].numel()) or share == 0.05
