"""The event store: whole or absent, readable by workers, and never silent about damage."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from neuro.datasets.events import make_events
from neuro.datasets.store import EventStore, StoreHeader, write_store
from neuro.errors import FileFormatError, InputError

HEADER = StoreHeader((9, 7, 2), duration=0.02, classes=("a", "b", "c"), seed=4, config={"floor": 0.2, "size": 9})
COUNTS = (50, 0, 1, 313, 7)
LABELS = np.array([0, 2, 1, 1, 0])
SPLITS = {"train": np.array([0, 2, 3]), "test": np.array([1, 4])}


def recordings(counts: tuple[int, ...] = COUNTS) -> list[NDArray[np.void]]:
    rng = np.random.default_rng(0)
    highs = (9, 7, 2)
    return [make_events(np.sort(rng.integers(0, 20_000, n)), *(rng.integers(0, h, n) for h in highs)) for n in counts]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "events.h5"
    write_store(target, recordings(), LABELS, HEADER, SPLITS)
    return target


def test_everything_comes_back(path: Path) -> None:
    store = EventStore(path)
    assert len(store) == len(COUNTS)
    assert store.header == HEADER
    assert store.labels.tolist() == LABELS.tolist()
    assert {name: numbers.tolist() for name, numbers in store.splits.items()} == {"train": [0, 2, 3], "test": [1, 4]}
    loaded = store.load()
    assert len(loaded) == len(COUNTS)
    for i, expected in enumerate(recordings()):
        assert store.events(i).tobytes() == expected.tobytes()
        assert loaded.events(i).tobytes() == expected.tobytes()
    assert "5 recordings, 371 events" in repr(store)


def test_stores_larger_than_a_chunk_and_without_samples(tmp_path: Path) -> None:
    many = recordings((40_000, 3, 250_000, 70_000, 1))
    write_store(tmp_path / "large.h5", iter(many), LABELS, HEADER)
    store = EventStore(tmp_path / "large.h5")
    assert all(store.events(i).tobytes() == many[i].tobytes() for i in (4, 2, 1, 3, 0))
    write_store(tmp_path / "none.h5", [], np.zeros(0, np.int64), HEADER)
    assert len(EventStore(tmp_path / "none.h5").load()) == 0


@pytest.mark.parametrize("i", [-1, 5, 99])
def test_there_is_no_such_sample(path: Path, i: int) -> None:
    store = EventStore(path)
    for source in (store, store.load()):
        with pytest.raises(IndexError, match=f"sample {i} of 5"):
            source.events(i)


def test_the_same_recordings_give_the_same_bytes(path: Path, tmp_path: Path) -> None:
    write_store(tmp_path / "again.h5", recordings(), LABELS, HEADER, SPLITS)
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()


def test_plain_hdf5_readers_can_read_it(path: Path) -> None:
    with h5py.File(path) as file:
        assert file["events/x"].shape == (sum(COUNTS),)
        assert file["events/t"].dtype == np.int64
        assert file.attrs["seed"] == 4
    assert path.read_bytes().startswith(b"neuro event store 1\n")


def _read_elsewhere(store: EventStore, i: int, answer: Any) -> None:
    content = store.events(i).tobytes()
    answer.put((i, (content, store._process == os.getpid())))  # its own handle, not the parent's


@pytest.mark.parametrize("context", [get_context("fork"), get_context("spawn")])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_an_open_store_can_be_handed_to_other_processes(
    path: Path, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # a spawned process imports this module by its name
    store = EventStore(path)
    store.events(0)  # the handle is open now
    answer = context.Queue()
    workers = [context.Process(target=_read_elsewhere, args=(store, i, answer)) for i in (0, 3)]
    for worker in workers:
        worker.start()
    found = dict(answer.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join(60)
    assert found == {i: (recordings()[i].tobytes(), True) for i in (0, 3)}
    assert store.events(3).tobytes() == recordings()[3].tobytes()


def test_a_closed_store_opens_again(path: Path) -> None:
    store = EventStore(path)
    first = store.events(3).tobytes()
    store.close()
    store.close()
    assert store.events(3).tobytes() == first


def test_every_truncation_is_named(path: Path) -> None:
    whole = path.read_bytes()
    for length in (0, 1, 17, 100, 511, 512, 513, 2000, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match=rf"events\.h5 at byte {length}: truncated: {length} bytes"):
            EventStore(path)


def test_every_changed_byte_is_noticed(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    for place in [*range(0, 90, 3), *range(512, len(whole), 997)]:
        damaged = whole.copy()
        damaged[place] ^= 0x21
        path.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=r"events\.h5"):
            EventStore(path)
    path.write_bytes(whole + b"more")
    with pytest.raises(FileFormatError, match="corrupt"):
        EventStore(path)


def test_damage_after_opening_is_noticed(path: Path) -> None:
    store = EventStore(path)
    with h5py.File(path) as file:
        chunk = file["events/t"].id.get_chunk_info(0)
    damaged = bytearray(path.read_bytes())
    damaged[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(FileFormatError, match="damaged"):
        store.events(3)


def _foreign_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["events"] = [1, 2]


def _newer(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"store 1\n", b"store 2\n", 1))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda path: path.write_bytes(b"PK\x03\x04 something else" * 99), "no neuro event store"),
        (lambda path: path.write_text("neuro events, or nearly so" * 50), "no neuro event store"),
        (_foreign_hdf5, "no neuro event store but plain HDF5: .* older release; delete the file and make it again"),
        (_newer, "format version 2; this release reads up to 1"),
    ],
)
def test_other_files_are_refused(path: Path, make: Callable[[Path], object], text: str) -> None:
    make(path)
    with pytest.raises(FileFormatError, match=text):
        EventStore(path)


def _resealed(path: Path, change: Callable[[h5py.File], object]) -> None:
    """Change the content and make the text in front fit again."""
    import hashlib

    with h5py.File(path, "r+") as file:
        change(file)
    content = path.read_bytes()[512:]
    front = f"neuro event store 1\nbytes {len(content)}\nsha256 {hashlib.sha256(content).hexdigest()}\n"
    path.write_bytes(front.encode().ljust(512, b"\n") + content)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda file: file.__delitem__("labels"), "labels"),
        (lambda file: file.attrs.__delitem__("duration"), "duration"),
        (lambda file: file.attrs.__setitem__("classes", "[unquoted]"), "damaged"),
        (lambda file: file["offsets"].__setitem__(5, 372), "offsets must rise from 0 .* got 0 to 372 for"),
        (lambda file: file["offsets"].__setitem__(0, 1), "got 1 to 371"),
        (lambda file: file["offsets"].__setitem__(2, 372), "offsets must rise"),
        (lambda file: file["labels"].__setitem__(1, 3), "labels must lie in 0..2"),
        (lambda file: file["splits/test"].__setitem__(0, -1), "split 'test' must lie in 0..4"),
        (lambda file: file["events/x"].resize((370,)), "offsets must rise"),
    ],
)
def test_a_wellformed_file_with_an_impossible_index_is_refused(
    path: Path, change: Callable[[h5py.File], object], text: str
) -> None:
    _resealed(path, change)
    with pytest.raises(FileFormatError, match=text):
        EventStore(path)


def test_absent_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.h5: cannot read the event store \(No such file or directory\)"):
        EventStore(tmp_path / "none.h5")
    with pytest.raises(InputError, match="Is a directory"):
        EventStore(tmp_path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"labels": LABELS[:4]}, "4 labels for 5 recordings"),
        ({"labels": LABELS + 1}, "labels must lie in 0..2, got 1..3"),
        ({"splits": {"train": np.array([5])}}, "split 'train' must lie in 0..4"),
        ({"samples": [events[::-1] for events in recordings()]}, "sort by t"),
        ({"samples": [np.zeros((3, 4)) for _ in COUNTS]}, "dtype"),
    ],
)
def test_unusable_recordings_leave_the_earlier_file(path: Path, change: dict[str, Any], text: str) -> None:
    before = path.read_bytes()
    arguments: dict[str, Any] = {"samples": recordings(), "labels": LABELS, "splits": SPLITS} | change
    with pytest.raises(InputError, match=text):
        write_store(path, header=HEADER, **arguments)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_the_earlier_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        InputError, match=r"events\.h5: cannot write the event store \(No space left on device\)"
    ) as error:
        write_store(path, recordings((3,) * 5), LABELS, HEADER)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_halfway_leaves_the_earlier_file(path: Path) -> None:
    """A real failing write: the process may not make files longer than 20 kB."""
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(InputError, match="File too large"):
            write_store(path, recordings((40_000,) * 5), LABELS, HEADER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent/events\.h5: cannot write the event store \(No such file"):
        write_store(tmp_path / "absent" / "events.h5", recordings(), LABELS, HEADER)
