"""Events to frames: counts per time bin, polarity and pixel.

Bins are half-open and anchored at a given time (zero by default), not at the first event, so that bin ``k``
of every recording means the same stretch of time. Every event is either in a bin or in the number of late
events that is returned beside the frames; none disappears and no count wraps.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuro.errors import InputError
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.events.records import as_records, microseconds, span_of, zeros

__all__ = ["Frames", "bin_count", "bin_edges", "events_to_frames", "events_to_frames_reference"]

_COUNTS = ("int32", "uint16", "uint8")
_FEW = 30_000  # events that are not worth a second thread
_BLOCKS = 16  # of bins
_MOST = 2**31  # bins of a recording


class Frames(NamedTuple):
    """Binned events.

    Attributes:
        counts: events per bin, ``[T, P, H, W]`` int32 (or what ``dtype`` asked for), or 0 and 1 in uint8 where
            ``binary`` was asked for.
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
    start: float = 0.0,
    binary: bool = False,
    dtype: Literal["int32", "uint16", "uint8"] = "int32",
) -> Frames:
    """Count events per bin ``[start + k dt, start + (k+1) dt)``, polarity and pixel.

    Equal to Tonic's ``ToFrame(time_window=..., start_time=..., end_time=...)`` where that loses nothing; unlike
    there the last event and a last, shorter bin are kept, and a count never wraps.

    Args:
        events: structured array ``[E]`` with fields ``t`` (microseconds), ``x``, ``y`` and ``p``, in any order
            of time; never written to.
        sensor_size: (width, height, polarities). With one polarity, ON and OFF events are counted together.
        dt: width of a bin in seconds, a whole number of microseconds (the resolution of ``t``).
        duration: length of the recording in seconds, a whole number of microseconds. There are
            ``ceil(duration / dt)`` bins; the last one ends at ``start + duration``. By default the bins reach as
            far as the last event.
        start: when the first bin begins, in seconds.
        binary: 1 where a bin holds at least one event, instead of the count.
        dtype: of the counts. A narrow one takes less memory and time; a count it cannot hold is refused.

    Returns:
        The frames ``[T, P, H, W]`` and the number of events at or after the end. The counts
        and that number add up to the number of events.

    Raises:
        InputError: an event before ``start`` or outside the sensor; a ``dt`` or ``duration`` that is
            not a positive whole number of microseconds; a count beyond ``dtype``.

    >>> events = np.array([(0, 1, 0, 1), (4999, 1, 0, 1), (5000, 0, 2, 0), (9000, 0, 0, 0)],
    ...                   dtype=[("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")])
    >>> frames, late = events_to_frames(events, (2, 3, 2), dt=5e-3, duration=9e-3)
    >>> frames.shape, int(frames[0, 1, 0, 1]), int(frames[1, 0, 2, 0]), late
    ((2, 2, 3, 2), 2, 1, 1)
    """
    from neuro.kernels.events.events_numba import bounds, count, mark

    records, edges, shape = _plan(events, sensor_size, dt, duration, start)
    bound = bounds(records, edges)
    counts = zeros(shape, np.uint8 if binary else _count_dtype(dtype))
    flat = counts.reshape(-1)
    if binary:
        _over_bins(shape[0], len(records), lambda a, b: mark(records, bound, shape, flat, a, b))
    else:
        limit = int(np.iinfo(counts.dtype).max)
        over = _over_bins(shape[0], len(records), lambda a, b: count(records, bound, shape, flat, limit, a, b))
        if any(over):
            raise InputError(f"a bin holds more than {limit} events at one pixel; dtype={dtype!r} must be wider")
    return Frames(counts, len(records) - int(bound[-1]))


def bin_count(dt: float, duration: float) -> int:
    """Number of bins: ``ceil(duration / dt)``, both in seconds and whole numbers of microseconds.

    Raises:
        InputError: ``dt`` or ``duration`` is not a positive whole number of microseconds.

    >>> bin_count(5e-3, 0.3), bin_count(7e-3, 0.3)
    (60, 43)
    """
    return -(-microseconds("duration", duration) // microseconds("dt", dt))


def bin_edges(start: int, length: int, step: int) -> NDArray[np.int64]:
    """Edges ``[T + 1]`` of bins of ``step`` us over ``[start, start + length)`` us; the last bin may be shorter.

    >>> bin_edges(100, 25, 10).tolist()
    [100, 110, 120, 125]
    """
    if length > _MOST * step:
        raise InputError(
            f"{length // step} bins are more than memory holds; look for a stray timestamp, give duration= or a coarser dt"
        )
    bins = -(-length // step)
    return np.minimum(np.arange(bins + 1, dtype=np.int64) * step, length) + start


def events_to_frames_reference(
    events: NDArray[Any],
    sensor_size: tuple[int, int, int],
    dt: float,
    duration: float | None = None,
    *,
    start: float = 0.0,
    binary: bool = False,
    dtype: Literal["int32", "uint16", "uint8"] = "int32",
) -> Frames:
    """Definition of :func:`events_to_frames` in plain NumPy; same arguments and result."""
    records, edges, shape = _plan(events, sensor_size, dt, duration, start)
    inside = records[records["t"] < edges[-1]]
    p = inside["p"].astype(np.int64) * (shape[1] > 1)
    counts = np.zeros(shape, np.int64)
    np.add.at(counts, ((inside["t"] - edges[0]) // microseconds("dt", dt), p, inside["y"], inside["x"]), 1)
    made = (counts > 0).astype(np.uint8) if binary else counts.astype(_count_dtype(dtype))
    if not binary and not np.array_equal(made, counts):
        raise InputError(f"a bin holds {counts.max()} events at one pixel; dtype={dtype!r} must be wider")
    return Frames(made, len(records) - len(inside))


def _plan(
    events: NDArray[Any], sensor_size: tuple[int, int, int], dt: float, duration: float | None, start: float
) -> tuple[NDArray[np.void], NDArray[np.int64], tuple[int, int, int, int]]:
    """Records in order of time, edges of the bins in microseconds, shape of the frames."""
    records = as_records(events, sensor_size, sort=True)
    step = microseconds("dt", dt)
    span = span_of(records, start, duration)
    width, height, polarities = sensor_size
    edges = bin_edges(span.start, span.length, step)
    return records, edges, (len(edges) - 1, polarities, height, width)


def _count_dtype(dtype: str) -> np.dtype[Any]:
    if dtype not in _COUNTS:
        raise InputError(f"dtype must be one of {', '.join(_COUNTS)}, got {dtype!r}")
    return np.dtype(dtype)


def _over_bins(bins: int, events: int, call: Any) -> list[Any]:
    """``call(first, last)`` for blocks of bins, on as many threads as there are; its answers in order."""
    size = max(1, bins if events < _FEW else -(-bins // _BLOCKS))
    blocks = [(a, min(bins, a + size)) for a in range(0, bins, size)]
    answers: list[Any] = [None] * len(blocks)

    def run(number: int) -> None:
        answers[number] = call(*blocks[number])

    run_blocks([lambda n=n: run(n) for n in range(len(blocks))])  # type: ignore[misc]
    return answers
