from __future__ import annotations

import numpy as np

from neuro.kernels.eventdriven.membrane_numba import backward, forward


def test_backward_is_the_transpose_of_forward() -> None:
    random = np.random.default_rng(0)
    start, time, neuron = np.array([0, 3]), np.array([0.0, 1.2e-3, 9.0]), np.array([1, 0, 1], np.int32)
    weight, delay, grad = random.normal(size=(2, 3)), np.zeros((0, 0)), random.normal(size=(5, 1, 3))
    out = np.zeros((5, 1, 3))
    given = (0, 1, start, time, neuron, weight, delay, 1e-3, (0.02, 0.005))
    forward(*given, out)
    grads = (np.zeros(3), np.zeros((2, 3)), delay.copy())
    backward(*given, grad, grads)
    np.testing.assert_allclose((grads[1] * weight).sum(), (out * grad).sum())
    assert grads[0][2] == 0.0  # the spike at 9 s is beyond the last step
