"""Nonlinear cells against what is known of their equations, and against SciPy's solver."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import neuro
from neuro.neurons.nonlinear import EXPONENT_BOUND


def spike_times(cell: neuro.Cell, current: float, seconds: float) -> np.ndarray:
    """Times [s] of the spikes that a constant current causes."""
    steps = round(seconds / cell.dt)
    x = torch.full((steps, 1, 1), current, dtype=torch.float64)
    z, _ = cell.double()(x)
    times: np.ndarray = (np.flatnonzero(z.flatten().numpy()) + 1) * cell.dt
    return times


def test_qif_fires_with_the_period_of_the_normal_form() -> None:
    # tau dv/dt = v^2 + I from -30 to 30: period = 2 tau atan(30 / sqrt I) / sqrt I.
    cell = neuro.QIF(1, tau=10e-3, v_critical=0.0, v_threshold=30.0, v_reset=-30.0, dt=2e-6, learn=())
    times = spike_times(cell, 4.0, 0.06)
    assert np.diff(times) == pytest.approx(2 * 10e-3 * math.atan(15.0) / 2, rel=3e-3)


@pytest.mark.parametrize(("factor", "fires"), [(0.98, False), (1.02, True)])
def test_eif_rheobase(factor: float, fires: bool) -> None:
    cell = neuro.EIF(1, tau=10e-3, v_leak=-0.1, v_rheobase=0.7, delta=0.05, dt=1e-4, learn=())
    assert (spike_times(cell, (0.7 + 0.1 - 0.05) * factor, 1.0).size > 0) is fires


@pytest.mark.parametrize(("factor", "fires"), [(0.99, False), (1.01, True)])
def test_adex_rheobase_under_a_slow_ramp(factor: float, fires: bool) -> None:
    # Saddle-node at (g_L + a)(V_T - E_L - delta + delta ln(1 + a/g_L)): Touboul & Brette 2008, a/g_L < tau_m/tau_w.
    cell = neuro.AdEx(1, a=1e-9, tau_w=30e-3, dt=1e-4, learn=())
    rheobase = 31e-9 * (20.2e-3 - 2e-3 + 2e-3 * math.log(1 + 1 / 30))
    x = torch.linspace(0.9, factor, 20_000, dtype=torch.float64).view(-1, 1, 1) * rheobase
    settled = torch.linspace(0, 0.9, 5_000, dtype=torch.float64).view(-1, 1, 1) * rheobase
    z, _ = cell.double()(torch.cat([settled, x, x[-1:].expand(10_000, 1, 1)]))
    assert bool(z.any()) is fires


def test_adex_follows_its_differential_equation() -> None:
    cell = neuro.AdEx(1, dt=1e-6, learn=()).double()
    current, seconds = 0.6e-9, 8e-3
    _, _, states = cell.trace(torch.full((round(seconds / cell.dt), 1, 1), current, dtype=torch.float64))

    def flow(_: float, s: np.ndarray) -> list[float]:
        v, w = s
        spike = 30e-9 * 2e-3 * math.exp((v + 50.4e-3) / 2e-3)
        return [(30e-9 * (-70.6e-3 - v) + spike + current - w) / 281e-12, (4e-9 * (v + 70.6e-3) - w) / 144e-3]

    exact = solve_ivp(flow, (0, seconds), [-70.6e-3, 0.0], rtol=1e-10, atol=1e-16).y[:, -1]
    assert [states["v"][-1].item(), states["w"][-1].item()] == pytest.approx(list(exact), rel=1e-3)
    assert exact[0] > -62e-3


def test_adex_adapts() -> None:
    gaps = np.diff(spike_times(neuro.AdEx(1, dt=1e-5, learn=()), 1e-9, 0.5))
    assert gaps.size > 5
    assert gaps[-1] > 2 * gaps[0]


def test_no_step_overflows_even_without_reset() -> None:
    for kind in (neuro.EIF, neuro.AdEx, neuro.QIF, neuro.Izhikevich):
        cell = kind(4, reset="none")
        z, state = cell(torch.full((2000, 1, 4), 1e-9 if kind is neuro.AdEx else 50.0))
        assert float(z.detach().sum()) > 0
        assert all(bool(torch.isfinite(s).all()) for s in state)
    assert math.isfinite(float(torch.tensor(float(EXPONENT_BOUND)).exp()))


def test_izhikevich_regular_spiking() -> None:
    """Under 10 mV/ms: a first short interval, then regular firing of some 20 Hz, as in the paper's figure."""
    times = spike_times(neuro.Izhikevich(1, dt=1e-4), 10.0, 1.0)
    gaps = np.diff(times)
    assert 15 <= times.size <= 35
    assert gaps[0] < 0.75 * gaps[-1]
    assert gaps[-3:] == pytest.approx(gaps[-1], rel=0.02)
    assert spike_times(neuro.Izhikevich(1, dt=1e-4), 0.0, 0.5).size == 0


def test_izhikevich_fast_spiking_is_faster() -> None:
    regular = spike_times(neuro.Izhikevich(1, dt=1e-4), 10.0, 0.5).size
    assert spike_times(neuro.Izhikevich(1, a=0.1, d=2.0, dt=1e-4), 10.0, 0.5).size > 2 * regular


def test_izhikevich_follows_its_differential_equation() -> None:
    cell = neuro.Izhikevich(1, dt=1e-6).double()
    _, _, states = cell.trace(torch.full((3000, 1, 1), 10.0, dtype=torch.float64))

    def flow(_: float, s: np.ndarray) -> list[float]:
        v, w = s
        return [1e3 * (0.04 * v * v + 5 * v + 140 - w + 10.0), 1e3 * 0.02 * (0.2 * v - w)]

    exact = solve_ivp(flow, (0, 3e-3), [-70.0, -14.0], rtol=1e-10, atol=1e-12).y[:, -1]
    assert [states["v"][-1].item(), states["w"][-1].item()] == pytest.approx(list(exact), rel=3e-3)
