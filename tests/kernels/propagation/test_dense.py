"""The product by oneDNN equals torch's, and its backward keeps bits for spikes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from neuro.kernels.propagation import dense
from neuro.kernels.propagation.dense import dense_linear, product

LARGE = (300, 150, 100)  # rows, inputs, outputs: above the size from which oneDNN is called


def spikes(rows: int, inputs: int, seed: int = 0) -> torch.Tensor:
    return (torch.rand(rows, inputs, generator=torch.Generator().manual_seed(seed)) < 0.3).float()


@pytest.mark.parametrize("sizes", [LARGE, (20000, 256, 1), (1, 3000, 1500), (3, 4, 5), (0, 3, 2)])
@pytest.mark.parametrize("column_major", [False, True])
def test_product(sizes: tuple[int, int, int], column_major: bool) -> None:
    rows, inputs, outputs = sizes
    x = torch.randn(rows, inputs)
    weight = torch.randn(inputs, outputs).t() if column_major else torch.randn(outputs, inputs)
    bias = torch.randn(outputs)
    wanted = F.linear(x.double(), weight.double(), bias.double())
    assert torch.allclose(product(x, weight, bias).double(), wanted, atol=1e-3)
    assert torch.allclose(product(x.double(), weight.double()), wanted - bias, atol=1e-10)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("sizes", [LARGE, (2000, 30, 200), (5, 7, 3)])
def test_gradients(sizes: tuple[int, int, int], known: bool) -> None:
    rows, inputs, outputs = sizes
    x = spikes(rows, inputs).requires_grad_()
    weight = torch.randn(inputs, outputs).t().requires_grad_()
    bias = torch.randn(outputs, requires_grad=True)
    made = dense_linear(x.view(1, rows, inputs), weight, bias, spikes=known)
    assert made.shape == (1, rows, outputs)
    cotangent = torch.randn_like(made)
    wanted = torch.autograd.grad(F.linear(x.unsqueeze(0), weight, bias), (x, weight, bias), cotangent)
    for got, want in zip(torch.autograd.grad(made, (x, weight, bias), cotangent), wanted, strict=True):
        assert torch.allclose(got, want, atol=1e-5 * float(want.abs().max()))


def test_backward_keeps_spikes_as_bits() -> None:
    x, weight = spikes(600, 256), torch.randn(200, 256, requires_grad=True)
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        dense_linear(x, weight, spikes=True)
    assert sum(t.numel() * t.element_size() for t in kept if t.data_ptr() != weight.data_ptr()) == x.numel() // 8


def test_number_of_threads_changes_no_bit() -> None:
    x, weight = torch.randn(700, 300), torch.randn(250, 300)
    before = torch.get_num_threads()
    try:
        made = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            made.append((product(x, weight), dense.correlation(x, x), dense.correlation(x[:, :20], x)))
    finally:
        torch.set_num_threads(before)
    for other in made[1:]:
        assert all(torch.equal(a, b) for a, b in zip(made[0], other, strict=True))


@pytest.mark.parametrize("as_bits", [False, True])
def test_registered_op_passes_opcheck(as_bits: bool) -> None:
    weight, bias = torch.randn(9, 70, requires_grad=True), torch.randn(9, requires_grad=True)
    arguments = (spikes(4, 70).requires_grad_(), weight, bias, as_bits)
    torch.library.opcheck(torch.ops.neuro.dense_linear.default, arguments)


def test_compiles_into_one_graph() -> None:
    x, weight = torch.randn(LARGE[0], LARGE[1]), torch.randn(LARGE[2], LARGE[1])
    compiled = torch.compile(dense_linear, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x, weight), F.linear(x, weight), atol=1e-4)
