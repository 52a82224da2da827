"""Theory and simulation agree: one step, the resting state, the critical load, and the bounds of the modern memory."""

from __future__ import annotations

import math

import pytest
import torch

from neuro.errors import InputError
from neuro.memory import ModernMemory, one_step_overlap, resting_overlap, retrieval_curve


@pytest.mark.parametrize(
    ("interaction", "neurons", "count", "flipped"),
    [(2, 500, 60, 0.0), (2, 500, 200, 0.1), (3, 100, 700, 0.1), (3, 100, 2500, 0.05), (4, 60, 6000, 0.1)],
)
def test_one_step_is_as_predicted(interaction: int, neurons: int, count: int, flipped: float) -> None:
    found = retrieval_curve(neurons, [count], interaction=interaction, flipped=flipped, steps=1, queries=200)[0]
    load = count / neurons ** (interaction - 1)
    assert found == pytest.approx(one_step_overlap(load, interaction=interaction, flipped=flipped), abs=0.025)


def test_the_critical_load_is_that_of_the_paper() -> None:
    low, high = 0.1, 0.2
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if resting_overlap(middle) > 0 else (low, middle)
    assert low == pytest.approx(0.1379, abs=2e-4)
    assert resting_overlap(low) == pytest.approx(0.967, abs=2e-3)


def test_the_memory_comes_to_rest_where_it_is_predicted() -> None:
    for load in (0.06, 0.1, 0.12):
        found = retrieval_curve(1000, [round(1000 * load)], flipped=0.0, steps=50, queries=30)[0]
        assert found == pytest.approx(resting_overlap(load), abs=0.01)
    assert retrieval_curve(1000, [250], flipped=0.0, steps=50, queries=30)[0] < 0.6


def test_a_step_of_the_modern_memory_keeps_the_papers_bound() -> None:
    # Ramsauer et al. 2021, theorem 4: |f(xi) - x_i| <= 2 (K - 1) exp(-beta (D_i - 2 max(|xi - x_i|, |x_i* - x_i|) M)) M.
    generator = torch.Generator().manual_seed(2)
    stored = torch.nn.functional.normalize(torch.randn(50, 32, generator=generator, dtype=torch.float64), dim=1) * 4
    products = stored @ stored.t()
    separation = (products.diagonal() - (products - torch.diag(torch.full((50,), torch.inf).double())).amax(1)).amin()
    for beta in (1.0, 2.0, 4.0):
        memory = ModernMemory(stored, beta)
        state = stored + 0.02 * torch.randn(stored.shape, generator=generator, dtype=torch.float64)
        fixed = memory.recall(stored, steps=200)
        far = torch.maximum((state - stored).norm(dim=1), (fixed - stored).norm(dim=1))
        bound = 2 * 49 * torch.exp(-beta * (separation - 2 * far * 4)) * 4
        error = (memory.recall(state) - stored).norm(dim=1)
        assert bool((error <= bound + 1e-12).all())
        assert float(bound.median()) < 20
    assert float(error.amax()) < 1e-6


def test_one_step_without_other_patterns_is_perfect() -> None:
    assert one_step_overlap(1e-9, flipped=0.1) == 1.0
    assert one_step_overlap(0.3, flipped=0.5) == 0.0
    assert one_step_overlap(0.2, interaction=3) == pytest.approx(math.erf(1 / math.sqrt(2 * 0.2 * 3)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"load": 0.0}, "load must be above 0"),
        ({"load": math.nan}, "got nan"),
        ({"load": 0.1, "interaction": 1}, "interaction must be a whole number from 2 on"),
        ({"load": 0.1, "flipped": 1.5}, "flipped must be from 0 to 1"),
    ],
)
def test_bad_options_are_named(options: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        one_step_overlap(**options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="load must be"):
        resting_overlap(-1.0)
