"""CUDA text of the filters: keeps the events that the references keep, and compiles to device code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from neuro.errors import InputError
from neuro.kernels.events.columns import Columns
from neuro.kernels.events.filters import denoise_reference, drop_hot_pixels, refractory_filter_reference
from neuro.kernels.events.filters_cuda import (
    denoise_columns,
    denoise_source,
    drop_hot_columns,
    hot_source,
    refractory_columns,
    refractory_source,
    tally_source,
)

Recording = Callable[..., NDArray[np.void]]
Made = Callable[[NDArray[np.void]], Columns]
PAIRS: tuple[tuple[Any, Any, tuple[float, ...]], ...] = (
    (denoise_columns, denoise_reference, (20e-6,)),
    (refractory_columns, refractory_filter_reference, (60e-6,)),
    (drop_hot_columns, drop_hot_pixels, (30_000.0,)),
    (drop_hot_columns, drop_hot_pixels, (60_000.0, 0.5e-3)),
)
each_pair = pytest.mark.parametrize(("ours", "reference", "given"), PAIRS)


@each_pair
@pytest.mark.parametrize("size", [(7, 5, 2), (1, 1, 1), (63, 2, 1)])
@pytest.mark.parametrize("number", [0, 1, 63, 1000])
def test_keeps_what_the_reference_keeps(
    recording: Recording,
    columns: Made,
    number: int,
    size: tuple[int, int, int],
    ours: Any,
    reference: Any,
    given: tuple[float, ...],
) -> None:
    events = recording(number, size)
    if number == 1 and ours is drop_hot_columns and len(given) == 1:
        with pytest.raises(InputError, match="at one moment have no rate"):
            ours(columns(events), size, *given)
        return
    kept, wanted = ours(columns(events), size, *given), reference(events, size, *given)
    for name in ("t", "x", "y", "p"):
        assert np.array_equal(getattr(kept, name).cpu().numpy(), wanted[name])
    if number == 1000 and size[0] == 7:
        assert 0 < len(kept.t) < number  # some stay and some go


def test_a_neighbour_at_the_same_time_supports_only_what_comes_after_it(recording: Recording, columns: Made) -> None:
    events = recording(2, (2, 1, 1))
    events["t"], events["x"] = 5, [0, 1]
    assert denoise_columns(columns(events), (2, 1, 1), 10e-6).x.tolist() == [1]


@each_pair
def test_wrong_input_is_refused(
    recording: Recording, columns: Made, ours: Any, reference: Any, given: tuple[float, ...]
) -> None:
    events = recording(9, (4, 3, 2))
    backwards = columns(np.ascontiguousarray(events[::-1]))
    calls: list[Callable[[], object]] = [
        lambda: ours(backwards, (4, 3, 2), *given),
        lambda: reference(events[::-1], (4, 3, 2), *given),
    ]
    for call in calls:
        with pytest.raises(InputError, match="before the event in front of it"):
            call()
    outside = columns(events)
    outside.y[2] = 3
    with pytest.raises(InputError, match="1 events lie outside"):
        ours(outside, (4, 3, 2), *given)
    with pytest.raises(InputError, match="must be a positive"):
        ours(columns(events), (4, 3, 2), -1.0)


@pytest.mark.parametrize("source", [denoise_source(), refractory_source(), tally_source(), hot_source()])
def test_sources_compile_to_device_code(device_code: Callable[[str], str], source: str) -> None:
    assert ".entry event_" in device_code(source)
