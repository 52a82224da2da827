"""Hebbian memories: the fields as defined, capacity as in the papers, several patterns at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.memory import EXPONENTIAL, HebbianMemory, retrieval_curve
from neuro.memory.hebbian import Interaction


def signs(*shape: int, seed: int = 0, blank: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 2, shape, generator=generator).double() * 2 - 1
    return torch.where(torch.rand(shape, generator=generator) < blank, 0.0, drawn)


@pytest.mark.parametrize("interaction", [2, 3, 4, EXPONENTIAL])
@pytest.mark.parametrize("blank", [0.0, 0.4])
def test_the_field_leaves_out_the_neuron_itself(interaction: Interaction, blank: float) -> None:
    patterns, state = signs(5, 11, blank=blank), signs(3, 11, seed=1)
    made = HebbianMemory(patterns, interaction).field(state)
    wanted = torch.zeros_like(state)
    for i in range(11):
        others = (state * (torch.arange(11) != i)) @ patterns.t()
        force = others.exp() if interaction == EXPONENTIAL else (others / 11) ** (int(interaction) - 1)
        wanted[:, i] = force @ patterns[:, i]
    if interaction == EXPONENTIAL:
        wanted = wanted / torch.exp((state @ patterns.t()).amax(1, keepdim=True))
    assert torch.allclose(made, wanted, rtol=1e-12, atol=1e-13)


def test_capacity_of_the_classical_memory() -> None:
    few, near, beyond, far = retrieval_curve(100, [5, 10, 20, 40], queries=20)
    assert few == pytest.approx(1, abs=0.005)
    assert near > 0.97
    assert near > beyond > far
    assert far < 0.75


def test_groups_of_four_store_a_hundred_times_more_than_pairs() -> None:
    assert retrieval_curve(100, [100], interaction=3)[0] > 0.995
    assert retrieval_curve(100, [1000], interaction=3)[0] < 0.9
    assert retrieval_curve(100, [3000], interaction=4, queries=20)[0] > 0.99
    assert retrieval_curve(100, [30], interaction=2)[0] < 0.85


def test_one_step_retrieves_from_the_exponential_memory() -> None:
    assert retrieval_curve(60, [5000], interaction=EXPONENTIAL, steps=1, queries=30)[0] > 0.995
    assert retrieval_curve(60, [5000], interaction=2, steps=1, queries=30)[0] < 0.5


@pytest.mark.parametrize(("blank", "wanted"), [(0.2, (0.8, 0.16, 0.032)), (0.5, (0.5, 0.25, 0.125))])
def test_several_patterns_are_recalled_at_once(blank: float, wanted: tuple[float, ...]) -> None:
    patterns = signs(3, 3000, seed=2, blank=blank)
    # From the first pattern on, its blanks taken by the second, and its by the third.
    start = torch.where(patterns[0] == 0, torch.where(patterns[1] == 0, patterns[2], patterns[1]), patterns[0])
    start = torch.where(start == 0, 1.0, start).unsqueeze(0)
    memory = HebbianMemory(patterns)
    found = memory.overlaps(memory.recall(start, steps=20))[0].tolist()
    assert found == pytest.approx(wanted, abs=0.06)


def test_a_neuron_that_feels_nothing_keeps_its_value() -> None:
    memory = HebbianMemory(torch.tensor([[1.0, -1.0, 0.0, 0.0]]))
    assert memory.recall(torch.tensor([[1.0, 1.0, -1.0, 1.0]]))[0, 2:].tolist() == [-1.0, 1.0]


@pytest.mark.parametrize(
    ("patterns", "interaction", "says"),
    [
        (torch.ones(3), 2, r"patterns must be \[K, N\] floats"),
        (torch.ones(0, 3), 2, "at least one"),
        (torch.ones(2, 3).int(), 2, "got .* torch.int32"),
        (torch.full((2, 3), 0.5), 2, "-1, 0 .blank. and 1 only"),
        (torch.ones(2, 3), 1, "interaction must be a whole number from 2 on"),
        (torch.ones(2, 3), "cubic", "got 'cubic'"),
    ],
)
def test_bad_patterns_are_named(patterns: Tensor, interaction: Interaction, says: str) -> None:
    with pytest.raises(InputError, match=says):
        HebbianMemory(patterns, interaction)


def test_bad_states_are_named() -> None:
    memory = HebbianMemory(signs(2, 3))
    with pytest.raises(InputError, match=r"state must be \[B, 3\] torch.float64"):
        memory.recall(torch.ones(2, 4).double())
    with pytest.raises(InputError, match="state must hold -1 and 1 only"):
        memory.recall(torch.zeros(2, 3).double())
