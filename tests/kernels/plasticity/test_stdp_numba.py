"""The loops of STDP, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from neuro.kernels.plasticity.stdp_numba import moved, transpose, within


@pytest.mark.parametrize(("mu_plus", "mu_minus"), [(0.0, 0.0), (1.0, 1.0), (0.3, 0.0), (0.0, 2.5)])
def test_a_weight_moves_by_its_distance_from_the_bounds(mu_plus: float, mu_minus: float) -> None:
    limits = (-0.5, 2.0, mu_plus, mu_minus)
    for weight in (-0.5, 0.7, 2.0):
        by = 0.2 * (2.0 - weight) ** mu_plus - 0.3 * (weight + 0.5) ** mu_minus
        assert moved(weight, 0.2, 0.3, limits) == pytest.approx(min(2.0, max(-0.5, weight + by)))
    assert moved(1.9, 9.0, 0.0, limits) <= 2.0


def test_part_of_a_list() -> None:
    spikes = np.array([1, 4, 5, 9], np.int32)
    assert within(spikes, 4, 9).tolist() == [4, 5]
    assert within(spikes, 0, 1).tolist() == within(spikes[:0], 0, 9).tolist() == []


def test_transpose_of_some_rows() -> None:
    indptr, indices = np.array([0, 2, 2, 5]), np.array([1, 0, 1, 1, 2], np.int32)
    begin, order, source = np.zeros(4, np.int64), np.empty(3, np.int64), np.empty(3, np.int32)
    transpose(indptr, indices, begin, order, source, 2, 3)
    assert (begin.tolist(), order.tolist(), source.tolist()) == ([0, 0, 2, 3], [2, 3, 4], [2, 2, 2])
