"""Sparse codes: alike inputs get alike codes, one look stores, what is known is told from what is not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.memory import SparseMemory

INPUTS, ACTIVE = 200, 20


def patterns(count: int, seed: int) -> Tensor:
    """``[count, 200]``, 20 active in each."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.stack([torch.randperm(INPUTS, generator=generator)[:ACTIVE] for _ in range(count)])
    return torch.zeros(count, INPUTS).scatter(1, chosen, 1.0)


def changed(pattern: Tensor, moved: int, seed: int) -> Tensor:
    """The pattern with ``moved`` of its active inputs elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    made = pattern.clone()
    for value, to in ((1, 0.0), (0, 1.0)):
        places = (pattern == value).nonzero().squeeze(1)
        made[places[torch.randperm(len(places), generator=generator)[:moved]]] = to
    return made


def ranks(values: Tensor) -> Tensor:
    less = (values.unsqueeze(0) < values.unsqueeze(1)).double().sum(1)
    return less + (values.unsqueeze(0) == values.unsqueeze(1)).double().sum(1) / 2


def stored_alone(memory: SparseMemory, x: Tensor) -> Tensor:
    return torch.cat([memory.store(one.unsqueeze(0)).codes for one in x])


def test_alike_inputs_get_alike_codes() -> None:
    shared = []
    for k, pattern in enumerate(patterns(100, seed=1)):
        memory, moved = SparseMemory(INPUTS, seed=k), k % 21
        first, second = stored_alone(memory, torch.stack([pattern, changed(pattern, moved, seed=k)]))
        shared.append((ACTIVE - moved, int((first == second).sum())))
    inputs, codes = torch.tensor(shared).t()
    assert float(torch.corrcoef(torch.stack([ranks(inputs), ranks(codes)]))[0, 1]) > 0.8
    assert float(codes[inputs == ACTIVE].double().mean()) > 23  # of 24 modules
    assert float(codes[inputs == 0].double().mean()) < 4  # 1.5 by chance


def test_one_look_stores_and_the_memory_fills_gracefully() -> None:
    right = {}
    for count in (30, 60, 120):
        memory, x = SparseMemory(INPUTS, seed=1), patterns(count, seed=2)
        codes = stored_alone(memory, x)
        recalled = torch.cat([memory.recall(one.unsqueeze(0)).codes for one in x])
        right[count] = float((recalled == codes).double().mean())
    assert right[30] > 0.999
    assert right[30] >= right[60] > right[120] > 0.4


def test_what_is_known_is_told_from_what_is_not() -> None:
    memory, x = SparseMemory(INPUTS, seed=3), patterns(60, seed=4)
    stored_alone(memory, x[:30])
    known, new = (torch.cat([memory.recall(one.unsqueeze(0)).familiarity for one in part]) for part in (x[:30], x[30:]))
    assert torch.equal(known, torch.ones(30))
    assert float((known.unsqueeze(1) > new).double().mean()) > 0.95
    partly = memory.recall(changed(x[0], 6, seed=5).unsqueeze(0))
    assert float(new.mean()) < float(partly.familiarity) < 1


def test_a_damaged_pattern_brings_back_the_code_and_the_pattern() -> None:
    memory, x = SparseMemory(INPUTS, seed=5), patterns(20, seed=6)
    codes = stored_alone(memory, x)
    for k in range(20):
        found = memory.recall(changed(x[k], 5, seed=k).unsqueeze(0)).codes
        assert float((found[0] == codes[k]).double().mean()) > 0.9
        assert torch.equal((memory.inputs_of(codes[k : k + 1])[0] > 0.99).double(), x[k].double())


def test_the_first_step_brings_back_the_sequence() -> None:
    memory = SparseMemory(INPUTS, seed=6)
    sequences = [patterns(10, seed=10 + k) for k in range(10)]
    codes = [memory.store(x).codes for x in sequences]
    for x, code in zip(sequences, codes, strict=True):
        assert float((memory.recall(x).codes == code).double().mean()) >= 0.9
        assert float((memory.recall(x[:1], steps=10).codes == code).double().mean()) >= 0.9


def test_the_same_input_in_another_sequence_gets_another_code() -> None:
    memory, (a, b, c) = SparseMemory(INPUTS, seed=7), patterns(3, seed=8)
    after_a, after_b = memory.store(torch.stack([a, c])).codes[1], memory.store(torch.stack([b, c])).codes[1]
    assert int((after_a == after_b).sum()) < 8
    assert torch.equal(memory.recall(torch.stack([b, c])).codes[1], after_b)


def test_support_and_familiarity_are_those_of_the_equations() -> None:
    memory = SparseMemory(4, modules=2, units=2)
    memory.weight[0, 1, [0, 2]] = memory.weight[1, 0, 0] = True
    found = memory.recall(torch.tensor([[1, 0, 1, 0]]))
    assert found.codes.tolist() == [[1, 0]]
    assert float(found.familiarity) == pytest.approx((1.0 + 0.5) / 2)
    assert memory.fill == pytest.approx(3 / 16)


def test_learning_touches_only_weights_between_what_was_active() -> None:
    memory, x = SparseMemory(INPUTS, seed=9), patterns(2, seed=9)
    codes = memory.store(x).codes
    wanted = torch.zeros_like(memory.weight)
    for step in range(2):
        for module in range(24):
            wanted[module, codes[step, module]] |= x[step] > 0
    assert torch.equal(memory.weight, wanted)
    assert int(memory.recurrent.sum()) == 24 * 24
    assert bool(memory.recurrent[3, codes[1, 3], 5, codes[0, 5]])


def test_the_seed_decides_the_codes() -> None:
    x = patterns(5, seed=1)
    made = [SparseMemory(INPUTS, seed=seed).store(x).codes for seed in (4, 4, 5)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"inputs": 0}, "inputs must be a whole number from 1 on, got 0"),
        ({"units": 1}, "units must be a whole number from 2 on"),
        ({"gain": 0.0}, "gain must be above 0"),
        ({"floor": 1.0}, "floor must be from 0 to below 1"),
    ],
)
def test_bad_options_are_named(options: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        SparseMemory(**({"inputs": 5} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (torch.ones(3), r"x must be \[T, 4\]"),
        (torch.ones(0, 4), "T at least 1"),
        (torch.full((1, 4), 0.5), "0 and 1 only"),
        (torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0]]), "step 1 has no active input"),
    ],
)
def test_bad_inputs_are_named(x: Tensor, says: str) -> None:
    with pytest.raises(InputError, match=says):
        SparseMemory(4).store(x)
    with pytest.raises(InputError, match="steps must be at least the 2"):
        SparseMemory(4).recall(torch.ones(2, 4), steps=1)
