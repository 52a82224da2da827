from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from neuro.kernels.eventdriven.flow_numba import advance, arrivals, crossing, flow, reach

TAUS = [(20e-3, 5e-3), (20e-3, 10e-3), (10e-3, 10e-3), (10e-3, 10e-3 * (1 + 1e-9)), (4e-3, 30e-3)]


def v_after(d: float, v: float, i: float, tau_m: float, tau_s: float) -> float:
    em, _, k = flow(d, tau_m, tau_s, tau_m)
    return float(em * v + k * i)


@pytest.mark.parametrize(("tau_m", "tau_s"), TAUS)
def test_the_flow_solves_the_equations(tau_m: float, tau_s: float) -> None:
    v, i, steps, d = -0.3, 1.7, 20000, 0.013
    h = d / steps
    for _ in range(steps):  # the midpoint rule
        v, i = (
            v + h * (i - h * i / tau_s / 2 - v - h * (i - v) / tau_m / 2) / tau_m,
            i * (1 - h / tau_s + (h / tau_s) ** 2 / 2),
        )
    assert v_after(d, -0.3, 1.7, tau_m, tau_s) == pytest.approx(v, rel=1e-7)


def test_the_flow_of_very_long_times_is_zero() -> None:
    assert flow(1e6, 5e-3, 20e-3, 5e-3) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("tau_m", "tau_s"), TAUS)
def test_the_first_crossing_is_found_and_is_the_first(tau_m: float, tau_s: float) -> None:
    random = np.random.default_rng(3)
    found = 0
    for _ in range(300):
        v, i = random.uniform(-2, 0.99), 10 ** random.uniform(-0.5, 2)
        grid = [v_after(d, v, i, tau_m, tau_s) for d in np.linspace(0, 12 * max(tau_m, tau_s), 3000)]
        d = crossing(v, i, 1.0, tau_m, tau_s)
        assert math.isfinite(d) or max(grid) < 1 + 1e-4
        if math.isfinite(d):
            found += 1
            assert v_after(d, v, i, tau_m, tau_s) == pytest.approx(1.0, abs=1e-12)
            assert all(v_after(d * s, v, i, tau_m, tau_s) < 1 for s in np.linspace(0, 0.999, 50))
    assert 50 < found < 300


@pytest.mark.parametrize(("tau_m", "tau_s"), TAUS)
def test_a_membrane_that_only_just_reaches_the_threshold(tau_m: float, tau_s: float) -> None:
    low, high = 1.0, 100.0
    while low < (middle := 0.5 * (low + high)) < high:
        low, high = (middle, high) if math.isinf(crossing(0.0, middle, 1.0, tau_m, tau_s)) else (low, middle)
    d = crossing(0.0, high, 1.0, tau_m, tau_s)
    assert v_after(d, 0.0, high, tau_m, tau_s) == pytest.approx(1.0, abs=1e-12)
    assert math.isinf(crossing(0.0, high * (1 - 1e-9), 1.0, tau_m, tau_s))


def test_states_at_the_edge() -> None:
    assert crossing(1.0, 1.5, 1.0, 0.02, 0.01) == 0.0
    for v, i in ((0.5, 1.0), (0.5, math.nan), (0.5, -3.0), (0.0, 0.0)):
        assert math.isinf(crossing(v, i, 1.0, 0.02, 0.007))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_layer_that_advances_twice_is_where_it_is_after_both(dtype: type) -> None:
    together: np.ndarray[Any, Any] = np.array([[0.1, -0.2, 0.3], [1.0, 2.0, -1.0]], dtype)
    apart = together.copy()
    for d in (0.001, 0.004):
        advance(apart[0], apart[1], flow(d, 0.02, 0.005, 0.02))
    advance(together[0], together[1], flow(0.005, 0.02, 0.005, 0.02))
    np.testing.assert_allclose(together, apart, rtol=1e-5 if dtype is np.float32 else 1e-13)
    assert together[0, 0] == pytest.approx(v_after(0.005, 0.1, 1.0, 0.02, 0.005), rel=1e-5)


@pytest.mark.parametrize(("tau_m", "tau_s"), TAUS)
def test_the_flow_within_reach_is_easily_inverted(tau_m: float, tau_s: float) -> None:
    em, es, _ = flow(reach(tau_m, tau_s), tau_m, tau_s, tau_m)
    assert min(em, es) >= math.exp(-1) * (1 - 1e-12)


def test_arrivals_come_in_order_with_their_spike_and_target() -> None:
    time, neuron = np.array([0.0, 1.0]), np.array([1, 0], np.int32)
    assert [a.tolist() for a in arrivals(time, neuron, np.zeros((0, 0)))] == [[0.0, 1.0], [0, 1]]
    assert [a.tolist() for a in arrivals(time, neuron, np.array([[0.5, 4.0]]))] == [[1.5, 4.0], [1, 0]]
    by_synapse = np.array([[0.0, 2.0], [3.0, 0.5]])  # spike 0 reaches target 1 at 0.5 and 0 at 2, spike 1 at 1 and 4
    assert [a.tolist() for a in arrivals(time, neuron, by_synapse)] == [[0.5, 1.0, 2.0, 4.0], [1, 2, 0, 3]]
