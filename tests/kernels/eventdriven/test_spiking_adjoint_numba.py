from __future__ import annotations

import numpy as np

from neuro.kernels.eventdriven.spiking_adjoint_numba import backward
from neuro.kernels.eventdriven.spiking_layer_numba import forward


def test_two_identical_samples_give_twice_the_gradient_of_one() -> None:
    weight = np.array([[5.0, 0.5], [1.0, 4.0]])
    none = np.zeros((0, 0))
    constants = (0.02, 0.01, 1.0, 0.0, 0.1, 0.0)
    start, time, neuron = np.array([0, 2, 4]), np.array([0.0, 0.01, 0.0, 0.01]), np.array([0, 1, 0, 1], np.int32)
    ends, times, neurons, currents = forward(0, 2, start, time, neuron, weight, none, none, constants, 100)
    assert ends[1] == 2 * ends[0] > 0
    assert times[: ends[0]].tolist() == times[ends[0] :].tolist()
    assert (currents > 1).all()
    sums = []
    for samples in (1, 2):
        made = (np.array([0, *ends]), times, neurons, currents, np.ones_like(times), np.zeros_like(times))
        grads = (np.zeros(4), np.zeros((2, 2)), none.copy(), none.copy(), True)
        backward(0, samples, start, time, neuron, weight, none, none, constants, made, grads)
        sums.append(grads)
    np.testing.assert_allclose(sums[1][1], 2 * sums[0][1])
    assert sums[1][0][:2].tolist() == sums[1][0][2:].tolist()
    # All spikes move with the input: later by as much.
    assert abs(sums[0][0].sum() - ends[0]) < 1e-9
