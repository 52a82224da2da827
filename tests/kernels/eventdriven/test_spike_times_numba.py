from __future__ import annotations

import numpy as np

from neuro.kernels.eventdriven.spike_times_numba import by_sample, list_spikes


def test_rows_of_steps_become_samples() -> None:
    # Two samples, two steps: (t 0, b 0) has neuron 4, (t 0, b 1) none, (t 1, b 0) neurons 1 and 2, (t 1, b 1) neuron 0.
    first, index = np.array([0, 1, 1, 3, 4]), np.array([4, 1, 2, 0], np.int32)
    time, neuron = np.zeros(4), np.zeros(4, np.int32)
    by_sample(first, index, 2, 0.25, np.array([0, 3, 4]), time, neuron)
    assert time.tolist() == [0.0, 0.25, 0.25, 0.25]
    assert neuron.tolist() == [4, 1, 2, 0]


def test_ones_are_listed_and_anything_else_is_none() -> None:
    x = (np.random.default_rng(1).random((70, 100)) < 0.5).astype(np.float32)  # more than there is room for at first
    first = np.zeros(71, np.int64)
    index = list_spikes(x, first)
    assert first[-1] == index.size == x.sum() > 1024
    for r in (0, 33, 69):
        assert index[first[r] : first[r + 1]].tolist() == np.flatnonzero(x[r]).tolist()
    for column in (3, 99):  # in a whole word, and after the last one
        y = x.copy()
        y[40, column] = 0.5
        assert list_spikes(y, first) is None
