"""Recordings as columns: what is refused, and the order the CUDA text relies on."""

from __future__ import annotations

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.events.columns import Columns, check_columns, checked_places, places

SIZE = (4, 3, 2)


def made(t: list[int]) -> Columns:
    number = len(t)
    x = torch.arange(number, dtype=torch.int16) % 4
    return Columns(torch.tensor(t), x, torch.zeros_like(x), torch.zeros(number, dtype=torch.bool))


def test_events_out_of_order_are_sorted_as_they_came_or_refused() -> None:
    given = made([5, 9, 5, 7])
    assert checked_places(given, SIZE, ordered=False).x.tolist() == [0, 2, 3, 1]
    with pytest.raises(InputError, match="event 2: t=5 us is before the event in front of it"):
        checked_places(given, SIZE, ordered=True)
    spread = Columns(*(column.repeat_interleave(2)[::2] for column in made([1, 2, 3])))
    assert all(column.is_contiguous() for column in checked_places(spread, SIZE, ordered=True))


@pytest.mark.parametrize(("field", "value"), [("x", 4), ("x", -1), ("y", 3), ("y", -9), ("t", -1)])
def test_an_event_without_a_place_is_refused(field: str, value: int) -> None:
    given = made([1, 2, 3])
    getattr(given, field)[0] = value
    with pytest.raises(InputError, match="1 events lie outside"):
        checked_places(given, SIZE, ordered=True)


def test_wrong_columns_are_refused() -> None:
    good = made([1, 2, 3])
    cases = [
        (good._replace(t=good.t.int()), "column t must be torch.int64"),
        (good._replace(x=good.x[:2]), r"column x must be torch.int16 of shape \(3,\)"),
        (good._replace(p=good.p.to("meta")), "column p is on meta"),
    ]
    for wrong, text in cases:
        with pytest.raises(InputError, match=text):
            check_columns(wrong, SIZE)
    with pytest.raises(InputError, match="sensor_size"):
        check_columns(good, (4, 0, 2))


def test_places_are_a_stable_order_and_its_borders() -> None:
    order, first = places(torch.tensor([3, 1, 3, 1, 0]), 5)
    assert order.tolist() == [4, 1, 3, 0, 2]
    assert first.tolist() == [0, 1, 3, 3, 5, 5]
