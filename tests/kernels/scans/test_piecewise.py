"""Piecewise-linear recurrences: the loops against the definition, gradients, ugly sizes, bad arguments."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.scans.piecewise import PiecewiseMap, piecewise_reference, piecewise_scan

Sizes = tuple[int, int, int, int]


def given(sizes: Sizes = (7, 5, 3, 11), dtype: torch.dtype = torch.float64) -> list[Tensor]:
    time, batch, size, hidden = sizes
    g = torch.Generator().manual_seed(hidden)
    shapes = [(time, batch, size), (batch, size), (size,), (size, hidden), (hidden, size), (size,), (hidden,)]
    made = [torch.randn(s, generator=g, dtype=dtype) for s in shapes]
    made[3] /= hidden**0.5
    return made


def mapped(parts: list[Tensor], clipped: bool = True) -> PiecewiseMap:
    a, outer, inner, h1, h2 = parts
    return PiecewiseMap(a, outer, inner, h1, h2, clipped)


def run(leaves: list[Tensor], alpha: float, clipped: bool, backend: str) -> Tensor:
    x, before, *rest = leaves
    return piecewise_scan(x, before, mapped(rest, clipped), alpha=alpha, backend=backend)


@pytest.mark.parametrize("clipped", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    "sizes", [(7, 5, 3, 11), (1, 1, 1, 1), (3, 63, 2, 5), (0, 2, 3, 4), (4, 0, 3, 4), (2, 16, 1, 100)]
)
def test_loops_are_the_definition_with_gradients(sizes: Sizes, alpha: float, clipped: bool) -> None:
    seen = []
    for backend in ("numba", "reference"):
        leaves = [t.requires_grad_() for t in given(sizes)]
        z = run(leaves, alpha, clipped, backend)
        loss = (z * torch.linspace(-1, 1, z.numel(), dtype=z.dtype).view(z.shape)).sum()
        grads = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True) if z.requires_grad else ()
        seen.append([z, *grads])
    for a, b in zip(*seen, strict=False):
        assert a.shape == b.shape
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-11)


def test_float32_and_rows_that_are_not_contiguous() -> None:
    x, *rest = given((9, 40, 3, 11), torch.float32)
    turned = x.transpose(0, 1).contiguous().transpose(0, 1)
    assert not turned.is_contiguous()
    step = mapped(rest[1:])
    assert torch.equal(piecewise_scan(turned, rest[0], step), piecewise_scan(x, rest[0], step))
    assert torch.allclose(piecewise_scan(x, rest[0], step), piecewise_reference(x, rest[0], step, 0.0), atol=1e-4)


def test_the_operator_by_its_own_checks() -> None:
    leaves: Any = [t.requires_grad_() for t in given((3, 2, 2, 4))]
    arguments: Any = (*leaves, 0.25, True)
    assert torch.autograd.gradcheck(torch.ops.neuro.piecewise, arguments)
    torch.library.opcheck(torch.ops.neuro.piecewise.default, (*leaves, 0.25, False))


def test_threads_change_no_bit_and_it_compiles_into_one_graph() -> None:
    x, before, *rest = given((6, 50, 3, 11), torch.float32)
    step = mapped(rest)
    z, threads = piecewise_scan(x, before, step, alpha=0.2), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(piecewise_scan(x, before, step, alpha=0.2), z)
    finally:
        torch.set_num_threads(threads)
    compiled = torch.compile(
        lambda given: piecewise_scan(given, before, step, alpha=0.2), fullgraph=True, backend="aot_eager"
    )
    assert torch.equal(compiled(x), z)


@pytest.mark.parametrize("clipped", [True, False])
def test_the_jacobian_is_that_of_autograd(clipped: bool) -> None:
    _, before, *rest = given()
    step = mapped(rest, clipped)
    made = step.jacobian(before)
    for row, z in zip(made, before, strict=True):
        assert torch.allclose(row, torch.autograd.functional.jacobian(step, z), atol=1e-12)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"alpha": 1.5}, "alpha must be from 0 to 1"),
        ({"backend": "nmba"}, "unknown backend"),
        ({"x": torch.zeros(2, 3)}, r"x must be \[T, B, M\]"),
        ({"before": torch.zeros(5, 4).double()}, r"before must be \[5, 3\]"),
        ({"x": torch.zeros(7, 5, 3)}, "before must be"),
        ({"step": mapped([*given()[2:6], torch.zeros(4).double()])}, "outer must be"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], says: str) -> None:
    x, before, *rest = given()
    arguments: dict[str, Any] = {"x": x, "before": before, "step": mapped(rest)} | change
    with pytest.raises(InputError, match=says):
        piecewise_scan(**arguments)
