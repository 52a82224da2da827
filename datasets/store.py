"""The event store: many recordings in one HDF5 file.

Layout (format version 1)::

    bytes 0..511      text: format and version, number of bytes that follow, their SHA-256
    /events/t,x,y,p   [E] all events, sample after sample; chunked, compressed by zlib (which checks itself)
    /offsets          [S + 1] sample i is events[offsets[i]:offsets[i + 1]]
    /labels           [S] class number of each sample
    /splits/<name>    numbers of the samples that belong to a split
    attributes        version, sensor_size, duration (seconds), classes (JSON), seed, config (JSON)

The text in front is an HDF5 user block, which other HDF5 readers skip. It is compared with the file before
HDF5 sees a byte of it, for HDF5 is not safe with damaged files; and a new file is composed in memory (compressed)
and written by Python, for HDF5 crashes the process when a disk is full. A store is written whole or
not at all, holds no code, and the same recordings give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuro.datasets.events import EVENT_DTYPE, check_events
from neuro.errors import FileFormatError, InputError
from neuro.files import atomic_write

__all__ = ["EventStore", "Recordings", "StoreHeader", "write_store"]

FORMAT = "neuro event store"
VERSION = 1
BLOCK = 512
"""Bytes of the text in front (the smallest HDF5 user block)."""

KIND = f"{FORMAT} ".encode()
_FRONT = re.compile(KIND + rb"(?P<version>\d{1,9})\nbytes (?P<bytes>\d{1,18})\nsha256 (?P<digest>[0-9a-f]{64})\n+")

CURE = "delete the file and make it again"
COLUMNS = ("t", "x", "y", "p")
CHUNK = 1 << 13
"""Events per chunk: small enough that one sample is cheap to read, large enough to compress."""


@dataclass(frozen=True)
class StoreHeader:
    """What a store says about its recordings.

    Attributes:
        sensor_size: (width, height, polarities).
        duration: of every recording, seconds.
        classes: name of each class, in the order of the labels.
        seed: of everything random in the making.
        config: parameters that made the recordings (JSON values).
    """

    sensor_size: tuple[int, int, int]
    duration: float
    classes: tuple[str, ...]
    seed: int
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Recordings:
    """Recordings in memory.

    Attributes:
        all_events: events of all samples one after the other, ``[E]``.
        offsets: sample ``i`` is ``all_events[offsets[i]:offsets[i + 1]]``, ``[S + 1]``.
        labels: class numbers ``[S]``.
    """

    all_events: NDArray[np.void] = field(repr=False)
    offsets: NDArray[np.int64] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def events(self, i: int) -> NDArray[np.void]:
        """Events of sample ``i``, a view; IndexError where there is none."""
        start, stop = _bounds(self.offsets, i)
        return self.all_events[start:stop]


def write_store(
    path: str | Path,
    samples: Iterable[NDArray[np.void]],
    labels: NDArray[np.int64],
    header: StoreHeader,
    splits: Mapping[str, NDArray[np.int64]] = MappingProxyType({}),
) -> None:
    """Write recordings to ``path``, whole or not at all.

    Args:
        path: the file; an earlier one stays as it is until the new one is complete.
        samples: event arrays, one per label, taken one at a time.
        labels: class numbers ``[S]``.
        header: what the store says about them.
        splits: numbers of the samples in each named split.

    Raises:
        InputError: events that do not fit the header, another number of samples than labels, labels or
            splits out of range, no room on the disk, no permission to write.

    >>> import tempfile
    >>> from neuro.datasets.events import make_events
    >>> path = Path(tempfile.mkdtemp()) / "two.h5"
    >>> header = StoreHeader((4, 3, 2), duration=0.1, classes=("a", "b"), seed=0)
    >>> write_store(path, [make_events([7], [3], [2], [1]), make_events([], [], [], [])], np.array([0, 1]), header)
    >>> store = EventStore(path)
    >>> store.events(0).tolist(), len(store.events(1)), store.header.classes
    ([(7, 3, 2, True)], 0, ('a', 'b'))
    """
    target = Path(path)
    content = _compose(samples, np.asarray(labels, np.int64), header, splits)
    digest = hashlib.sha256(content).hexdigest()
    front = KIND + f"{VERSION}\nbytes {len(content)}\nsha256 {digest}\n".encode()
    try:
        with atomic_write(target) as temporary, temporary.open("wb") as stream:
            stream.write(front.ljust(BLOCK, b"\n"))
            stream.write(content)
    except OSError as error:
        cure = "make room there or name another place"
        raise InputError(f"{target}: cannot write the event store ({error.strerror or error}); {cure}") from error


def _compose(
    samples: Iterable[NDArray[np.void]],
    labels: NDArray[np.int64],
    header: StoreHeader,
    splits: Mapping[str, NDArray[np.int64]],
) -> bytes:
    """The HDF5 part of the file."""
    memory = {"driver": "core", "backing_store": False, "block_size": 1 << 20}
    with h5py.File("event store", "w", libver=("v110", "v110"), userblock_size=BLOCK, **memory) as file:
        offsets = _write_events(file, samples, header.sensor_size)
        _check_index(offsets, labels, splits, header, int(offsets[-1]))
        file["offsets"], file["labels"] = offsets, labels
        file.create_group("splits")
        for name, numbers in splits.items():
            file[f"splits/{name}"] = np.asarray(numbers, np.int64)
        file.attrs.update(
            version=VERSION,
            sensor_size=header.sensor_size,
            duration=float(header.duration),
            classes=json.dumps(header.classes),
            seed=header.seed,
            config=json.dumps(dict(header.config), sort_keys=True),
        )
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def _write_events(
    file: h5py.File, samples: Iterable[NDArray[np.void]], sensor_size: tuple[int, int, int]
) -> NDArray[np.int64]:
    """Append all events to their columns; return the offsets."""
    packing = {"chunks": (CHUNK,), "compression": "gzip", "compression_opts": 1, "shuffle": True}
    for name in COLUMNS:
        file.create_dataset(f"events/{name}", (0,), EVENT_DTYPE[name], maxshape=(None,), **packing)
    offsets = [0]
    for block in _blocks(samples, sensor_size, offsets):
        for name in COLUMNS:
            dataset = file[f"events/{name}"]
            start = len(dataset)
            dataset.resize((start + len(block),))
            dataset[start:] = block[name]
    return np.array(offsets, np.int64)


def _blocks(
    samples: Iterable[NDArray[np.void]], sensor_size: tuple[int, int, int], offsets: list[int]
) -> Iterator[NDArray[np.void]]:
    """Samples joined to blocks of a few chunks; notes in ``offsets`` where each ends."""
    waiting: list[NDArray[np.void]] = []
    written = 0
    for events in samples:
        check_events(events, sensor_size)
        waiting.append(events)
        offsets.append(offsets[-1] + len(events))
        if offsets[-1] - written >= 32 * CHUNK:
            yield np.concatenate(waiting)
            waiting, written = [], offsets[-1]
    if waiting:
        yield np.concatenate(waiting)


class EventStore:
    """Random access to the recordings of one file.

    Making a store reads the file once, to compare it with its checksum. It is then opened when the first
    recording is asked for, once in each process, so that a store can be handed to the workers of a
    data loader.

    Args:
        path: a file made by :func:`write_store`.

    Attributes:
        path: the file.
        header: what it says about the recordings.
        offsets: where each sample starts and ends among all events, ``[S + 1]``.
        labels: class numbers ``[S]``.
        splits: sample numbers of each named split.

    Raises:
        InputError: there is no such file, or it may not be read.
        FileFormatError: the file is truncated, corrupt, of another kind or of a newer format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._process = 0
        with _reading(self.path):
            _verify(self.path)
            with h5py.File(self.path, "r", locking=False) as file:
                self.header = _read_header(file)
                self.offsets: NDArray[np.int64] = file["offsets"][()]
                self.labels: NDArray[np.int64] = file["labels"][()]
                self.splits: Mapping[str, NDArray[np.int64]] = MappingProxyType(
                    {name: numbers[()] for name, numbers in file["splits"].items()}
                )
                lengths = {len(file[f"events/{name}"]) for name in COLUMNS}
            _check_index(self.offsets, self.labels, self.splits, self.header, *lengths)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"EventStore({str(self.path)!r}: {len(self)} recordings, {self.offsets[-1]} events)"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "splits": dict(self.splits)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, splits=MappingProxyType(state["splits"]))

    def events(self, i: int) -> NDArray[np.void]:
        """Events ``[E]`` of sample ``i``, read from the file.

        Raises:
            IndexError: no such sample.
            FileFormatError: the file was damaged after the store was made.
        """
        return self._read(*_bounds(self.offsets, i))

    def load(self) -> Recordings:
        """All recordings, in memory."""
        return Recordings(self._read(0, int(self.offsets[-1])), self.offsets, self.labels)

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = None

    def _read(self, start: int, stop: int) -> NDArray[np.void]:
        events = np.empty(stop - start, EVENT_DTYPE)
        with _reading(self.path):
            file = self._opened()
            for name in COLUMNS:
                events[name] = file[f"events/{name}"][start:stop]
        return events

    def _opened(self) -> h5py.File:
        if self._file is None or self._process != os.getpid():  # one inherited through fork shares its position
            self._file, self._process = h5py.File(self.path, "r", locking=False), os.getpid()
        return self._file


