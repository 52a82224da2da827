"""Where S4D begins, how it is discretised, and that nothing learned makes it unstable."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import neuro
from neuro.errors import InputError


def test_frequencies_begin_where_the_paper_puts_them() -> None:
    n = torch.arange(4.0)
    assert torch.allclose(neuro.S4D(2, modes=4, initial="lin").frequency, math.pi * n.expand(2, 4))
    assert torch.allclose(
        neuro.S4D(2, modes=4, initial="inv").frequency, (8 / math.pi * (8 / (2 * n + 1) - 1)).expand(2, 4)
    )
    assert torch.allclose(neuro.S4D(2).log_decay.exp(), torch.tensor(0.5))
    # HiPPO-LegS is its normal part, of real part -1/2, less half of an outer product.
    size = 6
    root = torch.sqrt(2 * torch.arange(size, dtype=torch.float64) + 1)
    hippo = -torch.tril(root[:, None] * root, -1) - torch.diag(torch.arange(size, dtype=torch.float64) + 1)
    spectrum = torch.linalg.eigvals(hippo + root[:, None] * root / 2)
    assert torch.allclose(spectrum.real, torch.tensor(-0.5, dtype=torch.float64))
    wanted = spectrum.imag[spectrum.imag > 0].sort().values
    assert torch.allclose(neuro.S4D(1, modes=3).frequency[0].double(), wanted, rtol=1e-6)


def test_steps_begin_within_their_range_and_scale_with_dt() -> None:
    torch.manual_seed(0)
    layer = neuro.S4D(1000, modes=1, steps=(1e-2, 0.5), dt=2e-3)
    step = torch.exp(layer.log_rate.detach()) * 2e-3
    assert 0.99e-2 <= float(step.min()) < 1.2e-2
    assert 0.45 < float(step.max()) <= 0.501
    assert abs(float(step.log().mean()) - 0.5 * (math.log(1e-2) + math.log(0.5))) < 0.1


@pytest.mark.parametrize(("discretisation", "order"), [("zoh", 1e-11), ("bilinear", 3e-4)])
def test_a_constant_input_follows_the_differential_equation(discretisation: str, order: float) -> None:
    torch.manual_seed(0)
    layer = neuro.S4D(3, modes=2, initial="lin", discretisation=discretisation, steps=(0.01, 0.02)).double()
    y, _ = layer(torch.ones(80, 1, 3, dtype=torch.float64))
    pole = torch.complex(-layer.log_decay.exp(), layer.frequency)
    t = torch.exp(layer.log_rate)[:, None] * layer.dt * 80
    exact = 2 * (torch.complex(layer.c_re, layer.c_im) * torch.expm1(pole * t) / pole).sum(1).real + layer.skip
    assert torch.allclose(y[-1, 0], exact, rtol=order, atol=order)


def test_the_state_written_out_and_traced() -> None:
    torch.manual_seed(0)
    layer = neuro.S4D(3, modes=2, steps=(0.1, 0.5)).double()
    x = torch.randn(90, 2, 3, dtype=torch.float64)
    y, end, seen = layer.trace(x, layer(x)[1])
    assert torch.allclose(y, layer(torch.cat([x, x]))[0][90:], rtol=1e-11, atol=1e-12)
    assert torch.allclose(seen["re"][-1], end[0], rtol=1e-11, atol=1e-12)
    assert torch.allclose(seen["im"][-1], end[1], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("discretisation", ["zoh", "bilinear"])
def test_it_stays_stable_whatever_is_learned(discretisation: str) -> None:
    layer = neuro.S4D(4, modes=8, discretisation=discretisation)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    assert float(layer.eigenvalues().abs().max()) <= 1
    assert bool(torch.isfinite(layer(torch.ones(3000, 1, 4))[0]).all())


def test_it_learns_a_delay_longer_than_a_step_decides() -> None:
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.Linear(1, 16), neuro.S4D(16, modes=8, steps=(0.02, 0.2)), neuro.Linear(16, 1))
    x = torch.randn(120, 16, 1, generator=torch.Generator().manual_seed(0))
    wanted = torch.cat([torch.zeros(10, 16, 1), x[:-10]])
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    losses = []
    for _ in range(60):
        loss = (net(x)[0] - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5  # 0.92 is the variance to explain


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 0}, "S4D size must be an integer from 1 on"),
        ({"modes": 0}, "S4D modes must be an integer from 1 on"),
        ({"dt": float("nan")}, "S4D dt must be a finite time above 0 s"),
        ({"steps": (0.1, 0.01)}, "S4D steps must be two numbers above 0, the least first"),
        ({"initial": "leg"}, "unknown S4D initial 'leg'; did you mean 'legs'"),
        ({"discretisation": "euler"}, "unknown S4D discretisation 'euler'"),
        ({"mode": "fft"}, "unknown S4D mode 'fft'"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        neuro.S4D(**({"size": 3} | options))
