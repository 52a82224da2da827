"""Oscillating and graded cells against closed forms."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import neuro


def test_resonate_and_fire_solves_its_equation() -> None:
    tau, omega, r, dt = 30e-3, 90.0, 40.0, 2e-3
    cell = neuro.ResonateAndFire(1, tau=tau, omega=omega, r=r, v_threshold=9.0, dt=dt, learn=()).double()
    current = [0.7, -0.3, 1.1]
    _, _, states = cell.trace(torch.tensor(current, dtype=torch.float64).view(3, 1, 1))
    z = 0j
    for x, re, im in zip(current, states["re"].flatten(), states["im"].flatten(), strict=True):

        def flow(_: float, s: np.ndarray, x: float = x) -> list[float]:
            return [-s[0] / tau - omega * s[1] + r * x, omega * s[0] - s[1] / tau]

        end = solve_ivp(flow, (0, dt), [z.real, z.imag], rtol=1e-11, atol=1e-13).y[:, -1]
        z = complex(*end)
        assert [re.item(), im.item()] == pytest.approx([z.real, z.imag], rel=1e-5)


def test_resonate_and_fire_responds_most_at_its_frequency() -> None:
    frequencies = torch.tensor([4.0, 8.0, 10.0, 12.0, 20.0])
    cell = neuro.ResonateAndFire(5, tau=100e-3, omega=2 * math.pi * 10, v_threshold=1e9, learn=())
    time = torch.arange(1500) * cell.dt
    _, _, states = cell.trace(torch.sin(2 * math.pi * time[:, None, None] * frequencies))
    amplitude = states["im"][500:].abs().amax(0).flatten()
    assert int(amplitude.argmax()) == 2
    assert bool((amplitude[2] > 2 * amplitude[[0, 4]]).all())


def test_resonate_and_fire_fires_to_a_resonant_pair_only() -> None:
    """Two pulses one period apart add up, half a period apart they cancel."""
    cell = neuro.ResonateAndFire(1, tau=200e-3, omega=2 * math.pi * 10, r=1000.0, v_threshold=1.2, learn=())
    for gap, fires in ((100, True), (50, False)):
        x = torch.zeros(400, 1, 1)
        x[[10, 10 + gap]] = 1.0
        assert bool(cell(x)[0].any()) is fires


def test_lru_is_the_complex_recurrence() -> None:
    tau, omega = 7e-3, 400.0
    x = torch.randn(30, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, _ = neuro.LRU(1, tau=tau, omega=omega, learn=()).double()(x)
    eigenvalue = cmath.exp(complex(-1 / tau, omega) * 1e-3)
    h, expected = 0j, []
    for value in x.flatten().tolist():
        h = eigenvalue * h + math.sqrt(1 - abs(eigenvalue) ** 2) * value
        expected.append(h.real)
    assert y.flatten().tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_lru_keeps_the_variance_of_white_noise() -> None:
    generator = torch.Generator().manual_seed(1)
    _, (re, im) = neuro.LRU(20_000, tau=10e-3, learn=())(torch.randn(80, 1, 20_000, generator=generator))
    assert float((re**2 + im**2).mean()) == pytest.approx(1.0, rel=0.05)


def test_event_gate_sends_its_state_and_subtracts_the_threshold() -> None:
    cell = neuro.EventGate(1, tau=1e-3 / math.log(2), v_threshold=0.5, learn=())
    y, (c,) = cell(torch.tensor([0.8, 0.8, 0.0]).view(3, 1, 1))
    # c: 0.4; 0.6 -> event, 0.1 left; 0.05
    assert y.flatten().tolist() == pytest.approx([0.0, 0.6, 0.0])
    assert c.item() == pytest.approx(0.05)
