"""The loops that list entries, against one line of NumPy each."""

from __future__ import annotations

import numpy as np
import pytest

from neuro.kernels.propagation.spikes_numba import compress, compress_words, count, count_words, pack_rows, unpack_rows


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize(("rows", "inputs"), [(1, 1), (3, 7), (5, 64), (4, 131)])
def test_entries(rows: int, inputs: int, graded: bool) -> None:
    rng = np.random.default_rng(rows * inputs)
    x = (rng.random((rows, inputs)) < 0.3) * (rng.standard_normal((rows, inputs)) if graded else 1.0)
    x[0] = 0
    counts = np.empty((2, rows), np.int64)
    count(x, counts, 0, rows)
    assert counts[0].tolist() == (x != 0).sum(1).tolist()
    assert counts[1].tolist() == (x == 1).sum(1).tolist()
    start = np.concatenate([[0], np.cumsum(counts[0])])
    index = np.full(start[-1], -1, np.int32)
    value = np.empty(start[-1] if graded else 0)
    compress(x, start, index, value, 0, rows)
    assert index.tolist() == np.nonzero(x)[1].tolist()
    if graded:
        assert value.tolist() == x[x != 0].tolist()


def test_words() -> None:
    rng = np.random.default_rng(3)
    bits = (rng.random((5, 3 * 64)) < 0.2).astype(np.uint8)
    bits[1], bits[2] = 0, 1
    words = np.packbits(bits, axis=-1, bitorder="little").view(np.uint64)
    counts = np.empty(5, np.int64)
    count_words(words, counts)
    assert counts.tolist() == bits.sum(1).tolist()
    index = np.full(counts.sum(), -1, np.int32)
    compress_words(words, np.concatenate([[0], np.cumsum(counts)]), index)
    assert index.tolist() == np.nonzero(bits)[1].tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 128, 200])
def test_bits_of_rows(size: int, dtype: type[np.floating]) -> None:
    rng = np.random.default_rng(size)
    x = (rng.random((4, size)) < 0.4).astype(dtype)
    x[0], x[3] = 0, 1
    words = np.full((4, -(-size // 64)), 2**64 - 1, np.uint64)
    pack_rows(x, words, 0, 4)
    bits = np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little")
    assert (bits[:, :size] == x).all()
    assert not bits[:, size:].any()
    out = np.full_like(x, 7)
    unpack_rows(words, out, 1, 4)
    assert (out[1:] == x[1:]).all()
    assert (out[0] == 7).all()


def test_nan_is_an_entry() -> None:
    x = np.zeros((1, 100))
    x[0, [5, 70]] = np.nan
    counts = np.empty((2, 1), np.int64)
    count(x, counts, 0, 1)
    assert counts.ravel().tolist() == [2, 0]
    index, value = np.empty(2, np.int32), np.empty(2)
    compress(x, np.array([0, 2]), index, value, 0, 1)
    assert index.tolist() == [5, 70]
    assert np.isnan(value).all()
