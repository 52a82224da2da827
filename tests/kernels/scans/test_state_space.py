"""Diagonal state spaces: recurrence, convolution and a plain loop are one map, with gradients and carried states."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.compiler.route import Route
from neuro.kernels.scans.state_space import state_space


def given(time: int = 70, batch: int = 2, channels: int = 3, modes: int = 4) -> dict[str, Any]:
    g = torch.Generator().manual_seed(time)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    decay, turn = 0.3 * torch.rand(channels, modes, generator=g, dtype=torch.float64), draw(channels, modes)
    return {
        "x": draw(time, batch, channels),
        "exponent": torch.complex(-decay, turn),
        "weight": torch.complex(draw(channels, modes), draw(channels, modes)),
        "state": torch.complex(draw(batch, channels, modes), draw(batch, channels, modes)),
    }


def plain(x: Tensor, exponent: Tensor, weight: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    made = []
    for u in x:
        state = torch.exp(exponent) * state + u[:, :, None]
        made.append((weight * state).sum(2).real)
    return (torch.stack(made) if made else torch.zeros_like(x)), state


@pytest.mark.parametrize(
    "sizes",
    [
        (70, 2, 3, 4),
        (1, 1, 1, 1),
        (2, 3, 63, 1),
        (100, 1, 5, 2),
        (63, 2, 1, 8),
        (0, 2, 5, 3),
        (9, 0, 3, 2),
        (5, 2, 100, 3),
    ],
)
def test_every_mode_is_the_plain_loop_with_gradients(sizes: tuple[int, int, int, int]) -> None:
    seen = []
    for mode, backend in (("plain", ""), ("recurrence", "numba"), ("recurrence", "reference"), ("convolution", "auto")):
        leaves = {n: t.requires_grad_() for n, t in given(*sizes).items()}
        y, after = plain(**leaves) if mode == "plain" else state_space(**leaves, mode=mode, backend=backend)
        loss = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)).sum() + after.abs().square().sum()
        seen.append([y, after, *torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)])
    for other in seen[1:]:
        for a, b in zip(other, seen[0], strict=True):
            assert a.shape == b.shape
            scale = float(b.detach().abs().max()) if b.numel() else 1.0
            assert torch.allclose(a, b, rtol=1e-10, atol=1e-11 * max(1.0, scale))


def test_without_a_state_it_begins_at_rest() -> None:
    a = given()
    rest = torch.zeros_like(a.pop("state"))
    for mode in ("recurrence", "convolution"):
        for one, other in zip(state_space(**a, mode=mode), state_space(**a, state=rest, mode=mode), strict=True):
            assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)


def test_a_long_sequence_in_single_precision() -> None:
    a = given(time=20_000, batch=1)
    a["exponent"] = torch.complex(a["exponent"].real * 1e-2, a["exponent"].imag)
    exact, end = state_space(**a, mode="convolution")
    assert torch.allclose(state_space(**a, mode="recurrence")[0], exact, rtol=1e-9, atol=1e-8)
    single = {n: t.to(torch.complex64 if t.is_complex() else torch.float32) for n, t in a.items()}
    y, after = state_space(**single, mode="convolution")
    assert float((y - exact).abs().max() / exact.abs().max()) < 1e-3
    assert float((after - end).abs().max() / end.abs().max()) < 1e-3


def test_auto_takes_the_recurrence_for_few_steps_and_for_routes_that_cut() -> None:
    a = given(time=65)
    few = a | {"x": a["x"][:64]}
    assert torch.equal(state_space(**few)[0], state_space(**few, mode="recurrence")[0])
    assert torch.equal(state_space(**a)[0], state_space(**a, mode="convolution")[0])
    cut = Route(cut_time=True)
    assert torch.equal(state_space(**a, route=cut)[0], state_space(**a, mode="recurrence")[0])
    with pytest.raises(InputError, match="a route that cuts time needs mode 'recurrence'"):
        state_space(**a, route=cut, mode="convolution")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": torch.zeros(3, 2)}, r"x must be \[T, B, H\]"),
        ({"x": torch.zeros(3, 2, 3)}, "exponent must be torch.complex64"),
        ({"weight": torch.zeros(3, 1, dtype=torch.complex128)}, r"exponent and weight must be \[H, N\] with H = 3"),
        ({"state": torch.zeros(1, 3, 4, dtype=torch.complex128)}, r"state must be \[B, H, N\] = \[2, 3, 4\]"),
        ({"mode": "fft"}, "unknown mode 'fft'"),
        ({"mode": "recurrence", "backend": "cuda"}, "does not run on cpu"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        state_space(**(given() | change))
