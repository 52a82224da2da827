"""Checks of recordings: what passes without a copy, what is put in order, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neuro.datasets.events import EVENT_DTYPE
from neuro.errors import InputError
from neuro.kernels.events.records import RECORD, Span, as_records, microseconds, span_of, zeros

SIZE = (5, 4, 2)
EVENTS = np.array([(3, 4, 3, True), (7, 0, 0, False), (7, 1, 2, True)], RECORD)


def test_the_layout_is_that_of_the_data_sets() -> None:
    assert RECORD == EVENT_DTYPE


def test_own_layout_passes_without_a_copy_and_stays_writeable() -> None:
    events = EVENTS.copy()
    records = as_records(events, SIZE, sort=False)
    assert np.shares_memory(records, events)
    assert not records.flags.writeable
    assert events.flags.writeable
    events.flags.writeable = False
    assert np.array_equal(as_records(events, SIZE, sort=False), EVENTS)


@pytest.mark.parametrize(
    "dtype",
    [
        [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")],
        [("t", ">u4"), ("x", "u1"), ("y", "i8"), ("p", "i1"), ("extra", "f4")],
    ],
)
def test_other_layouts_and_views_hold_the_same(dtype: Any) -> None:
    other: Any = np.zeros(6, dtype)[::2]
    for name in ("t", "x", "y", "p"):
        other[name] = EVENTS[name]
    assert np.array_equal(as_records(other, SIZE, sort=False), EVENTS)
    assert np.array_equal(as_records(np.repeat(EVENTS, 2)[::2].view(np.recarray), SIZE, sort=False), EVENTS)


def test_sorting_keeps_the_order_of_equal_times() -> None:
    assert as_records(EVENTS[[1, 2, 0]], SIZE, sort=True).tolist() == EVENTS.tolist()
    assert as_records(EVENTS[[2, 1, 0]], SIZE, sort=True)["x"].tolist() == [4, 1, 0]
    with pytest.raises(InputError, match=r"event 2: t=3 us is before the event in front of it \(t=7 us\); sort by t"):
        as_records(EVENTS[[1, 2, 0]], SIZE, sort=False)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("x", 5, "x=5 is out of range; allowed are 0 to 4"),
        ("x", -1, "x=-1"),
        ("y", 4, "y=4 is out of range; allowed are 0 to 3"),
        ("y", -32768, "y=-32768"),
        ("t", -2, "t=-2 us lies before time zero"),
        ("p", -1, "p=-1 is out of range"),
        ("x", 65541, "x=65541"),  # 5 once cut to sixteen bits
    ],
)
def test_an_event_without_a_place_is_refused(field: str, value: int, text: str) -> None:
    wide = EVENTS.astype([("t", "i8"), ("x", "i4"), ("y", "i4"), ("p", "i1")])
    wide[field][1] = value
    with pytest.raises(InputError, match=text):
        as_records(wide, SIZE, sort=True)
    if abs(value) < 40_000 and field != "p":
        with pytest.raises(InputError, match=text):
            as_records(wide.astype(RECORD), SIZE, sort=True)


def test_what_is_no_recording_is_refused() -> None:
    wrong: Any
    for wrong in (None, [1, 2], np.zeros(3), EVENTS.reshape(3, 1), EVENTS[["t", "x", "y"]]):
        with pytest.raises(InputError, match="fields t, x, y and p"):
            as_records(wrong, SIZE, sort=True)
    for wrong in ((5, 4), (5, 0, 2), (5.0, 4, 2), (40_000, 4, 2), None):
        with pytest.raises(InputError, match="sensor_size must be"):
            as_records(EVENTS, wrong, sort=True)


def test_microseconds() -> None:
    assert microseconds("dt", 0.1 + 0.2) == 300_000
    assert microseconds("start", 0, zero=True) == 0
    for wrong in (0, -1e-6, 1.5e-6, float("nan")):
        with pytest.raises(InputError, match="dt must be a positive whole number of microseconds"):
            microseconds("dt", wrong)
    with pytest.raises(InputError, match="start must be a non-negative whole number"):
        microseconds("start", -1e-6, zero=True)


def test_span_reaches_just_past_the_last_event() -> None:
    assert span_of(EVENTS, 0.0, None) == Span(0, 8)
    assert span_of(EVENTS, 3e-6, None) == Span(3, 5)
    assert span_of(EVENTS, 0.0, 2e-6) == Span(0, 2)
    assert span_of(EVENTS[:0], 1.0, None) == Span(1_000_000, 0)
    with pytest.raises(InputError, match="t=3 us lies before start=4e-06 s; crop the recording or start earlier"):
        span_of(EVENTS, 4e-6, None)


def test_zeros_are_zeros_of_the_shape_and_type_asked_for() -> None:
    dirty = zeros((300, 1000), np.int32)
    dirty += 7
    del dirty
    found = zeros((300, 1000), np.int32)
    assert found.shape == (300, 1000)
    assert found.dtype == np.int32
    assert not found.any()
