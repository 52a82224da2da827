"""The HDF5 container of a NIR file as plain nested dictionaries, read without trusting it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import h5py
import numpy as np

from neuro.errors import FileFormatError, InputError

__all__ = ["Tree", "read_tree"]

Tree: TypeAlias = "dict[str, Tree | Value]"
Value: TypeAlias = np.ndarray | np.generic | str | list[list[str]] | None

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MOST_INFLATION = 2000  # gzip, the filter NIR writes, packs 1032 bytes into one at most
_HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)


def read_tree(path: str | Path) -> Tree:
    """Groups of an HDF5 file as dictionaries; numbers as NumPy arrays or scalars, text as ``str``.

    Nothing outside the file is followed (external and soft links are refused), no group is
    read twice, and no data set may claim much more data than the file can hold.

    Raises:
        InputError: no file at ``path``, or it cannot be opened.
        FileFormatError: not HDF5, truncated, corrupt, or holding links or types that NIR has not.
    """
    path = Path(path)
    size = _check_start(path)
    try:
        with h5py.File(path, "r") as file:
            return _Walk(path, size).group(file)
    except InputError:
        raise
    except _HDF5_ERRORS as error:
        problem = " ".join(str(error).split())
        offset = size if "truncated" in problem else None
        raise FileFormatError(path, f"truncated or corrupt HDF5 data ({problem})", offset=offset) from None


def _check_start(path: Path) -> int:
    """Size of the file in bytes, once its first bytes are those of HDF5."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with path.open("rb") as stream:
            start = stream.read(len(_SIGNATURE))
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror})") from None
    if start != _SIGNATURE:
        seen = f"it starts with {start!r}" if start else "it is empty"
        raise FileFormatError(path, f"not an HDF5 file and so not a NIR file, {seen}", offset=0)
    return path.stat().st_size


class _Walk:
    """One pass over a file, with what has been seen and what may still be read."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.allowance = size * _MOST_INFLATION
        self.seen: set[int] = set()

    def group(self, group: h5py.Group) -> Tree:
        address = int(h5py.h5o.get_info(group.id).addr)
        if address in self.seen:
            raise FileFormatError(self.path, f"group {group.name} contains itself or stands in two places")
        self.seen.add(address)
        tree: Tree = {}
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise FileFormatError(self.path, f"{group.name}/{name} is a link; NIR files hold their data themselves")
            item = group[name]
            tree[str(name)] = self.group(item) if isinstance(item, h5py.Group) else self.value(item)
        return tree

    def value(self, item: h5py.Dataset | h5py.Datatype) -> Value:
        if not isinstance(item, h5py.Dataset):
            raise FileFormatError(self.path, f"{item.name} is neither a group nor a data set")
        if item.shape is None:
            return None
        self.allowance -= item.nbytes
        if self.allowance < 0:
            raise FileFormatError(self.path, f"{item.name} claims {item.nbytes} bytes, more than the file can hold")
        if h5py.check_string_dtype(item.dtype) is not None:
            text = item.asstr()[()]
            return text.tolist() if isinstance(text, np.ndarray) else str(text)
        if item.dtype.kind not in "biuf":
            raise FileFormatError(self.path, f"{item.name} holds {item.dtype}; NIR has numbers and text only")
        value: np.ndarray | np.generic = item[()]
        return value
