"""The one way the library says that it cannot use what it was given."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["FileFormatError", "InputError", "nearest", "unknown_name"]


class InputError(ValueError):
    """A value the caller gave cannot be used.

    ``str(error)`` is one line that names the value and the cure; the command line
    prints it and exits with status 2.
    """


class FileFormatError(InputError):
    """A file is truncated, corrupt or of another kind than expected."""

    def __init__(self, path: str | Path, problem: str, *, offset: int | None = None) -> None:
        where = "" if offset is None else f" at byte {offset}"
        super().__init__(f"{path}{where}: {problem}")
        self.path = Path(path)
        self.offset = offset


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The entry of ``allowed`` spelled most like ``name``, upper or lower case alike, or None if none is close."""
    spelled = {entry.casefold(): entry for entry in allowed}
    found = difflib.get_close_matches(name.casefold(), spelled, n=1, cutoff=0.5)
    return spelled[found[0]] if found else None


def unknown_name(kind: str, name: str, allowed: Iterable[str]) -> InputError:
    """The error for a name that is not in a table.

    >>> print(unknown_name("rule", "bppt", ["bptt", "sltt"]))
    unknown rule 'bppt'; did you mean 'bptt'? (known: bptt, sltt)
    """
    known = list(allowed)
    guess = nearest(name, known)
    hint = f"; did you mean {guess!r}?" if guess else ""
    return InputError(f"unknown {kind} {name!r}{hint} ({'known: ' + ', '.join(known) if known else 'none is known'})")
