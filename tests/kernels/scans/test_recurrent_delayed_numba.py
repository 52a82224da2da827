"""The bank's gradient from the list of spikes equals the dense products."""

from __future__ import annotations

import pytest
import torch

from neuro.kernels.scans.recurrent_delayed_numba import bank_gradient


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 63), (7, 5, 100), (0, 2, 3), (3, 0, 4), (2, 3, 0)], ids=str)
@pytest.mark.parametrize("lags", [1, 4])
def test_bank_gradient_is_a_sum_of_outer_products_for_each_lag(
    shape: tuple[int, int, int], share: float, lags: int
) -> None:
    generator = torch.Generator().manual_seed(1)
    time, batch, neurons = shape
    drawn = torch.rand((lags + time, batch, neurons), generator=generator, dtype=torch.float64)
    rows = (drawn < share).double() * (drawn + 0.5)
    grad = torch.randn(shape, generator=generator, dtype=torch.float64)
    made = bank_gradient(rows[lags:], rows[:lags], grad)
    assert made.shape == (lags, neurons, neurons)
    for lag in range(1, lags + 1):
        earlier = rows[lags - lag : lags - lag + time]
        assert torch.allclose(made[lag - 1], torch.einsum("tbi,tbj->ij", earlier, grad), rtol=1e-12, atol=1e-12)
