"""WKV: engines against the definition and the quotient of sums, gradients, pieces of a sequence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.scans.wkv import NOTHING, wkv


def given(time: int = 9, batch: int = 2, channels: int = 13) -> dict[str, Any]:
    g = torch.Generator().manual_seed(4)
    made = {"k": (time, batch, channels), "v": (time, batch, channels), "w": (channels,), "u": (channels,)}
    drawn = {n: torch.randn(s, generator=g, dtype=torch.float64) for n, s in made.items()}
    drawn["w"] = -drawn["w"].exp()
    return drawn


def quotient(k: Tensor, v: Tensor, w: Tensor, u: Tensor) -> Tensor:
    """The two sums of the paper as they stand."""
    out = []
    for t in range(k.shape[0]):
        past = torch.arange(t, dtype=k.dtype).view(-1, 1, 1)
        weights = torch.cat([((t - 1 - past) * w + k[:t]).exp(), (u + k[t : t + 1]).exp()])
        out.append((weights * v[: t + 1]).sum(0) / weights.sum(0))
    return torch.stack(out)


@pytest.mark.parametrize("sizes", [(9, 2, 13), (1, 1, 1), (2, 3, 63), (0, 2, 5), (4, 0, 3), (5, 9, 1000)])
def test_engines_agree_at_ugly_sizes(sizes: tuple[int, int, int]) -> None:
    shape = sizes[1:]
    start = (torch.linspace(-1, 1, sizes[1] * sizes[2], dtype=torch.float64).view(shape), torch.full(shape, 0.3))
    seen = []
    for backend in ("numba", "reference"):
        leaves = {n: t.requires_grad_() for n, t in given(*sizes).items()}
        state = tuple(s.double().clone().requires_grad_() for s in start)
        y, (mean, weight) = wkv(**leaves, state=(state[0], state[1]), backend=backend)
        ramp = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
        loss = (y * ramp).sum() + (mean * weight).sum()
        grads = torch.autograd.grad(loss, [*leaves.values(), *state], allow_unused=True, materialize_grads=True)
        seen.append([y, mean, weight, *grads])
    for a, b in zip(*seen, strict=True):
        assert a.shape == b.shape
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-10)


def test_it_is_the_quotient_of_the_paper() -> None:
    leaves = {n: t.requires_grad_() for n, t in given(7).items()}
    y, _ = wkv(**leaves)
    wanted = quotient(**leaves)
    assert torch.allclose(y, wanted, rtol=1e-10, atol=1e-12)
    upon = torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=y.dtype)
    pairs = [torch.autograd.grad(made, list(leaves.values()), upon) for made in (y, wanted)]
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-10) for a, b in zip(*pairs, strict=True))


def test_by_finite_differences() -> None:
    a = given(4, 2, 3)
    state = torch.zeros(2, 3).double() + 0.1, torch.full((2, 3), -0.4).double()
    leaves = [t.requires_grad_() for t in (*a.values(), *state)]

    def flattened(*given: Any) -> tuple[Tensor, ...]:
        k, v, w, u, *state = given
        y, after = wkv(k, v, w, u, (state[0], state[1]))
        return (y, *after)

    assert torch.autograd.gradcheck(flattened, leaves)
    flat = [t.detach().flatten(1).requires_grad_() for t in leaves[:2]]
    rates = [t.detach().repeat(2).requires_grad_() for t in leaves[2:4]]
    arguments = (*flat, *rates, *(t.detach().flatten().requires_grad_() for t in state), False)
    torch.library.opcheck(torch.ops.neuro.wkv.default, arguments)


def test_keys_of_any_size_overflow_nothing() -> None:
    a = {n: t.float() for n, t in given(50, 2, 5).items()}
    for size in (1e4, -1e4):
        k = (a["k"] * 10 + size).requires_grad_()
        y, state = wkv(k, a["v"], a["w"], a["u"])
        (grad,) = torch.autograd.grad(y.sum(), k)
        assert all(bool(t.isfinite().all()) for t in (y, grad, *state))
        exact, _ = wkv((k - size).detach(), a["v"], a["w"], a["u"])
        assert torch.allclose(y, exact, atol=0.1)  # a step of float32 at 10,000 is 0.001, a few e-foldings of it count
    assert float(wkv(a["k"], a["v"], a["w"], a["u"])[0].detach().abs().amax()) <= float(a["v"].abs().amax())


def test_pieces_and_threads_change_no_bit() -> None:
    a = given(20, 2, 5000)
    y, end = wkv(**a)
    cut = {n: (t[:3], t[3:]) if n in "kv" else (t, t) for n, t in a.items()}
    first, state = wkv(**{n: t[0] for n, t in cut.items()})
    second, last = wkv(**{n: t[1] for n, t in cut.items()}, state=state)
    assert torch.equal(torch.cat([first, second]), y)
    assert torch.equal(torch.stack(last), torch.stack(end))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(wkv(**a)[0], y)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_without_time_only_the_step_itself_has_a_gradient(backend: str) -> None:
    leaves = {n: t.requires_grad_() for n, t in given().items()}
    y, _ = wkv(**leaves, cut_time=True, backend=backend)
    assert torch.allclose(y, wkv(**leaves)[0], rtol=1e-12)
    grad_k, grad_v, grad_u = torch.autograd.grad(y[-1].sum(), [leaves[n] for n in "kvu"], retain_graph=True)
    assert not grad_k[:-1].any()
    assert not grad_v[:-1].any()
    whole = torch.autograd.grad(wkv(**leaves)[0][-1].sum(), [leaves[n] for n in "kvu"])
    assert torch.allclose(grad_k[-1], whole[0][-1], rtol=1e-10)
    assert torch.allclose(grad_v[-1], whole[1][-1], rtol=1e-10)
    assert torch.allclose(grad_u, whole[2], rtol=1e-10)


def test_what_comes_later_changes_nothing_before() -> None:
    a = given()
    y, _ = wkv(**a)
    a["k"][5:] += 3
    a["v"][5:] -= 1
    assert torch.equal(wkv(**a)[0][:5], y[:5])
    assert NOTHING < -1e37


def test_compiles_into_one_graph() -> None:
    a = {n: t.float() for n, t in given().items()}
    compiled = torch.compile(lambda k: wkv(k, a["v"], a["w"], a["u"])[0], fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(a["k"]), wkv(**a)[0])
    turned = a["k"].transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(wkv(turned, a["v"], a["w"], a["u"])[0], wkv(**a)[0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"k": torch.zeros(3, 2)}, r"k must be \[T, B, C\]"),
        ({"k": torch.zeros(9, 2, 13, dtype=torch.int32)}, "float32 or float64"),
        ({"v": torch.zeros(9, 2, 12).double()}, r"v must be \[9, 2, 13\] where k is"),
        ({"w": torch.zeros(1).double()}, r"w must be \[13\]"),
        ({"u": torch.zeros(13)}, "u is torch.float32"),
        ({"state": (torch.zeros(2, 13).double(), torch.zeros(2).double())}, r"weight must be \[2, 13\]"),
        ({"backend": "nmba"}, "did you mean 'numba'"),
        ({"backend": "cuda"}, "does not run on cpu"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        wkv(**(given() | change))
