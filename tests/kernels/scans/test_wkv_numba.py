"""The loops of WKV change only the channels they own."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuro.kernels.scans.wkv_numba import backward, forward


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
