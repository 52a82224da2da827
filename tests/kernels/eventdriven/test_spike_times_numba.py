from __future__ import annotations

import numpy as np

from neuro.kernels.eventdriven.spike_times_numba import by_sample


def test_rows_of_steps_become_samples() -> None:
    # Two samples, two steps: (t 0, b 0) has neuron 4, (t 0, b 1) none, (t 1, b 0) neurons 1 and 2, (t 1, b 1) neuron 0.
    first, index = np.array([0, 1, 1, 3, 4]), np.array([4, 1, 2, 0], np.int32)
    time, neuron = np.zeros(4), np.zeros(4, np.int32)
    by_sample(first, index, 2, 0.25, np.array([0, 3, 4]), time, neuron)
    assert time.tolist() == [0.0, 0.25, 0.25, 0.25]
    assert neuron.tolist() == [4, 1, 2, 0]
