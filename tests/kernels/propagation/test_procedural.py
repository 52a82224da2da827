"""Connections made anew equal the stored matrix of the same seed, and their definition in plain integers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.propagation.procedural import Procedural, procedural_product, reference_row
from neuro.kernels.propagation.propagate import propagate

CASES = [
    Procedural(1, 1, seed=0, number=1),
    Procedural(63, 100, seed=3, number=7, a=0.3),
    Procedural(100, 1000, seed=2**63 - 1, probability=0.1, a=-2.0),
    Procedural(30, 1000, seed=5, probability=0.002, law="uniform", a=-1.0, b=3.0),
    Procedural(50, 70, seed=6, probability=1.0, law="normal", a=0.5, b=0.1),
    Procedural(50, 70, seed=7, probability=0.0),
    Procedural(40, 64, seed=8, number=100, law="normal", a=0.0, b=2.0),
    Procedural(0, 5, seed=9, number=3),
    Procedural(5, 5, seed=9, number=0, law="uniform", b=1.0),
]
each = pytest.mark.parametrize("connections", CASES, ids=lambda c: f"{c.pre}x{c.post}-{c.law}")


@each
def test_stored_matrix_equals_the_definition(connections: Procedural) -> None:
    stored, weight = connections.csr(torch.float64)
    made = [pair for i in range(connections.pre) for pair in reference_row(connections, i)]
    assert stored.indices.tolist() == [j for j, _ in made]
    expected = torch.tensor([w for _, w in made], dtype=torch.float64)
    assert torch.allclose(weight.expand(stored.synapses), expected, rtol=1e-14, atol=1e-15)


@each
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_product_equals_the_stored_matrix(connections: Procedural, density: float, dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(1)
    stored, weight = connections.csr(dtype)
    x = (torch.rand(2, 3, connections.pre, generator=g) < density).to(dtype).requires_grad_()
    expected = propagate(x, stored, weight)[0]
    actual = procedural_product(x, connections)
    assert torch.equal(actual, expected)
    grad = torch.randn(expected.shape, generator=g).to(dtype)
    wanted = torch.autograd.grad(expected, x, grad)[0]
    assert torch.equal(torch.autograd.grad(actual, x, grad)[0], wanted)
    assert torch.equal(procedural_product(grad, connections, transposed=True), wanted)


def test_graded_strided_and_wide_input() -> None:
    connections = Procedural(30, 40, seed=2, probability=0.3, law="normal", a=0.0, b=1.0)
    stored, weight = connections.csr(torch.float64)
    matrix = stored.dense(weight)
    x = torch.randn(30, 500, dtype=torch.float64).t()
    assert torch.allclose(procedural_product(x, connections), x @ matrix, rtol=1e-12, atol=1e-12)
    assert procedural_product(x[:0], connections).shape == (0, 40)
    y = torch.randn(40, dtype=torch.float64, requires_grad=True)
    back = procedural_product(y, connections, transposed=True)
    assert torch.allclose(back, matrix @ y, rtol=1e-12, atol=1e-12)
    cotangent = torch.randn_like(back)
    assert torch.allclose(torch.autograd.grad(back, y, cotangent)[0], cotangent @ matrix, rtol=1e-12, atol=1e-12)


def test_a_gain_learns() -> None:
    connections = Procedural(30, 40, seed=2, probability=0.3)
    x, gain = torch.ones(2, 30, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda g: g * procedural_product(x, connections), gain)


def test_threads_change_no_bit() -> None:
    connections = Procedural(300, 400, seed=2, probability=0.1, law="uniform", b=1.0)
    x = (torch.rand(200, 300) < 0.2).float()

    def run() -> list[torch.Tensor]:
        y = procedural_product(x, connections)
        return [y, procedural_product(y, connections, transposed=True), connections.csr()[1]]

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = run()
        torch.set_num_threads(4)
        four = run()
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(one, four, strict=True))


@pytest.mark.parametrize("seed", [0, 1])
def test_statistics_are_those_of_the_law(seed: int) -> None:
    chance, _ = Procedural(400, 1000, seed=seed, probability=0.05).csr()
    columns = torch.bincount(chance.indices, minlength=1000).double()
    assert abs(chance.synapses - 20_000) < 5 * 20_000**0.5
    assert abs(float(columns.var()) - 19) < 5 * 19 * (2 / 1000) ** 0.5
    assert (chance.indptr.diff().double() - 50).abs().max() < 5 * 50**0.5
    fixed, weight = Procedural(400, 1000, seed=seed, number=500, law="normal", a=3.0, b=2.0).csr(torch.float64)
    expected = fixed.synapses / 1000
    chi = float(((torch.bincount(fixed.indices, minlength=1000) - expected) ** 2 / expected).sum())
    assert abs(chi - 999) < 5 * (2 * 999) ** 0.5
    z = (weight - 3.0) / 2.0
    assert abs(float(z.mean())) < 5 / len(z) ** 0.5
    assert abs(float(z.var()) - 1) < 5 * (2 / len(z)) ** 0.5
    assert abs(float((z**4).mean()) - 3) < 5 * (96 / len(z)) ** 0.5
    pairs = torch.stack([weight[:-1], weight[1:]])
    assert abs(float(torch.corrcoef(pairs)[0, 1])) < 5 / len(z) ** 0.5
    _, uniform = Procedural(400, 1000, seed=seed, number=100, law="uniform", a=-1.0, b=1.0).csr(torch.float64)
    assert -1 <= float(uniform.min()) < -0.999
    assert 0.999 < float(uniform.max()) < 1


def test_another_seed_is_another_matrix() -> None:
    def indices(seed: int) -> list[int]:
        drawn: list[int] = Procedural(5, 1000, seed=seed, number=10).csr()[0].indices.tolist()
        return drawn

    assert indices(1) == indices(1)
    assert indices(1) != indices(2)
    assert len(set(indices(1))) > 40


def test_operator_is_registered_in_full() -> None:
    x = torch.rand(3, 10, requires_grad=True)
    for number, probability in ((3, None), (None, 0.3)):
        arguments = (x, False, 10, 6, 1, number, probability, "uniform", 0.0, 1.0)
        torch.library.opcheck(torch.ops.neuro.procedural_product.default, arguments)


Make = Callable[[], object]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Procedural(2, 3, seed=0), "either number or probability"),
        (lambda: Procedural(2, 3, seed=0, number=1, probability=0.5), "either number or probability"),
        (lambda: Procedural(2, 3, seed=-1, number=1), "seed must be in"),
        (lambda: Procedural(2, 3, seed=2**63, number=1), "seed must be in"),
        (lambda: Procedural(2, 0, seed=0, number=1), "pre and post"),
        (lambda: Procedural(2, 3, seed=0, number=-1), "number must be in"),
        (lambda: Procedural(2, 3, seed=0, probability=float("nan")), "probability must be in 0..1, got nan"),
        (lambda: Procedural(2, 3, seed=0, probability=1.5), "probability must be in 0..1, got 1.5"),
        (lambda: Procedural(2, 3, seed=0, number=1, a=float("inf")), "a and b must be finite"),
        (lambda: Procedural(2, 3, seed=0, number=1, law="normal", b=-1.0), "must not be negative"),
        (lambda: Procedural(2, 3, seed=0, number=1, law="normel"), "did you mean 'normal'"),
        (lambda: procedural_product(torch.ones(3), Procedural(2, 3, seed=0, number=1)), "x must end in 2"),
        (lambda: procedural_product(torch.ones(2).int(), Procedural(2, 3, seed=0, number=1)), "float32 or float64"),
    ],
)
def test_bad_input_is_named(make: Make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
