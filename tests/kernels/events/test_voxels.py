"""Voxel grids: the kernel against the NumPy definition, against Tonic, and the law that no weight is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tonic.transforms
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuro.errors import InputError
from neuro.kernels.events.records import RECORD
from neuro.kernels.events.voxels import events_to_voxels, events_to_voxels_reference


def recording(number: int, size: tuple[int, int, int], end: int = 1000) -> NDArray[np.void]:
    rng = np.random.default_rng(number)
    events = np.zeros(number, RECORD)
    for name, high in zip(("t", "x", "y", "p"), (end, size[0], size[1], 2), strict=True):
        events[name] = rng.integers(0, high, number)
    return np.sort(events, order="t")


@given(
    number=st.integers(0, 200),
    size=st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(1, 2)),
    bins=st.integers(1, 12),
    end=st.sampled_from([1, 3, 1000]),
    length=st.one_of(st.none(), st.integers(1, 1500)),
)
def test_kernel_equals_reference_and_loses_nothing(
    number: int, size: tuple[int, int, int], bins: int, end: int, length: int | None
) -> None:
    events = recording(number, size, end)
    before = events.copy()
    start, duration = (None, None) if length is None else (0.0, length * 1e-6)
    ours = events_to_voxels(events, size, bins, duration, start=start, dtype="float64")
    reference = events_to_voxels_reference(events, size, bins, duration, start=start, dtype="float64")
    assert ours.grid.shape == (bins, 1, size[1], size[0])
    assert np.allclose(ours.grid, reference.grid, rtol=0, atol=1e-10)
    assert ours.late == reference.late
    assert np.array_equal(events, before)
    inside = events if length is None else events[events["t"] <= length]
    signs = len(inside) if size[2] == 1 else 2 * int(inside["p"].sum()) - len(inside)
    assert np.isclose(ours.grid.sum(), signs, atol=1e-9)
    assert ours.late == number - len(inside)


@pytest.mark.parametrize("bins", [1, 2, 7])
def test_tonic_is_the_first_nodes_of_one_more(bins: int) -> None:
    size = (9, 6, 2)
    events = recording(500, size)
    # Signed polarities: Tonic's "OFF becomes -1" has no effect on the field's usual bool.
    signed = events.astype([("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "i1")])
    theirs = tonic.transforms.ToVoxelGrid(sensor_size=size, n_time_bins=bins)(signed)
    ours = events_to_voxels(events, size, bins + 1, dtype="float64").grid
    assert np.allclose(theirs, ours[:bins], rtol=0, atol=1e-10)


def test_unlike_tonic_off_events_of_bool_polarity_count_minus_one_and_the_last_event_stays() -> None:
    size = (2, 1, 2)
    events = np.array([(0, 0, 0, False), (10, 1, 0, True)], RECORD)
    theirs = tonic.transforms.ToVoxelGrid(sensor_size=size, n_time_bins=2)(events)
    assert theirs.sum() == 1.0  # OFF as +1, the last event gone
    assert events_to_voxels(events, size, 2).grid[:, 0, 0].tolist() == [[-1.0, 0.0], [0.0, 1.0]]


def test_float32_default_start_and_order_of_events() -> None:
    size = (7, 5, 2)
    events = recording(300, size)
    grid = events_to_voxels(events, size, 4).grid
    assert grid.dtype == np.float32
    later = events.copy()
    later["t"] += 777
    assert np.array_equal(events_to_voxels(later, size, 4).grid, grid)
    assert np.allclose(events_to_voxels(events[::-1], size, 4).grid, grid, atol=1e-5)


def test_number_of_threads_changes_no_bit() -> None:
    events = recording(5000, (5, 4, 2), 100_000)
    before = torch.get_num_threads()
    made = []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            made.append(events_to_voxels(events, (5, 4, 2), 9).grid)
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(made[0], made[1])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"bins": 0}, "bins must be a whole number of at least 1, got 0"),
        ({"bins": 2.5}, "bins must be"),
        ({"dtype": "float16"}, "dtype must be float32 or float64"),
        ({"duration": 0.0}, "duration must be"),
        ({"start": 1.0}, "lies before start=1.0 s"),
        ({"sensor_size": (3, 5, 2)}, "x=6 is out of range"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], text: str) -> None:
    given: dict[str, Any] = {"sensor_size": (7, 5, 2), "bins": 3} | change
    for function in (events_to_voxels, events_to_voxels_reference):
        with pytest.raises(InputError, match=text):
            function(recording(100, (7, 5, 2)), **given)
