"""The loops of piecewise-linear recurrences change only the samples they own."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuro.kernels.scans.piecewise_numba import backward, forward


def test_only_its_own_samples() -> None:
    rng: Any = np.random.default_rng(0)
    x, before = rng.standard_normal((4, 2, 6)), rng.standard_normal((2, 6))
    a, outer, inner, h1, h2 = (rng.standard_normal(s) for s in ((2,), (2, 3), (3, 2), (2,), (3,)))
    out = np.full((4, 2, 6), 9.0)
    forward(x, before, a, outer, inner, h1, h2, 0.25, True, out, 2, 5)
    assert (out[:, :, [0, 1, 5]] == 9).all()
    s = 0.75 * before + 0.25 * x[0]
    hidden = np.maximum(inner @ s + h2[:, None], 0) - np.maximum(inner @ s, 0)
    assert np.allclose(out[0, :, 2:5], (a[:, None] * s + outer @ hidden + h1[:, None])[:, 2:5], rtol=1e-12)

    grad_x, grad_before = np.full_like(x, 9.0), np.full_like(before, 9.0)
    sums: Any = [np.zeros_like(p) for p in (a, outer, inner, h1, h2)]
    grad = np.zeros_like(x)
    grad[3] = 1.0
    run: Any = backward
    run(grad, out, x, before, a, outer, inner, h2, 0.25, True, grad_x, grad_before, *sums, 2, 5)
    assert (grad_x[:, :, [0, 1, 5]] == 9).all()
    assert (grad_before[:, [0, 1, 5]] == 9).all()
    assert grad_x[:, :, 2:5].any()
    assert all(part.any() for part in sums)
