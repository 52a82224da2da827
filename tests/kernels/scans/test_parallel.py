"""Sliding parallel spiking neurons: engines against the definition, gradients, pieces of a sequence."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.scans.parallel import filter_reference, sliding_psn


def given(time: int = 9, batch: int = 2, neurons: int = 13, taps: int = 4) -> dict[str, Any]:
    g = torch.Generator().manual_seed(taps)
    made = {"x": (time, batch, neurons), "weight": (taps,), "bias": (), "past": (taps - 1, batch, neurons)}
    return {n: torch.randn(s, generator=g, dtype=torch.float64) for n, s in made.items()}


@pytest.mark.parametrize(
    "sizes", [(9, 2, 13, 4), (1, 1, 1, 1), (2, 3, 63, 7), (0, 2, 5, 3), (4, 0, 3, 2), (5, 9, 1000, 2)]
)
def test_engines_agree_with_gradients(sizes: tuple[int, int, int, int]) -> None:
    seen = []
    for backend in ("numba", "reference"):
        leaves = {n: t.requires_grad_() for n, t in given(*sizes).items()}
        z, after = sliding_psn(**leaves, surrogate=Surrogate("atan", 0.7, 0.9), backend=backend)
        loss = (z * torch.linspace(-1, 1, z.numel(), dtype=z.dtype).view(z.shape)).sum() + after.pow(2).sum()
        seen.append([z, after, *torch.autograd.grad(loss, list(leaves.values()))])
    for a, b in zip(*seen, strict=True):
        assert a.shape == b.shape
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)
    if min(sizes) > 1:
        assert 0 < float(seen[0][0].detach().mean()) < 1


def test_the_filter_by_finite_differences() -> None:
    leaves = [given()[n] for n in ("x", "weight", "bias")]
    rows = leaves[0].flatten(1).requires_grad_()
    arguments = (rows, leaves[1].requires_grad_(), leaves[2].requires_grad_())
    assert torch.autograd.gradcheck(torch.ops.neuro.causal_filter, arguments)
    torch.library.opcheck(torch.ops.neuro.causal_filter.default, arguments)
    torch.library.opcheck(torch.ops.neuro.fire.default, (arguments[0], "atan", 0.5, 1.0))
    assert torch.allclose(torch.ops.neuro.causal_filter(*arguments), filter_reference(*arguments), rtol=1e-12)


def test_pieces_and_threads_change_no_bit() -> None:
    a = given(time=20, neurons=5000)
    z, after = sliding_psn(**a)
    first, past = sliding_psn(a["x"][:3], a["weight"], a["bias"], a["past"])
    second, end = sliding_psn(a["x"][3:], a["weight"], a["bias"], past)
    assert torch.equal(torch.cat([first, second]), z)
    assert torch.equal(end, after)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(sliding_psn(**a)[0], z)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_without_time_only_the_newest_input_has_a_gradient(backend: str) -> None:
    leaves = {n: t.requires_grad_() for n, t in given().items()}
    z, _ = sliding_psn(**leaves, cut_time=True, backend=backend)
    assert torch.equal(z, sliding_psn(**leaves)[0])
    grad_x, grad_weight = torch.autograd.grad(z[-1].sum(), (leaves["x"], leaves["weight"]))
    assert not grad_x[:-1].any()
    assert grad_x[-1].any()
    whole = torch.autograd.grad(sliding_psn(**leaves)[0][-1].sum(), leaves["weight"])[0]
    assert torch.allclose(grad_weight, whole, rtol=1e-12)


def test_compiles_into_one_graph() -> None:
    a = {n: t.float() for n, t in given().items()}
    compiled = torch.compile(lambda x: sliding_psn(x, a["weight"], a["bias"])[0], fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(a["x"]), sliding_psn(a["x"], a["weight"], a["bias"])[0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": torch.zeros(3, 2)}, r"x must be \[T, B, N\]"),
        ({"x": torch.zeros(3, 2, 1, dtype=torch.int32)}, "float32 or float64"),
        ({"weight": torch.zeros(0).double()}, r"weight must be \[K\] with K at least 1"),
        ({"bias": torch.zeros(1).double()}, r"bias \[\]"),
        ({"past": torch.zeros(2, 2, 13).double()}, r"past must be \[K - 1, B, N\] = \[3, 2, 13\]"),
        ({"weight": torch.zeros(4)}, "weight is torch.float32"),
        ({"backend": "nmba"}, "did you mean 'numba'"),
        ({"backend": "cuda"}, "does not run on cpu"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        sliding_psn(**(given() | change))
