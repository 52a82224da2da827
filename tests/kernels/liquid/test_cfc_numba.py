"""What stands between the dense products, step by step, against torch and its derivatives."""

from __future__ import annotations

import pytest
import torch

from neuro.kernels.liquid.cfc_numba import backward_steps, forward_steps

DOUBLE = torch.float64


def test_hidden_layer_and_its_slope() -> None:
    a = torch.linspace(-9, 9, 2 * 3 * 4, dtype=DOUBLE).reshape(2, 3, 4).requires_grad_()
    z = 1.7159 * torch.tanh(0.666 * a)
    made, dz = a.detach().clone(), torch.ones_like(z)
    empty = torch.zeros(0, 1, dtype=DOUBLE)
    heads = torch.zeros(2, 3, 4, dtype=DOUBLE)
    elapsed, out = torch.ones(2, 3, dtype=DOUBLE), torch.zeros(2, 3, 1, dtype=DOUBLE)
    activate, _ = forward_steps(made, heads, elapsed, empty, out, 0)
    activate(1)
    assert torch.allclose(made[1], z[1].detach(), rtol=1e-14, atol=1e-15)
    assert torch.equal(made[0], a[0].detach())
    activate(0)
    _, through_hidden = backward_steps(heads, elapsed, empty, out, heads, empty, made, dz, 0)
    through_hidden(0)
    (slope,) = torch.autograd.grad(z.sum(), a)
    assert torch.allclose(dz[0], slope[0], rtol=1e-9, atol=1e-12)
    assert bool((dz[1] == 1).all())


@pytest.mark.parametrize("mode", [0, 1])
def test_gates_of_one_step_leave_the_others_alone(mode: int) -> None:
    g = torch.Generator().manual_seed(0)
    heads = torch.randn(2, 3, 8, generator=g, dtype=DOUBLE)
    before = heads.clone()
    elapsed, out = torch.rand(2, 3, generator=g, dtype=DOUBLE), torch.zeros(2, 3, 2, dtype=DOUBLE)
    _, combine = forward_steps(
        torch.zeros(2, 3, 1, dtype=DOUBLE), heads, elapsed, torch.zeros(0, 2).double(), out, mode
    )
    combine(1, 0)  # row 1 of the heads, time 0
    f1, f2, a, b = before[1].chunk(4, 1)
    s = torch.sigmoid(a * elapsed[0].unsqueeze(1) + b)
    wanted = torch.tanh(f1) * (1 - s if mode == 0 else 1) + s * torch.tanh(f2)
    assert torch.allclose(out[0], wanted, rtol=1e-13, atol=1e-14)
    assert torch.equal(heads[0], before[0])
    assert not bool(out[1].any())
