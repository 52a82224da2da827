"""The event store: many recordings in one HDF5 file.

Layout (format version 1)::

    /events/t  /events/x  /events/y  /events/p    [E] all events, sample after sample; chunked, compressed
    /offsets                                      [S + 1] sample i is events[offsets[i]:offsets[i + 1]]
    /labels                                       [S] class number of each sample
    /splits/<name>                                numbers of the samples that belong to a split
    attributes: format, version, header (JSON: sensor size, duration, classes, seed, configuration,
                SHA-256 of each column), checksum (SHA-256 of header, offsets, labels and splits)

Every chunk carries a Fletcher-32 checksum, which HDF5 verifies when it reads it. A file is written whole or not
at all, holds no code, and the same recordings give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
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
COLUMNS = ("t", "x", "y", "p")
CHUNK = 1 << 15
"""Events per chunk: small enough that one sample costs little to read, large enough to compress."""


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

    all_events: NDArray[np.void]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def events(self, i: int) -> NDArray[np.void]:
        """Events of sample ``i``, a view."""
        return self.all_events[self.offsets[i] : self.offsets[i + 1]]


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
        InputError: events that do not fit the header, another number of samples than labels, no room
            on the disk or no permission to write.
    """
    target = Path(path)
    labels = np.asarray(labels, np.int64)
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(header.classes)):
        raise InputError(f"labels must lie in 0..{len(header.classes) - 1}, got {labels.min()}..{labels.max()}")
    try:
        # Made in memory: HDF5 does not survive a disk that fills up under it (it crashes the process at close).
        with h5py.File(target, "w", driver="core", backing_store=False, libver=("v110", "v110")) as file:
            _fill(file, samples, labels, header, splits)
            file.flush()
            image = file.id.get_file_image()
        with atomic_write(target) as temporary:
            temporary.write_bytes(image)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InputError(
            f"{target}: cannot write the event store ({reason}); free space or name another place"
        ) from error


def _fill(
    file: h5py.File,
    samples: Iterable[NDArray[np.void]],
    labels: NDArray[np.int64],
    header: StoreHeader,
    splits: Mapping[str, NDArray[np.int64]],
) -> None:
    columns = {
        name: file.create_dataset(
            f"events/{name}",
            (0,),
            EVENT_DTYPE[name],
            maxshape=(None,),
            chunks=(CHUNK,),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
            fletcher32=True,
        )
        for name in COLUMNS
    }
    digests = {name: hashlib.sha256() for name in COLUMNS}
    offsets = [0]
    for block in _blocks(samples, header.sensor_size, offsets):
        start = columns["t"].shape[0]
        for name, dataset in columns.items():
            values = np.ascontiguousarray(block[name])
            dataset.resize((start + len(block),))
            dataset[start:] = values
            digests[name].update(values.tobytes())
    if len(offsets) != len(labels) + 1:
        raise InputError(f"{len(labels)} labels for {len(offsets) - 1} recordings; there must be one for each")
    file["offsets"] = np.array(offsets, np.int64)
    file["labels"] = labels
    file.create_group("splits")
    for name, numbers in splits.items():
        file[f"splits/{name}"] = np.asarray(numbers, np.int64)
    text = json.dumps(asdict(header) | {"digests": {n: d.hexdigest() for n, d in digests.items()}}, sort_keys=True)
    file.attrs.update(format=FORMAT, version=VERSION, header=text, checksum=_checksum(file, text))


def _blocks(
    samples: Iterable[NDArray[np.void]], sensor_size: tuple[int, int, int], offsets: list[int]
) -> Iterator[NDArray[np.void]]:
    """Samples joined to blocks of a few chunks; notes where each ends in ``offsets``."""
    waiting: list[NDArray[np.void]] = []
    size = 0
    for events in samples:
        check_events(events, sensor_size)
        offsets.append(offsets[-1] + len(events))
        waiting.append(events)
        size += len(events)
        if size >= 8 * CHUNK:
            yield np.concatenate(waiting)
            waiting, size = [], 0
    if waiting:
        yield np.concatenate(waiting)


def _checksum(file: h5py.File, header: str) -> str:
    digest = hashlib.sha256(header.encode())
    for name in ("offsets", "labels", *(f"splits/{name}" for name in sorted(file["splits"]))):
        digest.update(name.encode() + file[name][()].astype("<i8").tobytes())
    return digest.hexdigest()


class EventStore:
    """Random access to the recordings of one file.

    The file is opened when the first recording is read, once in each process, so that a store can be
    handed to several workers of a data loader.

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
        FileFormatError: the file is truncated, corrupt, foreign or of a newer format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._process = 0
        with _reading(self.path), h5py.File(self.path, "r", locking=False) as file:
            _check_format(self.path, file)
            text = str(file.attrs["header"])
            if _checksum(file, text) != file.attrs["checksum"]:
                raise FileFormatError(self.path, "the index does not match its checksum; the file is corrupt")
            fields = json.loads(text)
            self._digests: dict[str, str] = fields.pop("digests")
            self.offsets: NDArray[np.int64] = file["offsets"][()]
            self.labels: NDArray[np.int64] = file["labels"][()]
            self.splits: Mapping[str, NDArray[np.int64]] = MappingProxyType(
                {name: numbers[()] for name, numbers in file["splits"].items()}
            )
            lengths = {name: file[f"events/{name}"].shape for name in COLUMNS}
        if set(lengths.values()) != {(int(self.offsets[-1]),)}:
            raise FileFormatError(
                self.path, f"the index promises {self.offsets[-1]} events, the columns hold {lengths}"
            )
        fields["sensor_size"], fields["classes"] = tuple(fields["sensor_size"]), tuple(fields["classes"])
        self.header = StoreHeader(**fields)

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
            FileFormatError: a chunk does not match its checksum, or the file has shrunk.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"sample {i} of a store with {len(self)}")
        return self._read(int(self.offsets[i]), int(self.offsets[i + 1]))

    def load(self) -> Recordings:
        """All recordings in memory, each column compared with its SHA-256.

        Raises:
            FileFormatError: a column does not match.
        """
        events = self._read(0, int(self.offsets[-1]))
        for name in COLUMNS:
            if hashlib.sha256(np.ascontiguousarray(events[name]).tobytes()).hexdigest() != self._digests[name]:
                raise FileFormatError(self.path, f"column {name} does not match its checksum; the file is corrupt")
        return Recordings(events, self.offsets, self.labels)

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = None

    def _read(self, start: int, stop: int) -> NDArray[np.void]:
        if self._process != os.getpid():  # a handle inherited through fork shares its state with the parent's
            self._file, self._process = None, os.getpid()
        events = np.empty(stop - start, EVENT_DTYPE)
        with _reading(self.path):
            if self._file is None:
                self._file = h5py.File(self.path, "r", locking=False)
            for name in COLUMNS:
                events[name] = self._file[f"events/{name}"][start:stop]
        return events


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what h5py raises for a bad file into an error that names the file."""
    try:
        yield
    except FileFormatError:
        raise
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise InputError(f"{path}: cannot read the event store ({os.strerror(error.errno or 0)})") from error
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip("'\"").splitlines()[0]
        raise FileFormatError(path, f"truncated, corrupt or no event store ({reason})") from error


def _check_format(path: Path, file: h5py.File) -> None:
    if file.attrs.get("format") != FORMAT:
        raise FileFormatError(path, f"an HDF5 file, but no {FORMAT}")
    if int(file.attrs["version"]) > VERSION:
        raise FileFormatError(path, f"format version {file.attrs['version']}, this release reads up to {VERSION}")
