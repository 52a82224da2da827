"""The loops over connections made anew, against the rows of the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neuro.kernels.propagation import procedural_numba
from neuro.kernels.propagation.procedural import LAWS, Procedural, reference_row

LOOPS: tuple[Any, ...] = (procedural_numba.gather, procedural_numba.rows, procedural_numba.scatter)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("number", "probability"), [(9, None), (None, 0.2), (None, 0.001)])
def test_loops(number: int | None, probability: float | None, law: str) -> None:
    gather, rows, scatter = LOOPS
    connections = Procedural(6, 40, 11, number, probability, law, 0.5, 2.0)
    given: Any = (11, 40, -1 if number is None else number, connections.table().numpy(), LAWS.index(law), 0.5, 2.0)
    made = [reference_row(connections, i) for i in range(6)]
    matrix = np.zeros((6, 40))
    for i, row in enumerate(made):
        for j, w in row:
            matrix[i, j] += w

    counts, none = np.full(6, -1), np.zeros(0, np.int64)
    rows(*given, counts, none, np.zeros(0, np.int32), np.zeros(0), 0, 6)
    assert counts.tolist() == [len(row) for row in made]
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices, weight = np.full(indptr[-1], -1, np.int32), np.full(indptr[-1], 0.5)
    rows(*given, counts, indptr, indices, weight, 0, 4)
    assert (indices[indptr[4] :] == -1).all()
    rows(*given, counts, indptr, indices, weight, 4, 6)
    assert indices.tolist() == [j for row in made for j, _ in row]
    assert np.allclose(weight, [w for row in made for _, w in row], rtol=1e-14)

    rng = np.random.default_rng(0)
    x = (rng.random((5, 6)) < 0.5) * rng.standard_normal((5, 6))
    start = np.concatenate([[0], np.cumsum((x != 0).sum(1))])
    out = np.zeros((5, 40))
    scatter(*given, start, np.nonzero(x)[1].astype(np.int32), x[x != 0], out, 1, 5)
    assert not out[0].any()
    assert np.allclose(out[1:], (x @ matrix)[1:], atol=1e-12)

    back = np.full((5, 6), np.nan)
    gather(*given, out, back, 0, 6)
    assert np.allclose(back, out @ matrix.T, atol=1e-12)
