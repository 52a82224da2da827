from __future__ import annotations

import numpy as np
import pytest

from neuro.kernels.eventdriven.spiking_layer_numba import forward


@pytest.mark.parametrize("gap", [1e-3, 0.5])
def test_a_neuron_is_as_far_on_its_own_as_with_all(gap: float) -> None:
    """Arrivals of no weight bring the layer to other times; spikes stay, be they within reach of them or far off."""
    weight = np.array([[9.0, 3.0], [0.0, 0.0]])
    none, constants = np.zeros((0, 0)), (0.02, 0.007, 1.0, -0.3, 0.1, 0.0)
    times = np.arange(0.0, 0.1, gap)
    neuron = np.ones(times.size, np.int32)
    neuron[0] = 0
    ends, often, which, _ = forward(0, 1, np.array([0, times.size]), times, neuron, weight, none, none, constants, 100)
    _, once, same, _ = forward(0, 1, np.array([0, 1]), times[:1], neuron[:1], weight, none, none, constants, 100)
    assert ends[0] == once.size >= 2
    np.testing.assert_allclose(often, once, rtol=0, atol=1e-15)
    assert which.tolist() == same.tolist()
