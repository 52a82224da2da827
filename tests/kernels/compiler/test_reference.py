"""The reference loop itself, against a few lines of arithmetic."""

from __future__ import annotations

import pytest
import torch

from neuro.kernels.compiler.program import compile_program
from neuro.kernels.compiler.reference import coefficients, reference_scan, slope, torch_function
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.neurons import LIF

VALUES = {"tau": 4e-3, "r": 2.0, "v_leak": 0.1, "v_threshold": 1.0, "v_reset": -0.2}


def run(x: torch.Tensor, v0: torch.Tensor, route: Route) -> tuple[torch.Tensor, torch.Tensor]:
    program = compile_program(LIF.equations, "euler", "value")
    table = coefficients(program, {k: torch.tensor(v, dtype=x.dtype) for k, v in VALUES.items()}, 1e-3)
    z, (v,), _ = reference_scan(program, [x], [v0], table, surrogate=Surrogate("triangle", 0.8, 0.5), route=route)
    return z, v


def test_against_a_written_out_loop() -> None:
    x = torch.tensor([0.4, 3.0, 0.2, 2.2], dtype=torch.float64).view(4, 1, 1)
    z, last = run(x, torch.zeros(1, 1, dtype=torch.float64), Route())
    v, spikes = 0.0, []
    for current in x.flatten().tolist():
        v = v + 0.25 * ((0.1 - v) + 2.0 * current)
        spikes.append(float(v > 1.0))
        v = -0.2 if v > 1.0 else v
    assert sum(spikes) == 2
    assert z.flatten().tolist() == spikes
    assert last.item() == pytest.approx(v, rel=1e-14)


def test_two_steps_of_gradient_by_hand() -> None:
    x = torch.tensor([0.9, 1.6], dtype=torch.float64).view(2, 1, 1).requires_grad_()
    v0 = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    z, _ = run(x, v0, Route())
    z[1].sum().backward()
    first = 0.25 * (0.1 + 1.8)
    second = first + 0.25 * ((0.1 - first) + 3.2)
    assert first < 1 < second
    into_drive = 0.5 * (1 - abs(second - 1) / 0.8)
    assert x.grad is not None
    assert v0.grad is not None
    assert x.grad.flatten().tolist() == pytest.approx([into_drive * 0.75 * 0.5, into_drive * 0.5], rel=1e-12)
    assert v0.grad.item() == pytest.approx(into_drive * 0.75 * 0.75, rel=1e-12)


def test_cut_time_blinds_the_last_step_to_the_past() -> None:
    x = torch.rand(5, 2, 3, dtype=torch.float64).requires_grad_()
    z, _ = run(x, torch.zeros(2, 3, dtype=torch.float64), Route(cut_time=True))
    z[-1].sum().backward()
    assert x.grad is not None
    assert not x.grad[:-1].any()
    assert bool(x.grad[-1].any())


def test_phi1_is_smooth_through_zero() -> None:
    from neuro.kernels.compiler.discretise import phi1
    from neuro.kernels.compiler.equations import symbol

    function = torch_function((phi1(symbol("a")),), ("a",))
    a = torch.tensor([0.0, 1e-12, -1e-6, 0.5, -3.0], dtype=torch.float64, requires_grad=True)
    (value,) = function(a)
    assert value.tolist() == pytest.approx([1.0, 1.0, 1 - 5e-7, 1.2974425414002564, 0.31673764387737866], rel=1e-12)
    (grad,) = torch.autograd.grad(value.sum(), a)
    assert grad[:2].tolist() == pytest.approx([0.5, 0.5], rel=1e-9)
    assert bool(torch.isfinite(grad).all())


def test_slope_keeps_the_type_of_its_drive() -> None:
    for family in ("boxcar", "atan"):
        assert slope(torch.zeros(3, dtype=torch.float64), Surrogate(family)).dtype == torch.float64
