"""N-MNIST: the digits of MNIST as a real event camera saw them (Orchard et al. 2015).

An ATIS camera of 34 x 34 pixels moved in three saccades of 100 ms before each digit of MNIST. 60,000 recordings train and 10,000 test,
one file each; a part of them, with lists of file numbers and classes, is used in the same way. Nothing is downloaded.
"""

from __future__ import annotations

import lzma
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from neuro.datasets.events import EVENT_DTYPE, check_events
from neuro.datasets.splits import FrameDataset, Splits, check_frames, describe, stratified
from neuro.errors import FileFormatError, InputError

__all__ = ["decode_atis", "nmnist"]

CLASSES = tuple("0123456789")
SENSOR_SIZE = (34, 34, 2)
HELD_OUT = 0.1
"""Share of the training recordings that chooses the model."""

_EVENT = 5
_OVERFLOW = 240
"""The row that stands in an event which only says that the clock went on."""
_OVERFLOW_STEP = 1 << 13
_LIST = re.compile(r"(?P<part>train|test)\w*\.txt")


def nmnist(
    source: str | Path, *, dt: float = 10e-3, duration: float = 0.3, layout: str = "flat", seed: int = 0
) -> Splits:
    """N-MNIST in its own training and test recordings; a part of the training ones is kept for validation.

    N-MNIST has no validation split; a tenth of the training recordings of each class, drawn with ``seed``, is kept from
    training and chooses the model.

    Args:
        source: the folder with ``Train/7/00123.bin`` and ``Test/...`` (or with ``NMNIST/`` around them, as Tonic leaves it), or
            a folder or tar archive of numbered ``.bs2`` or ``.bin`` files with lists ``train*.txt`` and ``test*.txt`` of number and class.
        dt: width of a time bin in seconds.
        duration: of every sample in seconds; what a recording holds beyond is left out.
        layout: ``"flat"`` for frames ``[T, 2*34*34]``, ``"frames"`` for ``[T, 2, 34, 34]``.
        seed: of the draw that parts training and validation.

    Raises:
        InputError: no such recordings, a parameter out of range.
        FileFormatError: a damaged recording, list or archive; the message names the file.
    """
    check_frames(dt, duration, layout)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed must be a whole number from 0, got {seed!r}")
    train, test = _find(Path(source), duration)
    drawn = stratified(train.labels, seed, {"train": 1 - HELD_OUT, "validation": HELD_OUT})
    chosen = {"train": (train, drawn["train"]), "validation": (train, drawn["validation"])}
    parts = {
        name: FrameDataset(recordings, numbers, SENSOR_SIZE, dt, duration, layout)
        for name, (recordings, numbers) in {**chosen, "test": (test, np.arange(len(test.labels)))}.items()
    }
    empty = [name for name, part in parts.items() if not len(part)]
    if empty:
        raise InputError(f"{source}: no recording for {', '.join(empty)}; too few to keep a tenth for validation")
    split = (
        f"validation: {len(parts['validation'])} of the {len(train.labels)} training recordings, a tenth of each class with "
        f"seed {seed}"
    )
    return Splits(
        "nmnist",
        **parts,
        classes=CLASSES,
        sensor_size=SENSOR_SIZE,
        dt=dt,
        description=describe("nmnist", parts, CLASSES, split),
        split=split,
    )


def decode_atis(content: bytes, file: str | Path = "recording") -> NDArray[np.void]:
    """Events ``[E]`` of a recording of N-MNIST: x, y, and 1 bit of polarity over 23 bits of microseconds, 5 bytes an event.

    Args:
        content: of the file.
        file: its name, for messages.

    Raises:
        FileFormatError: the content is cut off inside an event, or no recording of a camera of 34 x 34 pixels.

    >>> decode_atis(bytes([3, 7, 0x80, 1, 0])).tolist()
    [(256, 3, 7, True)]
    """
    if len(content) % _EVENT:
        raise FileFormatError(file, f"is cut off inside an event ({len(content)} bytes, {_EVENT} an event)")
    raw = np.frombuffer(content, np.uint8).reshape(-1, _EVENT).astype(np.int64)
    clock = raw[:, 1] == _OVERFLOW
    every = np.empty(len(raw), EVENT_DTYPE)
    every["t"] = ((raw[:, 2] & 0x7F) << 16 | raw[:, 3] << 8 | raw[:, 4]) + _OVERFLOW_STEP * np.cumsum(clock)
    every["x"], every["y"], every["p"] = raw[:, 0], raw[:, 1], raw[:, 2] >> 7
    events: NDArray[np.void] = every[~clock]
    try:
        check_events(events, SENSOR_SIZE)
    except InputError as error:
        raise FileFormatError(file, f"not a recording of N-MNIST ({error})") from None
    return events


