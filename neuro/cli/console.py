"""What the command writes to its streams, and how it says that something went wrong."""

from __future__ import annotations

import errno
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import neuro
from neuro.errors import InputError

__all__ = ["complain", "explain", "log_file", "say", "shown_log", "table"]

_log = logging.getLogger(__name__)

_SAID = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM)
_BLAME = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)


def say(text: str = "") -> None:
    """A line on stdout."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Exactly one line on stderr."""
    sys.stderr.write(f"neuro: {' '.join(text.split())}\n")
    sys.stderr.flush()


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as they need to be; numbers to the right.

    >>> print(table(["layer", "spikes"], [["hidden", 12], ["out", 3]]))
    layer   spikes
    hidden      12
    out          3
    """
    body = [[str(cell) for cell in row] for row in rows]
    columns = list(zip(header, *body, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [bool(body) and all(_numeric(cell) for cell in column[1:]) for column in columns]
    lines = [
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True))
        for row in [list(header), *body]
    ]
    return "\n".join(line.rstrip() for line in lines)


def _numeric(cell: str) -> bool:
    return cell in ("", "-") or cell.removesuffix(" %").replace(",", "").lstrip("-").replace(".", "", 1).isdigit()


@contextmanager
def shown_log(*, verbose: bool) -> Iterator[None]:
    """Warnings of this library go to stderr; with ``verbose`` everything does, others' words too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.DEBUG if verbose else logging.WARNING)
    if not verbose:
        handler.addFilter(logging.Filter("neuro"))
    root, ours = logging.getLogger(), logging.getLogger("neuro")
    before = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        ours.setLevel(before)
        root.removeHandler(handler)


class _LogFile(logging.FileHandler):
    """A log that cannot be written (a full disk) is an error like any other."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # noqa: PLE0704 - called by logging inside its except block


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Append the log to ``path`` while the block runs, beginning with the versions and what was typed."""
    handler = _LogFile(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.INFO)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        _log.info("neuro %s: %s", neuro.__version__, shlex.join(sys.argv))
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def explain(error: BaseException, folders: Iterable[Path] = ()) -> str | None:
    """One line for an error that is the user's to mend, or None if it is a bug.

    Args:
        error: what was raised.
        folders: where the command was writing; the fullest is named if the error names none.

    >>> explain(FileNotFoundError(2, "No such file", "x")) is None
    True
    >>> explain(PermissionError(13, "Permission denied", "x"))
    'x: permission denied'
    """
    if isinstance(error, InputError):
        return str(error)
    for cause in _chain(error):
        name = getattr(cause, "filename", None)
        places = list(folders) if name is None else [Path(os.fsdecode(name)).parent]
        number = _errno(cause)
        if number in (errno.ENOSPC, errno.EDQUOT):
            place, free = _fullest(places)
            return f"disk full: {free / 1e6:.1f} MB free for {place}; earlier files are whole, make room"
        if number == errno.EFBIG:
            return f"a file in {_fullest(places)[0]} would exceed the limit on file sizes; raise it (ulimit -f)"
        if number == errno.ENOMEM or isinstance(cause, MemoryError):
            return "out of memory; choose a smaller --batch-size or --hidden, or a larger --dt"
        if number in _BLAME and name is not None:
            return f"{os.fsdecode(name)}: {os.strerror(number).lower()}"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _errno(error: BaseException) -> int | None:
    """Libraries written in C and Rust put the system's words into errors of their own."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    said = (number for number in _SAID if os.strerror(number) in str(error))
    return next(said, None)


def _fullest(places: Sequence[Path]) -> tuple[Path, int]:
    def free(place: Path) -> int:
        there = next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())
        return shutil.disk_usage(there).free

    return min(((place, free(place)) for place in places or [Path.cwd()]), key=lambda pair: pair[1])
