"""The loops of the causal filter change only the neurons they own."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuro.kernels.scans.parallel_numba import backward, forward


def test_only_its_own_neurons() -> None:
    rng: Any = np.random.default_rng(0)
    x, weight, bias = rng.standard_normal((8, 6)), rng.standard_normal(3), np.array(0.25)
    out = np.full((6, 6), 9.0)
    forward(x, weight, bias, out, 2, 5)
    wanted = sum(w * x[i : i + 6] for i, w in enumerate(weight)) + 0.25
    assert np.allclose(out[:, 2:5], wanted[:, 2:5], rtol=1e-12)
    assert (out[:, [0, 1, 5]] == 9).all()
    grad, grad_x, grad_weight = rng.standard_normal((6, 6)), np.full_like(x, 9.0), np.zeros(3)
    backward(grad, x, weight, grad_x, grad_weight, 2, 5)
    exact = np.zeros_like(x)
    for i, w in enumerate(weight):
        exact[i : i + 6] += w * grad
    assert np.allclose(grad_x[:, 2:5], exact[:, 2:5], rtol=1e-12)
    assert (grad_x[:, [0, 1, 5]] == 9).all()
    assert np.allclose(grad_weight, [(grad * x[i : i + 6])[:, 2:5].sum() for i in range(3)], rtol=1e-12)
