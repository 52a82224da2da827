"""The idx files of MNIST: a big-endian header with the shape, then the bytes of an array."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuro.errors import FileFormatError, InputError

__all__ = ["read_idx"]

_BYTES = 8
"""The code of unsigned bytes in the third byte of the header, the only kind of MNIST."""


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of an idx file of unsigned bytes, compressed (``NAME.gz``) or not (``NAME``), whichever is there.

    Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits", the section on file formats.

    Args:
        path: the file, with or without ``.gz``.

    Raises:
        InputError: there is no such file, or it cannot be read.
        FileFormatError: it is truncated, damaged, or no idx file of bytes.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two-idx1-ubyte"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 255]))
    >>> read_idx(path).tolist()
    [7, 255]
    """
    file, content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise FileFormatError(file, "not an idx file; its first two bytes must be 0")
    if content[2] != _BYTES:
        raise FileFormatError(file, f"must hold unsigned bytes (type code 8), has type code {content[2]}")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise FileFormatError(file, f"is cut off inside its header of {start} bytes; copy or download it again")
    shape = tuple(np.frombuffer(content, ">u4", content[3], 4).tolist())
    if len(content) - start != math.prod(shape):
        raise FileFormatError(
            file, f"should hold {math.prod(shape)} bytes for {shape}, holds {len(content) - start}; download it again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _content(path: Path) -> tuple[Path, bytes]:
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    packed = plain.with_name(plain.name + ".gz")
    file = packed if packed.exists() else plain
    try:
        raw = file.read_bytes()
        return file, gzip.decompress(raw) if file == packed else raw
    except FileNotFoundError:
        raise InputError(f"{packed} is not there, nor without .gz; name the folder of the four idx files") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileFormatError(file, f"not a whole gzip file ({error}); copy or download it again") from error
    except OSError as error:
        raise InputError(f"{file}: cannot read it ({error.strerror or error})") from error