@dataclass(frozen=True, eq=False)
class _Files:
    """Recordings decoded whenever one is asked for: files, or their bytes where they come from an archive."""

    files: Sequence[Path]
    labels: NDArray[np.int64] = field(repr=False)
    duration: float
    held: Mapping[Path, bytes] = field(default_factory=dict, repr=False)

    def events(self, i: int) -> NDArray[np.void]:
        file = self.files[i]
        try:
            content = self.held[file] if self.held else file.read_bytes()
        except OSError as error:
            raise InputError(f"{file}: cannot read the recording ({error.strerror or error})") from error
        events = decode_atis(content, file)
        return events[events["t"] < round(1e6 * self.duration)]


def _find(source: Path, duration: float) -> tuple[_Files, _Files]:
    """The training and the test recordings."""
    if not source.exists():
        raise InputError(f"{source}: no such folder or archive; name the one that holds N-MNIST")
    for root in (source, source / "NMNIST"):
        if (root / "Train").is_dir():
            return _by_class(root / "Train", duration), _by_class(root / "Test", duration)
    held = {} if source.is_dir() else _unpacked(source)
    there = sorted(source.rglob("*.txt")) if source.is_dir() else sorted(held)
    lists = {found["part"]: path for path in there if (found := _LIST.fullmatch(path.name))}
    if set(lists) != {"train", "test"}:
        raise InputError(
            f"{source}: holds neither Train/ and Test/ with a folder for each digit, nor lists train*.txt and test*.txt"
        )
    return _listed(lists["train"], held, duration), _listed(lists["test"], held, duration)


def _by_class(folder: Path, duration: float) -> _Files:
    found = [(path, int(digit)) for digit in CLASSES for path in sorted((folder / digit).glob("*.bin"))]
    if not found:
        raise InputError(f"{folder}: holds no recording such as {folder.name}/7/00123.bin; unpack all of N-MNIST")
    return _Files([path for path, _ in found], np.array([digit for _, digit in found]), duration)


def _unpacked(archive: Path) -> dict[Path, bytes]:
    held: dict[Path, bytes] = {}
    try:
        with tarfile.open(archive, "r|*") as members:
            for member in members:
                stream = members.extractfile(member) if member.isfile() else None
                if stream is not None and PurePosixPath(member.name).suffix in (".bs2", ".bin", ".txt"):
                    held[archive / member.name] = stream.read()
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        raise FileFormatError(archive, f"not a whole tar archive ({error})") from error
    return held


def _listed(table: Path, held: Mapping[Path, bytes], duration: float) -> _Files:
    """The recordings of a list, whose lines are number and class."""
    text = (held[table] if held else table.read_bytes()).decode("ascii", "replace")
    files, labels = [], []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if len(words) != 2 or not words[0].isdecimal() or words[1] not in CLASSES:
            raise FileFormatError(table, f"line {number} must be a file number and a class from 0 to 9, is {line!r}")
        wanted = [table.parent / f"{words[0]}{suffix}" for suffix in (".bs2", ".bin")]
        there = [path for path in wanted if (path in held if held else path.exists())]
        if not there:
            raise InputError(f"{wanted[0]} is not there, but line {number} of {table} names it; unpack all recordings")
        files.append(there[0])
        labels.append(int(words[1]))
    return _Files(files, np.array(labels, np.int64), duration, held)
