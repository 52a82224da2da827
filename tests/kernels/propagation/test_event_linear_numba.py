"""The loops behind event-driven products, against one line of NumPy each."""

from __future__ import annotations

import numpy as np
import pytest

from neuro.kernels.propagation.event_linear_numba import gather, scatter


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"), [(1, 1, 1), (3, 7, 5), (5, 64, 33), (4, 131, 8), (3, 40, 64), (3, 40, 157)]
)
def test_loops(rows: int, inputs: int, outputs: int, graded: bool, dtype: type[np.floating]) -> None:
    rng = np.random.default_rng(rows * inputs)
    x = (rng.random((rows, inputs)) < 0.3) * (rng.standard_normal((rows, inputs)) if graded else 1.0)
    x[0] = 0
    x, tolerance = x.astype(dtype), 1e-12 if dtype is np.float64 else 1e-4
    start = np.concatenate([[0], np.cumsum((x != 0).sum(1))])
    index = np.nonzero(x)[1].astype(np.int32)
    value = x[x != 0] if graded else np.empty(0, dtype)

    weight = rng.standard_normal((inputs, outputs)).astype(dtype)
    out = np.zeros((rows, outputs), dtype)
    bias = rng.standard_normal(outputs).astype(dtype)
    gather(start, index, value, weight, bias, out, 0, rows, 0, outputs)
    assert np.allclose(out, x @ weight + bias, atol=tolerance)

    part = np.zeros((rows, outputs), dtype)
    gather(start, index, value, weight, bias, part, 1, rows, outputs // 2, outputs)
    assert np.allclose(part[1:, outputs // 2 :], (x @ weight + bias)[1:, outputs // 2 :], atol=tolerance)
    assert not part[:1].any()
    assert not part[:, : outputs // 2].any()

    assert out.dtype == dtype
    grad = rng.standard_normal((rows, outputs)).astype(dtype)
    weight_grad = np.zeros((inputs, outputs), dtype)
    scatter(start, index, value, grad, weight_grad, 0, outputs)
    assert np.allclose(weight_grad, x.T @ grad, atol=tolerance)
