"""Named splits and recordings as frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from neuro.datasets.events import make_events
from neuro.datasets.splits import FrameDataset, collate, describe, stratified
from neuro.datasets.store import EventStore, Recordings, StoreHeader, write_store
from neuro.errors import InputError

SIZE = (4, 3, 2)
LABELS = np.array([2, 0, 1, 2, 1, 0, 2])
INDICES = np.array([5, 0, 3, 6])


def recordings() -> Recordings:
    rng = np.random.default_rng(8)
    counts = [30, 0, 4, 17, 90, 1, 55]
    samples = [make_events(np.sort(rng.integers(0, 9000, n)), *(rng.integers(0, h, n) for h in SIZE)) for n in counts]
    return Recordings(np.concatenate(samples), np.cumsum([0, *counts]), LABELS)


def dataset(**change: Any) -> FrameDataset:
    arguments: dict[str, Any] = {"source": recordings(), "indices": INDICES, "sensor_size": SIZE}
    arguments |= {"dt": 2e-3, "duration": 9e-3}
    return FrameDataset(**(arguments | change))


def test_frames_are_binary_and_hold_each_event_at_its_place() -> None:
    data = dataset()
    for i in range(len(data)):
        frames, label = data[i]
        expected = torch.zeros(5, 2 * 3 * 4)
        for t, x, y, p in data.events(i).tolist():
            expected[t // 2000, (int(p) * 3 + y) * 4 + x] = 1.0
        assert torch.equal(frames, expected)
        assert frames.dtype == torch.float32
        assert label == LABELS[INDICES[i]]


def test_layouts_hold_the_same_frames() -> None:
    flat, frames = dataset(), dataset(layout="frames")
    assert flat.shape == (5, 24)
    assert frames.shape == (5, 2, 3, 4)
    assert torch.equal(frames[3][0].flatten(1), flat[3][0])


def test_tensors_put_time_first() -> None:
    data = dataset(layout="frames")
    x, y = data.tensors()
    assert x.shape == (5, 4, 2, 3, 4)
    assert x.dtype == torch.float32
    assert y.tolist() == LABELS[INDICES].tolist()
    for i in range(4):
        assert torch.equal(x[:, i], data[i][0])
    some, labels = data.tensors([3, 1], dtype=torch.uint8)
    assert some.dtype == torch.uint8
    assert torch.equal(some.float(), x[:, [3, 1]])
    assert labels.tolist() == y[[3, 1]].tolist()
    nothing, none = data.tensors([])
    assert nothing.shape == (5, 0, 2, 3, 4)
    assert len(none) == 0


def test_indexing_ends() -> None:
    data = dataset()
    with pytest.raises(IndexError):
        data[4]
    assert torch.equal(data[-1][0], data[3][0])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_loader_with_workers_reads_the_store(tmp_path: Path, workers: int) -> None:
    memory = recordings()
    header = StoreHeader(SIZE, 9e-3, ("a", "b", "c"), 0)
    write_store(tmp_path / "e.h5", (memory.events(i) for i in range(7)), LABELS, header)
    store = EventStore(tmp_path / "e.h5")
    store.events(0)
    data = dataset(source=store)
    batches = list(DataLoader(data, batch_size=3, collate_fn=collate, num_workers=workers))
    x, y = dataset().tensors()
    assert [tuple(frames.shape) for frames, _ in batches] == [(5, 3, 24), (5, 1, 24)]
    assert torch.equal(torch.cat([frames for frames, _ in batches], dim=1), x)
    assert torch.equal(torch.cat([labels for _, labels in batches]), y)


def test_late_events_are_an_error_not_a_loss() -> None:
    short = dataset(duration=4e-3)
    with pytest.raises(InputError, match=r"sample 1: \d+ events at or after the duration 0.004 s"):
        short[1]
    with pytest.raises(InputError, match="give a longer one"):
        short.tensors()


def test_unusable_settings_are_refused_at_once() -> None:
    with pytest.raises(InputError, match="unknown layout 'flatt'; did you mean 'flat'"):
        dataset(layout="flatt")
    with pytest.raises(InputError, match="dt must be"):
        dataset(dt=0.0)


@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    seed=st.integers(0, 99),
    test=st.floats(0.0, 1.0),
)
def test_stratified_parts_every_class_alike(counts: list[int], seed: int, test: float) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(seed).shuffle(labels)
    parts = stratified(labels, seed, {"a": (1 - test) / 2, "b": (1 - test) / 2, "c": test})
    together = np.concatenate(list(parts.values()))
    assert sorted(together.tolist()) == list(range(len(labels)))
    for number, count in enumerate(counts):
        in_test = np.count_nonzero(labels[parts["c"]] == number)
        assert abs(in_test - test * count) <= 0.5 + 1e-9
    again = stratified(labels, seed, {"a": (1 - test) / 2, "b": (1 - test) / 2, "c": test})
    assert all(np.array_equal(parts[name], again[name]) for name in parts)


def test_another_seed_parts_differently() -> None:
    labels = np.repeat(np.arange(3), 20)
    assert not np.array_equal(stratified(labels, 0)["test"], stratified(labels, 1)["test"])


@pytest.mark.parametrize("fractions", [{"a": 0.5}, {"a": 1.5, "b": -0.5}, {}])
def test_fractions_must_add_up(fractions: dict[str, float]) -> None:
    with pytest.raises(InputError, match="add up to 1"):
        stratified(LABELS, 0, fractions)


def test_the_description_counts_every_class() -> None:
    text = describe(
        "pairs", {"train": dataset(), "test": dataset(indices=np.array([1, 2]))}, ("zero", "one", "two"), "by hand"
    )
    assert "pairs: 6 recordings, by hand" in text
    assert "5 bins of 2 ms, frames [5, 24]" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["train", "1", "0", "3", "4"] in lines
    assert ["test", "1", "1", "0", "2"] in lines
