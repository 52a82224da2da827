"""Events to frames: counts per time bin, polarity and pixel.

Bins are half-open and anchored at time zero, not at the first event, so that bin ``k`` of every
recording means the same stretch of time ``[k dt, (k+1) dt)``. Every event is either in a bin or
in the number of late events that is returned beside the frames; none disappears and no count wraps.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from neuro.errors import InputError

__all__ = ["Frames", "bin_count", "events_to_frames", "events_to_frames_reference"]


class Frames(NamedTuple):
    """Binned events.

    Attributes:
        counts: events per bin, ``[T, P, H, W]`` int32, or 0 and 1 in uint8 where ``binary`` was asked for.
        late: number of events at or after the duration; they are in no bin.
    """

    counts: NDArray[Any]
    late: int


def events_to_frames(
    events: NDArray[Any],
    sensor_size: tuple[int, int, int],
    dt: float,
    duration: float | None = None,
    *,
    binary: bool = False,
) -> Frames:
    """Count events per bin ``[k dt, (k+1) dt)``, polarity and pixel.

    Args:
        events: structured array ``[E]`` with fields ``t`` (microseconds), ``x``, ``y`` and ``p``, in any order
            of time; never written to.
        sensor_size: (width, height, polarities). With one polarity, ON and OFF events are counted together.
        dt: width of a bin in seconds, a whole number of microseconds (the resolution of ``t``).
        duration: length of the recording in seconds, a whole number of microseconds. There are
            ``ceil(duration / dt)`` bins; the last one ends at ``duration``. By default the bins reach as far as
            the last event.
        binary: 1 where a bin holds at least one event, instead of the count.

    Returns:
        The frames ``[T, P, H, W]`` and the number of events at or after ``duration``. The counts
        and that number add up to the number of events.

    Raises:
        InputError: an event before time zero or outside the sensor; a ``dt`` or ``duration`` that is
            not a positive whole number of microseconds.

    >>> events = np.array([(0, 1, 0, 1), (4999, 1, 0, 1), (5000, 0, 2, 0), (9000, 0, 0, 0)],
    ...                   dtype=[("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")])
    >>> frames, late = events_to_frames(events, (2, 3, 2), dt=5e-3, duration=9e-3)
    >>> frames.shape, int(frames[0, 1, 0, 1]), int(frames[1, 0, 2, 0]), late
    ((2, 2, 3, 2), 2, 1, 1)
    """
    t, x, y, p, step, end, shape = _plan(events, sensor_size, dt, duration)
    counts = np.zeros(shape, np.uint8 if binary else np.int32)
    late = _scatter(t, x, y, p, step, end, binary, counts)
    return Frames(counts, int(late))


def bin_count(dt: float, duration: float) -> int:
    """Number of bins: ``ceil(duration / dt)``, both in seconds and whole numbers of microseconds.

    Raises:
        InputError: ``dt`` or ``duration`` is not a positive whole number of microseconds.

    >>> bin_count(5e-3, 0.3), bin_count(7e-3, 0.3)
    (60, 43)
    """
    return -(-_microseconds("duration", duration) // _microseconds("dt", dt))


def events_to_frames_reference(
    events: NDArray[Any],
    sensor_size: tuple[int, int, int],
    dt: float,
    duration: float | None = None,
    *,
    binary: bool = False,
) -> Frames:
    """Definition of :func:`events_to_frames` in plain NumPy; same arguments and result."""
    t, x, y, p, step, end, shape = _plan(events, sensor_size, dt, duration)
    inside = t < end
    counts = np.zeros(shape, np.int32)
    np.add.at(counts, (t[inside] // step, p[inside], y[inside], x[inside]), 1)
    frames = (counts > 0).astype(np.uint8) if binary else counts
    return Frames(frames, int(np.count_nonzero(~inside)))


class _Plan(NamedTuple):
    t: NDArray[np.int64]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    p: NDArray[np.int64]
    step: int  # microseconds
    end: int  # microseconds
    shape: tuple[int, int, int, int]


def _plan(events: NDArray[Any], sensor_size: tuple[int, int, int], dt: float, duration: float | None) -> _Plan:
    """Columns as contiguous int64, bins in microseconds; refuses events that have no place."""
    names = events.dtype.names or ()
    columns = [events[name] for name in ("t", "x", "y", "p") if name in names]
    if len(columns) != 4 or any(column.dtype.kind not in "iub" for column in columns):
        raise InputError(f"events must have whole-number fields t, x, y and p, got dtype {events.dtype}")
    width, height, polarities = sensor_size
    if min(sensor_size) < 1:
        raise InputError(f"sensor_size must be (width, height, polarities), each at least 1, got {sensor_size}")
    t, x, y, p = (np.ascontiguousarray(column, np.int64) for column in columns)
    last = int(t.max(initial=-1))
    end = last + 1 if duration is None else _microseconds("duration", duration)
    for name, column, size in (("x", x, width), ("y", y, height), ("p", p, max(polarities, 2))):
        _check_range(name, column, size)
    if t.min(initial=0) < 0:
        raise InputError(f"event t={t.min()} us lies before time zero")
    step = _microseconds("dt", dt)
    polarity = p if polarities > 1 else np.zeros_like(p)
    return _Plan(t, x, y, polarity, step, end, (-(-end // step), polarities, height, width))


def _check_range(name: str, column: NDArray[Any], size: int) -> None:
    if len(column) and not (column.min() >= 0 and column.max() < size):
        seen = column.min() if column.min() < 0 else column.max()
        raise InputError(f"event {name}={seen} is out of range; allowed are 0 to {size - 1}")


def _microseconds(name: str, seconds: float) -> int:
    exact = seconds * 1e6 if isinstance(seconds, int | float | np.number) else math.nan
    if not (math.isfinite(exact) and exact >= 0.5 and math.isclose(exact, round(exact), rel_tol=1e-9)):
        raise InputError(f"{name} must be a positive whole number of microseconds, given in seconds, got {seconds!r}")
    return round(exact)


@numba.njit(cache=True, nogil=True)
def _scatter(
    t: NDArray[np.int64],
    x: NDArray[np.int64],
    y: NDArray[np.int64],
    p: NDArray[np.int64],
    step: int,
    end: int,
    binary: bool,
    counts: NDArray[Any],
) -> int:
    late = 0
    for e in range(t.shape[0]):
        if t[e] >= end:
            late += 1
        elif binary:
            counts[t[e] // step, p[e], y[e], x[e]] = 1
        else:
            counts[t[e] // step, p[e], y[e], x[e]] += 1
    return late
