"""The memory of real patterns: one step retrieves, equals attention, and the energy falls."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.memory import ModernMemory


def stored(count: int, size: int = 64) -> Tensor:
    drawn = torch.randn(count, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return drawn / drawn.square().mean(1, keepdim=True).sqrt()


def noisy(patterns: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return patterns + 0.5 * torch.randn(patterns.shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("count", "error"), [(100, 1e-12), (1000, 1e-9), (10000, 1e-8)])
def test_one_step_retrieves_far_more_patterns_than_neurons(count: int, error: float) -> None:
    patterns = stored(count)
    meant = patterns[:50]
    found = ModernMemory(patterns, beta=1.0).recall(noisy(meant))
    assert float(((found - meant).norm(dim=1) / meant.norm(dim=1)).median()) < error
    blurred = ModernMemory(patterns).recall(noisy(meant))
    assert float(((blurred - meant).norm(dim=1) / meant.norm(dim=1)).median()) > 0.02


def test_one_step_is_attention_and_differentiable() -> None:
    patterns, state = stored(9, 6).requires_grad_(), stored(4, 6)
    attention = torch.nn.functional.scaled_dot_product_attention
    assert torch.allclose(ModernMemory(patterns).recall(state), attention(state, patterns, patterns), rtol=1e-12)
    assert torch.autograd.gradcheck(
        lambda p, s: ModernMemory(p, 0.7).recall(s, steps=2), (patterns, state.requires_grad_())
    )


@pytest.mark.parametrize("beta", [0.05, 0.5, 3.0])
def test_the_energy_never_rises_nor_is_negative(beta: float) -> None:
    memory, state = ModernMemory(stored(20, 8), beta), 3 * stored(30, 8)
    before = memory.energy(state)
    for _ in range(6):
        state = memory.recall(state)
        after = memory.energy(state)
        assert bool((after <= before + 1e-12).all())
        assert bool((after >= 0).all())
        before = after


@pytest.mark.parametrize(
    ("patterns", "beta", "says"),
    [
        (torch.ones(3), 1.0, r"patterns must be \[K, N\]"),
        (torch.ones(0, 3), 1.0, "at least one"),
        (torch.ones(2, 3), 0.0, "beta must be a finite number above 0"),
        (torch.ones(2, 3), float("nan"), "got nan"),
    ],
)
def test_bad_options_are_named(patterns: Tensor, beta: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        ModernMemory(patterns, beta)
    with pytest.raises(InputError, match=r"state must be \[B, 64\] torch.float64"):
        ModernMemory(stored(3)).recall(torch.ones(2, 64))
