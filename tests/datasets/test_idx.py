"""The idx files of MNIST, whole and damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from neuro.datasets.idx import read_idx
from neuro.errors import FileFormatError, InputError

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def encoded(array: NDArray[np.uint8], kind: int = 8) -> bytes:
    return bytes([0, 0, kind, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def test_compressed_or_not(tmp_path: Path) -> None:
    (tmp_path / "plain-idx3-ubyte").write_bytes(encoded(ARRAY))
    (tmp_path / "packed-idx3-ubyte.gz").write_bytes(gzip.compress(encoded(ARRAY)))
    for name in ("plain-idx3-ubyte", "plain-idx3-ubyte.gz", "packed-idx3-ubyte", "packed-idx3-ubyte.gz"):
        read = read_idx(tmp_path / name)
        assert read.dtype == np.uint8
        assert np.array_equal(read, ARRAY)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (encoded(ARRAY)[:-1], r"should hold 24 bytes for \(2, 3, 4\), holds 23"),
        (encoded(ARRAY) + b"\0", "holds 25"),
        (encoded(ARRAY)[:10], "cut off inside its header of 16 bytes"),
        (encoded(ARRAY)[:3], "not an idx file"),
        (b"", "not an idx file"),
        (b"PK" + encoded(ARRAY), "not an idx file"),
        (encoded(ARRAY, kind=13), "type code 13"),
        (b"\0\0\x08\xff" + 1020 * b"\xff", "should hold"),
    ],
)
def test_damaged(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=text):
        read_idx(path)


def test_damaged_gzip(tmp_path: Path) -> None:
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    whole = gzip.compress(encoded(ARRAY))
    for content in (whole[:-9], whole[: len(whole) // 2], b"no gzip", whole[:15] + b"\xff\xff\xff" + whole[18:]):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"train-labels-idx1-ubyte\.gz: not a whole gzip file"):
            read_idx(path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x-idx1-ubyte\.gz is not there, nor without \.gz; name the folder"):
        read_idx(tmp_path / "x-idx1-ubyte")
    (tmp_path / "y-idx1-ubyte").mkdir()
    with pytest.raises(InputError, match="cannot read it"):
        read_idx(tmp_path / "y-idx1-ubyte")
