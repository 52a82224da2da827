"""The loops as plain Python, where NumPy checks every index, give what the compiled ones give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from neuro.kernels.events import events_numba
from neuro.kernels.events.records import RECORD, as_records

WIDTH, HEIGHT = 7, 5


def recording(number: int) -> NDArray[np.void]:
    rng = np.random.default_rng(5)
    events = np.zeros(number, RECORD)
    for name, high in zip(("t", "x", "y", "p"), (400, WIDTH, HEIGHT, 2), strict=True):
        events[name] = rng.integers(0, high, number)
    corners = [(0, 0), (WIDTH - 1, 0), (0, HEIGHT - 1), (WIDTH - 1, HEIGHT - 1)]
    for k, (x, y) in enumerate(corners[:number]):
        events[k]["x"], events[k]["y"] = x, y
    return as_records(np.sort(events, order="t"), (WIDTH, HEIGHT, 2), sort=False)


def outputs(records: NDArray[np.void], plain: bool, polarities: int) -> dict[str, NDArray[Any]]:
    """Every loop's output; ``plain`` runs the Python text."""

    def loop(name: str, *arguments: Any) -> Any:
        function = getattr(events_numba, name)
        events = records.view(np.recarray) if plain else records
        return (function.py_func if plain else function)(events, *arguments)

    area, shape = WIDTH * HEIGHT, (4, polarities, HEIGHT, WIDTH)
    edges = np.array([0, 100, 200, 300, 400])
    bound = loop("bounds", edges)
    counts, marks = np.zeros(4 * polarities * area, np.int32), np.zeros(4 * polarities * area, np.uint8)
    assert not loop("count", bound, shape, counts, 2**31 - 1, 0, 4)
    loop("mark", bound, shape, marks, 0, 4)
    grid, layers = np.zeros(5 * area), np.zeros((4, polarities * area))
    for k in range(4):
        loop("accumulate", polarities > 1, 0, 0.01, WIDTH, area, grid, k, bound[k], bound[k + 1])
    loop("surfaces", bound, 0, 100, 50.0, polarities, HEIGHT, WIDTH, layers)
    cells = 3 * 2 * polarities  # of three pixels
    bucket, order = np.empty((2, len(records)), np.int64)
    start, means = np.zeros(cells + 1, np.int64), np.zeros((cells, 3, 3))
    loop("group", 3, 3, polarities, bucket, start, order)
    loop("average", start, order, 120, 30.0, 3, 1, means, 0, cells)
    near, calm, total = np.empty(len(records), np.bool_), np.empty(len(records), np.bool_), np.zeros(area, np.int64)
    loop("supported", WIDTH, HEIGHT, 30, near)
    loop("quiet", WIDTH, HEIGHT, 30, calm)
    loop("tally", WIDTH, total)
    few = np.empty(len(records), np.bool_)
    loop("cool", WIDTH, total, 3.0, few)
    packed = np.zeros(np.count_nonzero(few), RECORD)
    loop("pack", few, packed)
    assert np.array_equal(packed, records[few])
    made: dict[str, NDArray[Any]] = {"counts": counts, "marks": marks, "grid": grid, "layers": layers, "means": means}
    return made | {"bound": bound, "order": order, "near": near, "few": few, "calm": calm, "total": total}


@pytest.mark.parametrize("polarities", [1, 2])
@pytest.mark.parametrize("number", [0, 1, 120])
def test_compiled_loops_equal_their_text(number: int, polarities: int) -> None:
    records = recording(number)
    compiled, plain = outputs(records, False, polarities), outputs(records, True, polarities)
    assert compiled["counts"].sum() == compiled["total"].sum() == number
    for name, wanted in plain.items():
        assert np.allclose(compiled[name], wanted, rtol=1e-12, atol=1e-14), name


def test_scan_sees_what_lies_outside_and_what_runs_backwards() -> None:
    good = recording(9)
    assert events_numba.scan(good, WIDTH, HEIGHT) == (True, True)
    assert events_numba.scan(good, WIDTH - 1, HEIGHT) == (False, True)
    assert events_numba.scan(good, WIDTH, HEIGHT - 1) == (False, True)
    turned = good[::-1].copy()
    turned.flags.writeable = False
    assert events_numba.scan(turned, WIDTH, HEIGHT) == (True, False)
    negative = good.copy()
    negative["t"][0] = -1
    negative.flags.writeable = False
    assert events_numba.scan(negative, WIDTH, HEIGHT) == (False, True)


def test_count_reports_a_count_beyond_the_limit() -> None:
    records = np.zeros(256, RECORD)
    records.flags.writeable = False
    bound, shape = np.array([0, 256]), (1, 2, HEIGHT, WIDTH)
    out = np.zeros(2 * WIDTH * HEIGHT, np.uint8)
    assert events_numba.count(records, bound, shape, out, 255, 0, 1)
    out[:] = 0
    assert not events_numba.count(records, np.array([0, 255]), shape, out, 255, 0, 1)
    assert out[0] == 255
