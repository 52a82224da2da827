"""The dense operators of learnable delays are registered in full."""

from __future__ import annotations

import torch

from neuro.kernels.delays.delayed_dense import dense_product, input_gradient
from neuro.kernels.delays.delayed_linear import delayed_reference


def test_operators_are_registered_in_full() -> None:
    g = torch.Generator().manual_seed(4)
    x = torch.randn(9, 2, 10, generator=g, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(10, 6, generator=g, dtype=torch.float64).t().requires_grad_()
    delay = (3 * torch.rand(6, 10, generator=g, dtype=torch.float64)).requires_grad_()
    torch.library.opcheck(torch.ops.neuro.delayed_linear_dense.default, (x, weight, delay, 0.8, 4))
    grad = torch.randn(6, 2, 6, generator=g, dtype=torch.float64)
    fixed = (weight.detach(), delay.detach(), 0.8)
    torch.library.opcheck(torch.ops.neuro.delayed_linear_grad_input.default, (grad, *fixed, 4))
    parameters = torch.ops.neuro.delayed_linear_dense_grad_parameters.default
    torch.library.opcheck(parameters, (x.detach(), *fixed, grad, 4))


def test_large_products_equal_the_reference() -> None:
    """Sizes at which another library multiplies."""
    g = torch.Generator().manual_seed(5)
    x = torch.randn(104, 8, 100, generator=g)
    weight, delay = torch.randn(100, 100, generator=g), 4 * torch.rand(100, 100, generator=g)
    made = dense_product(x, weight, delay, 1.1, 5)
    assert torch.allclose(made, delayed_reference(x, weight, delay, 1.1, 5), rtol=1e-4, atol=1e-4)
    x.requires_grad_()
    (wanted,) = torch.autograd.grad(delayed_reference(x, weight, delay, 1.1, 5), x, made)
    assert torch.allclose(input_gradient(made, weight, delay, 1.1, 5), wanted, rtol=1e-4, atol=1e-3)
