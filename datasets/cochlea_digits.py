"""Spoken digits as a silicon cochlea heard them: the Free Spoken Digit Dataset, split by speaker.

3,000 recordings at 8 kHz, ten digits by six speakers fifty times (Jackson et al. 2018, github.com/Jakobovski/
free-spoken-digit-dataset, CC BY-SA 4.0), named ``7_theo_31.wav``. Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import lzma
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuro.datasets.cochlea import CochleaConfig, hear
from neuro.datasets.sound import read_wav
from neuro.datasets.splits import FrameDataset, Splits, check_frames, describe
from neuro.datasets.store import VERSION, EventStore, StoreHeader, write_store
from neuro.errors import FileFormatError, InputError, unknown_name
from neuro.files import cache_folder, usable_folder

__all__ = ["SPEAKERS", "spoken_digits"]

logger = logging.getLogger(__name__)

RECIPE = 1
"""Raised whenever the same parameters would give other events, so that older caches are not taken for new."""

CLASSES = tuple("0123456789")
SPEAKERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"train": ("george", "jackson", "lucas", "nicolas"), "validation": ("theo",), "test": ("yweweler",)}
)
"""Who is in which part: the alphabet, cut in three, so that nobody is heard in two parts."""

_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<take>\d+)\.wav")


def spoken_digits(
    source: str | Path,
    cache: str | Path | None = None,
    *,
    cochlea: CochleaConfig | None = None,
    dt: float = 8e-3,
    duration: float = 0.8,
    speakers: Mapping[str, Iterable[str]] = SPEAKERS,
) -> Splits:
    """Spoken digits through a silicon cochlea, each speaker in one part only.

    The events are made once, in some seconds, and kept in an event store; a split by other speakers or other bins
    use the same one.

    Args:
        source: folder of the WAV files, or the tar archive that holds them.
        cache: folder of the event store; by default ``$NEURO_CACHE`` or the user's cache folder. The file's name
            carries a hash of the recordings and of every parameter of the cochlea.
        cochlea: how the sound becomes events.
        dt: width of a time bin in seconds.
        duration: of every sample in seconds; what a longer recording holds beyond is left out.
        speakers: who is in ``train``, ``validation`` and ``test``.

    Raises:
        InputError: no such recordings, a parameter out of range, an unknown speaker, one in two parts, a cache folder
            that cannot be written.
        FileFormatError: a damaged recording, archive or event store; the message names the file.
    """
    check_frames(dt, duration, "flat")
    ear = CochleaConfig() if cochlea is None else cochlea
    if not isinstance(ear, CochleaConfig):
        raise InputError(f"cochlea must be a CochleaConfig, got {cochlea!r}")
    config = {"recipe": RECIPE, "recordings": _fingerprint(Path(source)), "duration": duration, "cochlea": asdict(ear)}
    path = _store_path(cache, config)
    if not path.exists():
        _hear_all(path, Path(source), ear, duration, config)
    store = EventStore(path)
    recordings = store.load()
    store.close()
    parts = {
        name: FrameDataset(recordings, members, ear.sensor_size, dt, duration)
        for name, members in _parts(store.splits, speakers).items()
    }
    split = "split by speaker (" + "; ".join(f"{name} {', '.join(speakers[name])}" for name in parts) + ")"
    return Splits(
        "spoken_digits",
        **parts,
        classes=CLASSES,
        sensor_size=ear.sensor_size,
        dt=dt,
        description=describe("spoken_digits", parts, CLASSES, split),
        split=split,
    )


def _parts(
    known: Mapping[str, NDArray[np.int64]], speakers: Mapping[str, Iterable[str]]
) -> dict[str, NDArray[np.int64]]:
    if set(speakers) != set(SPEAKERS):
        raise InputError(f"speakers must name those of {', '.join(SPEAKERS)}, got parts {sorted(speakers)}")
    seen: dict[str, str] = {}
    for part in SPEAKERS:
        for speaker in speakers[part]:
            if speaker not in known:
                raise unknown_name("speaker", speaker, known)
            if speaker in seen:
                raise InputError(f"speaker {speaker!r} is in {seen[speaker]} and in {part}; each belongs to one part")
            seen[speaker] = part
    empty = [part for part in SPEAKERS if part not in seen.values()]
    if empty:
        raise InputError(f"no speaker in {', '.join(empty)}; each part needs one (known: {', '.join(known)})")
    return {part: np.sort(np.concatenate([known[s] for s in seen if seen[s] == part])) for part in SPEAKERS}


def _store_path(cache: str | Path | None, config: Mapping[str, Any]) -> Path:
    folder = cache_folder() if cache is None else Path(cache)
    digest = hashlib.sha256(json.dumps({**config, "store": VERSION}, sort_keys=True).encode()).hexdigest()
    path = folder / f"spoken-digits-{digest[:12]}.h5"
    if not path.exists():  # one that is there may stand in a folder that cannot be written to
        usable_folder(folder)
    return path


def _fingerprint(source: Path) -> str:
    """A hash of the archive, or of all recordings in the folder."""
    found = hashlib.sha256()
    try:
        for file in _wav_files(source) if source.is_dir() else [source]:
            found.update(file.name.encode() + b"\n" + hashlib.sha256(file.read_bytes()).digest())
    except OSError as error:
        raise InputError(f"{source}: cannot read the spoken digits ({error.strerror or error})") from error
    return found.hexdigest()


def _wav_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.wav"))
    if not files:
        raise InputError(f"{folder}: holds no .wav file; name the folder of the recordings or their tar archive")
    return files


def _recordings(source: Path) -> Iterator[tuple[Path, bytes]]:
    """Name and content of every WAV file, in the order of the source."""
    if source.is_dir():
        yield from ((file, file.read_bytes()) for file in _wav_files(source))
        return
    try:
        with tarfile.open(source, "r|*") as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(".wav"):
                    stream = archive.extractfile(member)
                    assert stream is not None
                    yield source / member.name, stream.read()
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        raise FileFormatError(source, f"not a whole tar archive ({error})") from error


def _hear_all(path: Path, source: Path, ear: CochleaConfig, duration: float, config: Mapping[str, Any]) -> None:
    from tqdm import tqdm

    found: list[tuple[str, int, int, NDArray[np.void]]] = []
    logger.info("hearing the spoken digits of %s into %s", source, path)
    for file, content in tqdm(_recordings(source), "hearing digits", delay=1.0, disable=None):
        named = _NAME.fullmatch(file.name)
        if named is None:
            raise InputError(f"{file}: a recording must be called like 7_theo_31.wav (digit, speaker, number)")
        sound = read_wav(file, content)
        events = hear(sound.samples, sound.sample_rate, ear)
        events = events[events["t"] < round(duration * 1e6)]
        found.append((named["speaker"], int(named["digit"]), int(named["take"]), events))
    if not found:
        raise InputError(f"{source}: holds no .wav file; name the folder of the recordings or their tar archive")
    found.sort(key=lambda one: one[:3])
    speakers = np.array([one[0] for one in found])
    members = {str(name): np.flatnonzero(speakers == name) for name in np.unique(speakers)}
    header = StoreHeader(ear.sensor_size, duration, CLASSES, 0, config)
    write_store(path, [one[3] for one in found], np.array([one[1] for one in found]), header, members)
