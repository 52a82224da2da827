"""The vector form of the logistic function is the logistic function, to the last bits of either dtype."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from neuro.kernels.liquid.logistic_numba import LANES, lane_sum, logistic


@numba.njit(error_model="numpy")
def over(a: Any, out: Any) -> None:
    for k in range(a.shape[0]):
        out[k] = logistic(a[k])


@numba.njit(error_model="numpy")
def total(rows: Any, out: Any) -> None:
    for k in range(rows.shape[0]):
        out[k] = lane_sum(rows[k])


@pytest.mark.parametrize(("dtype", "reach", "ulps"), [(np.float32, 86.0, 4), (np.float64, 690.0, 4)])
def test_logistic_is_exact_to_a_few_last_bits(dtype: type, reach: float, ulps: int) -> None:
    a: Any = np.concatenate([np.linspace(-reach, reach, 20001), np.linspace(-1e-6, 1e-6, 101)]).astype(dtype)
    made: Any = np.empty_like(a)
    over(a, made)
    wanted = 1 / (1 + np.exp(-a.astype(np.longdouble)))
    assert np.abs(made / wanted - 1).max() < ulps * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logistic_far_out_and_of_what_is_no_number(dtype: type) -> None:
    a: Any = np.array([-1e30, 1e30, -np.inf, np.inf, np.nan, 0.0], dtype)
    made: Any = np.empty_like(a)
    over(a, made)
    assert made[:4] == pytest.approx([0, 1, 0, 1], abs=1e-30)
    assert np.isnan(made[4])
    assert made[5] == 0.5
    assert logistic(0.25) == pytest.approx(0.5621765008857981)


def test_lane_sum_adds_halves_to_halves() -> None:
    rows = np.random.default_rng(0).standard_normal((5, LANES)).astype(np.float32)
    made = np.empty(5, np.float32)
    total(rows, made)
    wanted, width = rows.copy(), LANES
    while width > 1:
        width //= 2
        wanted = wanted[:, :width] + wanted[:, width : 2 * width]
    assert np.array_equal(made, wanted[:, 0])
