"""Spikes go from any form to any other and come back the same."""

from __future__ import annotations

import itertools

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.propagation.spikes import EventList, PackedSpikes, from_coordinates, pack, ranges

SHAPES = [(0, 7), (1, 1), (63,), (3, 2, 64), (5, 65), (2, 3, 100), (4, 1000), (2, 0)]


def spikes(shape: tuple[int, ...], density: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(len(shape))) < density).to(dtype)


@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_form_holds_the_same(shape: tuple[int, ...], density: float, dtype: torch.dtype) -> None:
    x = spikes(shape, density, dtype)
    listed = EventList.of(x)
    forms = [listed.dense(), from_coordinates(listed.coordinates(), shape, dtype).dense()]
    for word in (torch.uint8, torch.uint64):
        packed = pack(x, word)
        assert packed.words.shape[-1] == -(-shape[-1] // (8 if word == torch.uint8 else 64))
        forms += [packed.unpack(), packed.events().dense()]
        assert torch.equal(packed.events().index, listed.index)
    for form in forms:
        assert form.dtype == dtype
        assert torch.equal(form, x)
    assert torch.equal(listed.coordinates(), x.nonzero())
    assert listed.value.numel() == 0


def test_graded_events_keep_their_values() -> None:
    x = spikes((4, 3, 50), 0.2) * torch.randn(4, 3, 50)
    assert torch.equal(EventList.of(x).dense(), x)
    x = x.transpose(0, 2)
    assert torch.equal(EventList.of(x).dense(), x)
    with pytest.raises(InputError, match="0 or 1 everywhere"):
        pack(x)
    with pytest.raises(InputError, match="0 or 1 everywhere"):
        pack(torch.tensor([1.0, float("nan")]))


def test_bit_order_is_as_documented() -> None:
    x = torch.zeros(130)
    x[[0, 9, 64, 129]] = 1
    assert pack(x).words.nonzero().flatten().tolist() == [0, 1, 8, 16]
    assert pack(x).words[1] == 2
    assert pack(x, torch.uint64).words.tolist() == [1 + 2**9, 1, 2]


def test_coordinates_come_in_any_order() -> None:
    x = spikes((3, 2, 40), 0.3)
    coordinates = x.nonzero()
    shuffled = coordinates[torch.randperm(len(coordinates), generator=torch.Generator().manual_seed(0))]
    assert torch.equal(from_coordinates(shuffled, (3, 2, 40)).dense(), x)


def test_ranges_cover_without_overlap() -> None:
    for size, step in itertools.product((0, 1, 7, 8), (1, 3, 8)):
        assert [k for a, b in ranges(size, step) for k in range(a, b)] == list(range(size))


INT32, INT64, NONE = torch.int32, torch.int64, torch.empty(0)


@pytest.mark.parametrize(
    ("start", "index", "message"),
    [
        ([0, 2, 1, 2], [0, 1], "must rise"),
        ([0, 1, 1, 3], [0, 1], "must rise"),
        ([1, 1, 1, 2], [0, 1], "must rise"),
        ([0, 1, 2], [0, 1], r"start must be \[4\]"),
        ([0, 0, 1, 2], [0, 5], r"index must be in 0..4, got 0..5"),
        ([0, 0, 1, 2], [-1, 0], r"index must be in 0..4, got -1..0"),
    ],
)
def test_event_lists_that_do_not_hold_together(start: list[int], index: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        EventList(torch.tensor(start, dtype=INT64), torch.tensor(index, dtype=INT32), NONE, (3, 5))


def test_other_bad_input_is_named() -> None:
    with pytest.raises(InputError, match=r"index must be .* int32, got .* int64"):
        EventList(torch.tensor([0, 1]), torch.tensor([0]), NONE, (1, 5))
    with pytest.raises(InputError, match="value must be"):
        EventList(torch.tensor([0, 1]), torch.tensor([0], dtype=INT32), torch.ones(3), (1, 5))
    with pytest.raises(InputError, match="float32 or float64"):
        EventList.of(torch.ones(3, dtype=INT32))
    with pytest.raises(InputError, match=r"coordinates\[:, 1\] must be in 0..2, got 0..3"):
        from_coordinates(torch.tensor([[0, 0], [1, 3]]), (2, 3))
    with pytest.raises(InputError, match="at most once"):
        from_coordinates(torch.tensor([[0, 1], [0, 1]]), (2, 3))
    with pytest.raises(InputError, match="coordinates must be"):
        from_coordinates(torch.zeros(2, 3), (2, 3))
    with pytest.raises(InputError, match=r"uint8 or torch.uint64"):
        pack(torch.ones(3), torch.int32)
    with pytest.raises(InputError, match="must end in 2 for size 9"):
        PackedSpikes(torch.zeros(3, dtype=torch.uint8), 9)
    with pytest.raises(InputError, match="no bit set past size 3"):
        PackedSpikes(torch.tensor([8], dtype=torch.uint8), 3)
    with pytest.raises(InputError, match="words must be uint8"):
        PackedSpikes(torch.zeros(1, dtype=INT32), 3)
