"""Files that are either whole or absent."""

from __future__ import annotations

import glob
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from neuro.errors import InputError

__all__ = ["atomic_write", "cache_folder", "usable_folder"]

STALE = 86400.0
"""Seconds after which a temporary file that was not written to belongs to a process that was killed."""


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the target's folder; on success it takes the target's place.

    A crash, an exception or a full disk inside the block leaves whatever stood at ``path``
    before exactly as it was. The data is flushed to disk before the rename. What a killed process
    left of the same target is removed by the next write that comes a day later or more.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_write(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> (folder / "a.txt").read_text(), len(list(folder.iterdir()))
    ('whole', 1)
    """
    target = Path(path)
    _sweep(target)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sweep(target: Path) -> None:
    """Remove temporary files of ``target`` that no process can still be writing."""
    ours = re.compile(rf"\.{re.escape(target.name)}\.[a-z0-9_]{{8}}{re.escape(target.suffix)}")
    for file in target.parent.glob(f".{glob.escape(target.name)}.*"):
        with suppress(OSError):  # another process swept at the same time, or may and we may not
            if ours.fullmatch(file.name) and time.time() - file.stat().st_mtime > STALE:
                file.unlink()


def cache_folder(*parts: str) -> Path:
    """A folder for what can be made again: ``$NEURO_CACHE``, else the user's cache folder.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    import platformdirs

    return usable_folder(Path(os.environ.get("NEURO_CACHE") or platformdirs.user_cache_dir("neuro")).joinpath(*parts))


def usable_folder(folder: Path) -> Path:
    """The ``folder`` for what can be made again, made if need be.

    Raises:
        InputError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cure = "set NEURO_CACHE or name another folder"
        raise InputError(f"cache folder {folder} cannot be made ({error.strerror}); {cure}") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"cache folder {folder} is not writable; set NEURO_CACHE or name another folder")
    return folder
