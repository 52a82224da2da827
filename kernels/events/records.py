"""What every event op does first: check a recording and bring it into one record layout, without writing to it.

The layout is that of ``neuro.datasets.events``; such an array passes through without a copy,
after one pass that looks for pixels outside the sensor and times that run backwards.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from neuro.errors import InputError
from neuro.kernels.engines.memory import keep_freed_memory

__all__ = ["RECORD", "Span", "as_records", "microseconds", "span_of", "zeros"]

RECORD = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "?")])
_FIELDS = ("t", "x", "y", "p")


class Span(NamedTuple):
    """A stretch of time in whole microseconds, ``[start, start + length)``."""

    start: int
    length: int


def as_records(events: NDArray[Any], sensor_size: tuple[int, int, int], *, sort: bool) -> NDArray[np.void]:
    """Events as a contiguous read-only array ``[E]`` of dtype :data:`RECORD`, in order of time.

    Args:
        events: structured array ``[E]`` with whole-number fields ``t`` (microseconds), ``x``, ``y`` and ``p``;
            never written to.
        sensor_size: (width, height, polarities).
        sort: put events that run backwards in time in order; otherwise refuse them.

    Raises:
        InputError: other fields, an event outside the sensor or before time zero, and without
            ``sort`` an event before the one in front of it.

    >>> as_records(np.array([(1, 2, 9, 0)], dtype=[("x", "u2"), ("y", "u2"), ("t", "i8"), ("p", "i1")]), (4, 4, 2), sort=False)
    array([(9, 1, 2, False)],
          dtype=[('t', '<i8'), ('x', '<i2'), ('y', '<i2'), ('p', '?')])
    """
    from neuro.kernels.events.events_numba import scan

    names = getattr(getattr(events, "dtype", None), "names", None) or ()
    if any(name not in names or events.dtype[name].kind not in "iub" for name in _FIELDS) or events.ndim != 1:
        seen = getattr(events, "dtype", type(events).__name__)
        raise InputError(f"events must have whole-number fields t, x, y and p in one dimension, got dtype {seen}")
    _check_size(sensor_size)
    if events.dtype == RECORD:
        records = np.ascontiguousarray(events).view(np.ndarray)
    else:
        _check_columns(events, sensor_size)
        records = _converted(events)
    records.flags.writeable = False  # of the view; also one type for the compiler, whoever owns the array
    inside, ordered = scan(records, sensor_size[0], sensor_size[1])
    if not inside:
        _check_columns(records, sensor_size)
    if ordered:
        return records
    if not sort:
        at = int(np.flatnonzero(np.diff(records["t"]) < 0)[0]) + 1
        before, here = records["t"][at - 1], records["t"][at]
        raise InputError(f"event {at}: t={here} us is before the event in front of it (t={before} us); sort by t")
    records = records[np.argsort(records["t"], kind="stable")]
    records.flags.writeable = False
    return records


def microseconds(name: str, seconds: float, *, zero: bool = False) -> int:
    """Whole microseconds of a time in seconds.

    Raises:
        InputError: not a positive (with ``zero``: not negative) whole number of microseconds.

    >>> microseconds("dt", 5e-3)
    5000
    """
    exact = seconds * 1e6 if isinstance(seconds, int | float | np.number) else math.nan
    least = 0.0 if zero else 0.5
    if not (math.isfinite(exact) and exact >= least and math.isclose(exact, round(exact), rel_tol=1e-9)):
        sign = "non-negative" if zero else "positive"
        raise InputError(f"{name} must be a {sign} whole number of microseconds, given in seconds, got {seconds!r}")
    return round(exact)


def span_of(records: NDArray[np.void], start: float, duration: float | None) -> Span:
    """From ``start`` for ``duration`` seconds; by default to just after the last of ``records [E]``.

    Raises:
        InputError: times that are not whole microseconds; an event before ``start``.
    """
    first = microseconds("start", start, zero=True)
    if len(records) and records["t"][0] < first:
        raise InputError(
            f"event t={records['t'][0]} us lies before start={start} s; crop the recording or start earlier"
        )
    if duration is not None:
        return Span(first, microseconds("duration", duration))
    return Span(first, int(records["t"][-1]) + 1 - first if len(records) else 0)


def zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """``np.zeros`` of a tensor that may be large, out of memory that the process has used before.

    New pages from the system cost several times what counting events into them does.

    Raises:
        InputError: more than the system has.
    """
    keep_freed_memory()
    try:
        return np.zeros(shape, dtype)
    except (MemoryError, ValueError):
        raise InputError(
            f"a tensor of shape {tuple(int(n) for n in shape)} is more than memory holds; look for a stray timestamp, "
            "give duration= or a coarser dt"
        ) from None


def _converted(events: NDArray[Any]) -> NDArray[np.void]:
    records = np.empty(len(events), RECORD)
    for name in _FIELDS:
        records[name] = events[name]
    return records


def _check_size(sensor_size: tuple[int, int, int]) -> None:
    whole = isinstance(sensor_size, tuple | list) and all(isinstance(n, int | np.integer) for n in sensor_size)
    if not whole or len(sensor_size) != 3 or min(sensor_size) < 1 or max(sensor_size) > 32768:
        raise InputError(f"sensor_size must be (width, height, polarities), each 1 to 32768, got {sensor_size!r}")


def _check_columns(events: NDArray[Any], sensor_size: tuple[int, int, int]) -> None:
    width, height, _ = sensor_size
    for name, size in (("x", width), ("y", height), ("p", 2)):
        column = events[name]
        if len(column) and not (column.min() >= 0 and column.max() < size):
            seen = column.min() if column.min() < 0 else column.max()
            raise InputError(f"event {name}={seen} is out of range; allowed are 0 to {size - 1}")
    if len(events) and events["t"].min() < 0:
        raise InputError(f"event t={events['t'].min()} us lies before time zero")
