"""Files that are either whole or absent."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neuro.errors import InputError

__all__ = ["atomic_write", "cache_folder"]


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the target's folder; on success it takes the target's place.

    A crash, an exception or a full disk inside the block leaves whatever stood at ``path``
    before exactly as it was. The data is flushed to disk before the rename.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_write(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> (folder / "a.txt").read_text(), len(list(folder.iterdir()))
    ('whole', 1)
    """
    target = Path(path)
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


def cache_folder(*parts: str) -> Path:
    """A folder for what can be made again: ``$NEURO_CACHE``, else the user's cache folder.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    import platformdirs

    root = Path(os.environ.get("NEURO_CACHE") or platformdirs.user_cache_dir("neuro"))
    folder = root.joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cache folder {folder} cannot be made ({error.strerror}); set NEURO_CACHE") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"cache folder {folder} is not writable; set NEURO_CACHE to one that is")
    return folder
