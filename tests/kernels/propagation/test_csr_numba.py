"""The loops over compressed rows, against a loop over synapses in Python."""

from __future__ import annotations

import numpy as np
import pytest

from neuro.kernels.propagation.csr_numba import grad_input, grad_weight, scatter

T, B, I, O = 3, 2, 5, 4


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("own_delay", [False, True])
@pytest.mark.parametrize("own_weight", [False, True])
def test_loops(own_weight: bool, own_delay: bool, graded: bool) -> None:
    rng = np.random.default_rng(1)
    indptr = np.array([0, 2, 2, 5, 6, 9])
    indices = rng.integers(0, O, 9).astype(np.int32)
    pre = np.repeat(np.arange(I), np.diff(indptr))
    weight = rng.standard_normal(9 if own_weight else 1)
    delay = rng.integers(0, 3, 9 if own_delay else 1).astype(np.int32)
    x = (rng.random((T * B, I)) < 0.5) * (rng.standard_normal((T * B, I)) if graded else 1.0)
    start = np.concatenate([[0], np.cumsum((x != 0).sum(1))])
    index, value = np.nonzero(x)[1].astype(np.int32), x[x != 0] if graded else np.empty(0)
    w, d = np.broadcast_to(weight, 9), np.broadcast_to(delay, 9)
    grad = rng.standard_normal((T + 3, B, O))
    expected, to_x, to_w = np.zeros_like(grad), np.zeros((T, B, I)), np.zeros(9)
    for t in range(T):
        for b in range(B):
            for s in range(9):
                expected[t + d[s], b, indices[s]] += w[s] * x[t * B + b, pre[s]]
                to_x[t, b, pre[s]] += w[s] * grad[t + d[s], b, indices[s]]
                to_w[s] += x[t * B + b, pre[s]] * grad[t + d[s], b, indices[s]]

    arrivals = np.zeros_like(grad)
    scatter(start, index, value, indptr, indices, weight, delay, arrivals, T, 1, B)
    assert not arrivals[:, 0].any()
    scatter(start, index, value, indptr, indices, weight, delay, arrivals, T, 0, 1)
    assert np.allclose(arrivals, expected, atol=1e-12)

    out = np.full((T, B, I), np.nan)
    for block in ((0, 1, 0, I), (1, B, 0, 3), (1, B, 3, I)):
        grad_input(grad, indptr, indices, weight, delay, out, *block)
    assert np.allclose(out, to_x, atol=1e-12)

    each, sums = np.zeros(9), np.zeros((2, 1))
    for k, (i0, i1) in enumerate(((0, 3), (3, I))):
        grad_weight(start, index, value, grad, indptr, indices, delay, each, False, T, i0, i1)
        grad_weight(start, index, value, grad, indptr, indices, delay, sums[k], True, T, i0, i1)
    assert np.allclose(each, to_w, atol=1e-12)
    assert np.allclose(sums.sum(), to_w.sum(), atol=1e-12)
