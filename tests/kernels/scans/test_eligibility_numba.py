"""The loop over synapses, against one line of NumPy for each step."""

from __future__ import annotations

import numpy as np
import pytest

from neuro.kernels.scans.eligibility_numba import sweep


@pytest.mark.parametrize("states", [1, 3])
def test_only_its_own_neurons_change(states: int) -> None:
    rng = np.random.default_rng(0)
    time, batch, neurons, inputs = 5, 2, 4, 7
    a = rng.standard_normal((states, states, time, batch, neurons))
    b, c = (rng.standard_normal((states, time, batch, neurons)) for _ in range(2))
    d, signal = (rng.standard_normal((time, batch, neurons)) for _ in range(2))
    u, trace = rng.standard_normal((time, batch, inputs)), rng.standard_normal((states, batch, neurons, inputs))
    grad = rng.standard_normal((neurons, inputs))
    start, first = trace.copy(), grad.copy()
    sweep(a, b, c, d, u, signal, trace, grad, 1, 3)
    assert (grad[[0, 3]] == first[[0, 3]]).all()
    assert (trace[:, :, [0, 3]] == start[:, :, [0, 3]]).all()
    e, total = start[:, :, 1:3], first[1:3]
    for t in range(time):
        follows = np.einsum("kbo,kboi->boi", c[:, t, :, 1:3], e) + d[t, :, 1:3, None] * u[t, :, None]
        total = total + np.einsum("bo,boi->oi", signal[t, :, 1:3], follows)
        e = np.einsum("kjbo,jboi->kboi", a[:, :, t, :, 1:3], e) + b[:, t, :, 1:3, None] * u[t, None, :, None]
    assert np.allclose(grad[1:3], total, rtol=1e-12)
    assert np.allclose(trace[:, :, 1:3], e, rtol=1e-12)
