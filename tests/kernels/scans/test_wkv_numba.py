"""The loops of WKV change only the channels they own."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from neuro.kernels.scans.wkv_numba import backward, forward, log_rest


def test_only_its_own_channels() -> None:
    rng: Any = np.random.default_rng(0)
    k, v, grad = (rng.standard_normal((6, 7)) for _ in range(3))
    w, u = -np.ones(7), np.full(7, 0.5)
    means, weights, out = np.full((7, 7), 9.0), np.full((7, 7), 9.0), np.full((6, 7), 9.0)
    forward(k, v, w, u, out, means, weights, 2, 5)
    for made in (out, means[1:], weights[1:]):
        assert (made[:, [0, 1, 5, 6]] == 9).all()
        assert (made[:, 2:5] != 9).all()
    grad_k, grad_v = np.full_like(k, 9.0), np.full_like(v, 9.0)
    sums, carried = np.full((2, 7), 9.0), np.full((2, 7), 0.25)
    backward(grad, k, v, w, u, means, weights, grad_k, grad_v, sums, carried, False, 2, 5)
    for made in (grad_k, grad_v, sums):
        assert (made[:, [0, 1, 5, 6]] == 9).all()
        assert (made[:, 2:5] != 9).all()
    assert (carried[:, [0, 1, 5, 6]] == 0.25).all()


@numba.njit
def rests(p: Any, out: Any) -> None:
    for i in range(p.shape[0]):
        out[i] = log_rest(p[i])


@pytest.mark.parametrize(("dtype", "close"), [(np.float32, 2e-7), (np.float64, 1e-15)])
def test_the_series_of_the_logarithm(dtype: Any, close: float) -> None:
    p = np.concatenate([np.linspace(0, 0.5, 1001), np.logspace(-30, -1, 100)]).astype(dtype)
    made = np.empty_like(p)
    rests(p, made)
    exact = -np.log1p(-p.astype(np.float64))
    assert np.allclose(made, exact, rtol=close, atol=0)
    assert log_rest(0.25) == -np.log1p(-0.25)
