"""The vector form of the logistic function is the logistic function, to the last bits of either dtype."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from neuro.kernels.engines.logistic_numba import LANES, add_lanes, fused, logistic


@numba.njit(error_model="numpy")
def over(a: Any, out: Any) -> None:
    for k in range(a.shape[0]):
        out[k] = logistic(a[k])


@numba.njit(error_model="numpy")
def total(rows: Any, out: Any) -> None:
    add_lanes(rows, out)


@numba.njit(error_model="numpy")
def once_rounded(a: Any, out: Any) -> None:
    for k in range(a.shape[0]):
        out[k] = fused(a[k], a[k], -a[k])


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lanes_add_halves_to_halves(dtype: type) -> None:
    rows: Any = np.random.default_rng(0).standard_normal((4, LANES)).astype(dtype)
    made: Any = np.array([1.0, -2.0, 3.0, 0.5], dtype)
    before, wanted, width = made.copy(), rows.copy(), LANES
    while width > 4:
        width //= 2
        wanted = wanted[:, :width] + wanted[:, width : 2 * width]
    pairs = wanted[:, :2] + wanted[:, 2:]
    total(rows.reshape(-1), made)
    assert np.array_equal(made, before + (pairs[:, 0] + pairs[:, 1]))


def test_fused_rounds_once() -> None:
    a: Any = np.array([1 + 2.0**-12, 3.1], np.float32)
    made: Any = np.empty_like(a)
    once_rounded(a, made)
    exact = a.astype(np.float64) ** 2 - a
    assert np.array_equal(made, exact.astype(np.float32))
    assert not np.array_equal(made, a * a - a)
