"""The event operators of learnable delays are registered in full."""

from __future__ import annotations

import pytest
import torch

from neuro.kernels.delays.delayed_event import event_product
from neuro.kernels.delays.delayed_linear import delayed_reference


def given(graded: bool) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(4)
    x = (torch.rand(9, 2, 10, generator=g) < 0.4).double()
    x = x * torch.randn(x.shape, generator=g, dtype=torch.float64) if graded else x
    weight = torch.randn(10, 6, generator=g, dtype=torch.float64).t()
    return [x, weight, 3 * torch.rand(6, 10, generator=g, dtype=torch.float64)]


@pytest.mark.parametrize("graded", [False, True])
def test_operators_are_registered_in_full(graded: bool) -> None:
    x, weight, delay = given(graded)
    torch.library.opcheck(torch.ops.neuro.delay_events.default, (x,))
    events = torch.ops.neuro.delay_events(x)
    leaves = [a.requires_grad_() for a in (x, weight, delay)]
    torch.library.opcheck(torch.ops.neuro.delayed_linear.default, (leaves[0], *events, *leaves[1:], 0.8, 4))
    grad = torch.randn(6, 2, 6, dtype=torch.float64)
    arguments = (None, *events, weight.detach(), delay.detach(), 0.8, grad, 4)
    torch.library.opcheck(torch.ops.neuro.delayed_linear_grad_parameters.default, arguments)


def test_only_what_is_asked_for_is_computed() -> None:
    x, weight, delay = given(True)
    y = event_product(x, weight, delay.requires_grad_(), 0.8, 4)
    expected = delayed_reference(x, weight, delay, 0.8, 4)
    wanted = torch.autograd.grad(expected.square().sum(), delay)[0]
    assert torch.allclose(torch.autograd.grad(y.square().sum(), delay)[0], wanted)
