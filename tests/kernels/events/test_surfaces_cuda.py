"""CUDA text of the time surfaces: equal to the CPU ops' references, and compiled to device code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from neuro.errors import InputError
from neuro.kernels.events.columns import Columns
from neuro.kernels.events.surfaces import events_to_averaged_surfaces_reference, events_to_surfaces_reference
from neuro.kernels.events.surfaces_cuda import (
    averaged_source,
    columns_to_averaged_surfaces,
    columns_to_surfaces,
    latest_source,
    surfaces_source,
)

Recording = Callable[..., NDArray[np.void]]
Made = Callable[[NDArray[np.void]], Columns]


@pytest.mark.parametrize("size", [(7, 5, 2), (1, 1, 1), (63, 2, 1)])
@pytest.mark.parametrize("number", [0, 1, 63, 1000])
def test_surfaces_equal_the_reference(
    recording: Recording, columns: Made, number: int, size: tuple[int, int, int]
) -> None:
    events = recording(number, size)
    values, late = columns_to_surfaces(columns(events), size, 150e-6, 200e-6, 700e-6)
    wanted = events_to_surfaces_reference(events, size, 150e-6, 200e-6, 700e-6)
    assert np.allclose(values.cpu().numpy(), wanted.values, rtol=1e-6, atol=1e-12)
    assert late == wanted.late
    assert number < 63 or float(values.max()) > 0.1


def test_surfaces_from_a_start_and_in_any_order(recording: Recording, columns: Made) -> None:
    size = (4, 3, 2)
    events = recording(200, size)
    events["t"] += 5000
    wanted = events_to_surfaces_reference(events, size, 300e-6, 1e-3, 1e-3, start=5e-3)
    mixed = np.random.default_rng(0).permutation(events)
    values, _ = columns_to_surfaces(columns(mixed), size, 300e-6, 1e-3, 1e-3, start=5e-3)
    assert np.allclose(values.cpu().numpy(), wanted.values, rtol=1e-6)
    with pytest.raises(InputError, match="lies before start"):
        columns_to_surfaces(columns(mixed), size, 300e-6, 1e-3, 1e-3, start=6e-3)


@pytest.mark.parametrize(("size", "cell", "radius"), [((7, 5, 2), 3, 1), ((1, 1, 1), 1, 0), ((63, 12, 2), 10, 2)])
@pytest.mark.parametrize("number", [0, 1, 63, 1000])
def test_averaged_surfaces_equal_the_reference(
    recording: Recording, columns: Made, number: int, size: tuple[int, int, int], cell: int, radius: int
) -> None:
    events = recording(number, size)
    window, tau = 200e-6, 80e-6
    given = columns(events)
    found = columns_to_averaged_surfaces(given, size, cell=cell, radius=radius, window=window, tau=tau)
    wanted = events_to_averaged_surfaces_reference(
        events, size, cell=cell, radius=radius, window=window, tau=tau, dtype="float64"
    )
    assert found.shape == wanted.shape
    assert np.allclose(found.cpu().numpy(), wanted, rtol=1e-6)


def test_wrong_times_and_cells_are_refused(recording: Recording, columns: Made) -> None:
    given = columns(recording(9, (4, 3, 2)))
    with pytest.raises(InputError, match="tau must be"):
        columns_to_surfaces(given, (4, 3, 2), 1e-3, 0.0, 1e-3)
    with pytest.raises(InputError, match="dt must be below 2147 s"):
        columns_to_surfaces(given, (4, 3, 2), 3000.0, 1.0, 1e-3)
    with pytest.raises(InputError, match="cell=2 is smaller"):
        columns_to_averaged_surfaces(given, (4, 3, 2), cell=2, radius=1)
    given.x[3] = 4
    calls: list[Callable[[], object]] = [
        lambda: columns_to_surfaces(given, (4, 3, 2), 1e-3, 1.0, 1e-3),
        lambda: columns_to_averaged_surfaces(given, (4, 3, 2)),
    ]
    for call in calls:
        with pytest.raises(InputError, match="1 events lie outside"):
            call()


@pytest.mark.parametrize("source", [latest_source(), surfaces_source(), averaged_source()])
def test_sources_compile_to_device_code(device_code: Callable[[str], str], source: str) -> None:
    assert ".entry event_" in device_code(source)
