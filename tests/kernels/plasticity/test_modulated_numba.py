"""The loops of modulated plasticity, against lines of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from neuro.kernels.plasticity.modulated_numba import modulate_dense


@pytest.mark.parametrize("sign", [1, -1])
def test_one_step_without_spikes(sign: int) -> None:
    rng = np.random.default_rng(0)
    weight, held = rng.random((4, 5)), rng.random((2, 4, 5))
    silent_row, silent_column = np.zeros((1, 2, 4)), np.zeros((1, 2, 5))
    m = rng.standard_normal((1, 2, 4 if sign > 0 else 5))
    factor = m[0][:, :, None] if sign > 0 else m[0][:, None, :]
    expected = np.clip(weight + 0.25 * (factor * (0.5 * held)).sum(0), 0.2, 0.8)
    decay = (np.array([0.25]), np.array([0.5]))
    none = (np.zeros(3, np.int64), np.empty(0, np.int32))
    pairs = ((silent_row, silent_row), (silent_column, silent_column))
    bounds, active = np.array([0.2, 0.8, 0.0, 0.0]), np.array([True])
    halved = 0.5 * held
    modulate_dense(weight, held, *pairs, *none, sign, decay, m, active, bounds, 0, 0, 4)
    np.testing.assert_allclose(weight, expected, rtol=1e-14)
    np.testing.assert_allclose(held, halved, rtol=0)