def _bounds(offsets: NDArray[np.int64], i: int) -> tuple[int, int]:
    if not 0 <= i < len(offsets) - 1:
        raise IndexError(f"sample {i} of {len(offsets) - 1} recordings")
    return int(offsets[i]), int(offsets[i + 1])


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what Python and h5py raise for a bad file into an error that names the file."""
    try:
        yield
    except FileFormatError:
        raise
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise InputError(f"{path}: cannot read the event store ({os.strerror(error.errno or 0)})") from error
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).strip("'\"").split())
        raise FileFormatError(path, f"the event store is damaged ({reason}); {CURE}") from error


def _verify(path: Path) -> None:
    """Compare the file with the text in front of it."""
    with path.open("rb") as stream:
        front = stream.read(BLOCK)
        size = path.stat().st_size
        if front.startswith(b"\x89HDF"):
            problem = f"no {FORMAT} but plain HDF5: another file, or one of an older release; {CURE}"
            raise FileFormatError(path, problem, offset=0)
        if not (front.startswith(KIND) or KIND.startswith(front)):
            raise FileFormatError(path, f"no {FORMAT} (it begins with {front[:12]!r})", offset=0)
        if size < BLOCK:
            raise _truncated(path, size, BLOCK)
        fields = _FRONT.fullmatch(front)
        if fields is None:
            raise FileFormatError(path, f"the first {BLOCK} bytes are damaged; {CURE}", offset=0)
        if int(fields["version"]) > VERSION:
            raise FileFormatError(path, f"format version {int(fields['version'])}; this release reads up to {VERSION}")
        whole = BLOCK + int(fields["bytes"])
        if size < whole:
            raise _truncated(path, size, whole)
        if hashlib.file_digest(stream, "sha256").hexdigest() != fields["digest"].decode():
            raise FileFormatError(path, f"corrupt: the content does not match its SHA-256; {CURE}")


def _truncated(path: Path, size: int, whole: int) -> FileFormatError:
    problem = f"truncated: {size} bytes are left of at least {whole}; {CURE}"
    return FileFormatError(path, problem, offset=size)


def _read_header(file: h5py.File) -> StoreHeader:
    attributes = file.attrs
    width, height, polarities = (int(n) for n in attributes["sensor_size"])
    return StoreHeader(
        sensor_size=(width, height, polarities),
        duration=float(attributes["duration"]),
        classes=tuple(json.loads(attributes["classes"])),
        seed=int(attributes["seed"]),
        config=json.loads(attributes["config"]),
    )


def _check_index(
    offsets: NDArray[np.int64],
    labels: NDArray[np.int64],
    splits: Mapping[str, NDArray[np.int64]],
    header: StoreHeader,
    *lengths: int,
) -> None:
    """Refuse an index that points outside; ``lengths`` are the different lengths of the event columns."""
    if len(offsets) != len(labels) + 1:
        raise InputError(f"{len(labels)} labels for {len(offsets) - 1} recordings; there must be one for each")
    if lengths != (offsets[-1],) or offsets[0] != 0 or (np.diff(offsets) < 0).any():
        seen = f"{offsets[0]} to {offsets[-1]} for {lengths} events"
        raise InputError(f"offsets must rise from 0 to the number of events in each column, got {seen}")
    for name, numbers, end in [("labels", labels, len(header.classes))] + [
        (f"split {name!r}", numbers, len(labels)) for name, numbers in splits.items()
    ]:
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < end):
            raise InputError(f"{name} must lie in 0..{end - 1}, got {numbers.min()}..{numbers.max()}")
