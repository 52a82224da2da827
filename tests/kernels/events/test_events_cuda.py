"""CUDA text of the event ops: on the host shim against the CPU ops, and compiled to device code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from neuro.errors import InputError
from neuro.kernels.events.columns import Columns
from neuro.kernels.events.events_cuda import columns_to_frames, columns_to_voxels, frames_source, voxels_source
from neuro.kernels.events.frames import events_to_frames
from neuro.kernels.events.voxels import events_to_voxels

Recording = Callable[..., NDArray[np.void]]
Made = Callable[[NDArray[np.void]], Columns]


@pytest.mark.parametrize("size", [(7, 5, 2), (1, 1, 1), (63, 2, 1)])
@pytest.mark.parametrize("number", [0, 1, 63, 1000])
def test_equals_the_cpu(recording: Recording, columns: Made, number: int, size: tuple[int, int, int]) -> None:
    events = recording(number, size)
    counts, late = columns_to_frames(columns(events), size, 150e-6, 700e-6)
    wanted = events_to_frames(events, size, 150e-6, 700e-6)
    assert counts.dtype == torch.int32
    assert np.array_equal(counts.cpu().numpy(), wanted.counts)
    assert late == wanted.late
    for bins in (1, 5):
        grid, late = columns_to_voxels(columns(events), size, bins, 700e-6)
        expected = events_to_voxels(events, size, bins, 700e-6, start=0.0)
        assert np.allclose(grid.cpu().numpy(), expected.grid, rtol=1e-5, atol=1e-4)
        assert late == expected.late


def test_start_moves_the_bins(recording: Recording, columns: Made) -> None:
    events = recording(200, (4, 4, 2))
    events["t"] += 5000
    counts, late = columns_to_frames(columns(events), (4, 4, 2), 1e-3, 1e-3, start=5e-3)
    assert int(counts.sum()) == 200
    assert late == 0


@pytest.mark.parametrize(("field", "value"), [("x", 4), ("x", -1), ("y", 3), ("y", -9), ("t", -1)])
def test_an_event_without_a_place_writes_nothing_and_is_refused(
    recording: Recording, columns: Made, field: str, value: int
) -> None:
    events = recording(20, (4, 3, 2))
    events[field][7] = value
    with pytest.raises(InputError, match="1 events lie outside the sensor or before the start"):
        columns_to_frames(columns(events), (4, 3, 2), 1e-3, 1e-3)
    with pytest.raises(InputError, match="1 events lie outside"):
        columns_to_voxels(columns(events), (4, 3, 2), 3, 1e-3)


def test_wrong_numbers_are_refused(recording: Recording, columns: Made) -> None:
    good = columns(recording(9, (4, 3, 2)))
    bins: Any
    for bins in (0, 1.5):
        with pytest.raises(InputError, match="bins must be"):
            columns_to_voxels(good, (4, 3, 2), bins, 1e-3)
    calls: list[Callable[[], object]] = [
        lambda: columns_to_frames(good, (4, 0, 2), 1e-3, 1e-3),
        lambda: columns_to_voxels(good, (0, 1, 2), 3, 1.0),
    ]
    for wrong in calls:
        with pytest.raises(InputError, match="sensor_size"):
            wrong()


@pytest.mark.parametrize("source", [frames_source(), voxels_source()], ids=["frames", "voxels"])
def test_sources_compile_to_device_code(device_code: Callable[[str], str], source: str) -> None:
    assert ".entry event_" in device_code(source)
