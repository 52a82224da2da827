"""Each vector step against one line of NumPy; the loops that use them are tested where they are."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from neuro.kernels.engines import lanes_numba as lanes

Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy")
def words(row: Array, offset: int) -> tuple[int, int, int, int]:
    word = lanes.mask_nonzero(row, offset)
    return word, lanes.mask_ones(row, offset), lanes.population(word), lanes.trailing_zeros(word)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0, 3])
def test_masks(dtype: type[np.floating], offset: int) -> None:
    rng = np.random.default_rng(offset)
    row = rng.choice([0, 1, -2.5, np.nan], 70).astype(dtype)
    seen = row[offset : offset + 64]
    nonzero, ones, population, first = words(row, offset)
    assert [nonzero >> k & 1 for k in range(64)] == (seen != 0).tolist()
    assert [ones >> k & 1 for k in range(64)] == (seen == 1).tolist()
    assert population == np.count_nonzero(seen)
    assert first == np.nonzero(seen)[0][0]
    assert words(np.zeros(64, dtype), 0) == (0, 0, 0, 64)


@numba.njit(error_model="numpy")
def unpacked(row: Array, offset: int, word: int) -> None:
    lanes.store_bits(row, offset, np.uint64(word))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_are_stored_as_numbers(dtype: type[np.floating]) -> None:
    row = np.full(70, 7, dtype)
    word = 0x8000_0000_0F01_00A5
    unpacked(row, 3, word)
    assert row[3:67].tolist() == [word >> k & 1 for k in range(64)]
    assert (row[:3] == 7).all()
    assert (row[67:] == 7).all()


@numba.njit(error_model="numpy")
def rows(out: Array, first: Array, table: Array, index: Array, value: Array, o: int) -> None:
    lanes.add_rows_wide(out, o, table, index, value, 1, 4, first)
    lanes.add_to_rows_wide(out, o, table, index, value, 0, 2)


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows(dtype: type[np.floating], graded: bool) -> None:
    rng = np.random.default_rng(1)
    width, o = lanes.WIDE // np.dtype(dtype).itemsize, 5
    out, table = (rng.standard_normal(s).astype(dtype) for s in ((width + 9,), (6, width + 9)))
    index = np.array([0, 3, 3, 5, 1], np.int32)
    value = rng.standard_normal(5).astype(dtype) if graded else np.empty(0, dtype)
    factor = value if graded else np.ones(5, dtype)
    wanted, grown = out.copy(), table.copy()
    wanted[o : o + width] += factor[1:4] @ table[index[1:4], o : o + width]
    for k in (0, 1):
        grown[index[k], o : o + width] += factor[k] * wanted[o : o + width]
    first = out.copy()
    out[o : o + width] = 7
    rows(out, first, table, index, value, o)
    tolerance = 1e-5 if dtype is np.float32 else 1e-13
    assert np.allclose(out, wanted, atol=tolerance)
    assert np.allclose(table, grown, atol=tolerance)


def test_other_arrays_are_refused_when_compiled() -> None:
    with pytest.raises(numba.TypingError):
        words(np.zeros(70, np.int32), 0)
    with pytest.raises(numba.TypingError):
        words(np.zeros((70, 2))[:, 0], 0)
