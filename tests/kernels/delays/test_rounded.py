"""Whole delays: every input arrives once, at its weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.delays import rounded as module
from neuro.kernels.delays.rounded import rounded_linear, shift


def given(taps: int = 6, density: float = 0.3) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(8)
    x = (torch.rand(10 + taps - 1, 3, 20, generator=g) < density).double()
    weight = torch.randn(20, 7, generator=g, dtype=torch.float64).t()
    return [x.requires_grad_(), weight.requires_grad_(), torch.randint(0, taps, (7, 20), generator=g).int()]


def by_hand(x: torch.Tensor, weight: torch.Tensor, steps: torch.Tensor, taps: int) -> torch.Tensor:
    late = torch.stack([x[taps - 1 - d : len(x) - d] for d in range(taps)])  # [D, T, B, I]
    one_hot = torch.nn.functional.one_hot(steps.long(), taps).to(x.dtype)
    return torch.einsum("dtbi,oi,oid->tbo", late, weight, one_hot)


@pytest.mark.parametrize("mode", ["event", "dense"])
@pytest.mark.parametrize(("taps", "density"), [(1, 1.0), (6, 0.3), (25, 0.0)])
def test_equals_the_sum_written_out(mode: str, taps: int, density: float) -> None:
    x, weight, steps = given(taps, density)
    expected = by_hand(x, weight, steps, taps)
    actual = rounded_linear(x, weight, steps, taps=taps, mode=mode)
    assert torch.allclose(actual, expected, rtol=1e-12, atol=1e-12)
    cotangent = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (x, weight), cotangent)
    for have, want in zip(torch.autograd.grad(actual, (x, weight), cotangent), wanted, strict=True):
        assert torch.allclose(have, want, rtol=1e-12, atol=1e-12)


def test_auto_follows_activity_and_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    original = module._dense

    def spy(*arguments: Any) -> torch.Tensor:
        called.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(module, "_dense", spy)
    rounded_linear(*given(6, 0.05), taps=6)
    assert not called
    rounded_linear(*given(6, 0.5), taps=6)
    assert len(called) == 1
    x, weight, steps = given()
    compiled = torch.compile(rounded_linear, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x, weight, steps, taps=6), rounded_linear(x, weight, steps, taps=6))


def test_shift_is_one_delay_for_each_channel() -> None:
    x = torch.randn(9, 2, 4, dtype=torch.float64, requires_grad=True)
    steps = torch.tensor([0, 3, 1, 2])
    y = shift(x, steps, 4)
    for n, d in enumerate(steps.tolist()):
        assert torch.equal(y[:, :, n], x[3 - d : 9 - d, :, n])
    assert torch.autograd.gradcheck(lambda x: shift(x, steps, 4), x)


def test_bad_input_is_named() -> None:
    x, weight, steps = (a.detach() for a in given())
    for mode in ("event", "dense"):
        with pytest.raises(InputError, match=r"delay must be in 0\.\.5 steps, got 0\.\.6"):
            rounded_linear(x, weight, torch.where(steps == 5, 6, steps), taps=6, mode=mode)
        with pytest.raises(InputError, match="delay must be in"):
            rounded_linear(x, weight, steps - 1, taps=6, mode=mode)
    with pytest.raises(InputError, match=r"steps must be \[7, 20\] int32"):
        rounded_linear(x, weight, steps.long(), taps=6)
    with pytest.raises(InputError, match=r"x must be \[T \+ 5, B, I\]"):
        rounded_linear(x[..., 1:], weight, steps, taps=6)
    with pytest.raises(InputError, match="did you mean 'dense'"):
        rounded_linear(x, weight, steps, taps=6, mode="dens")
