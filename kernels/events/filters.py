"""Filters of recordings: background activity, refractory time, hot pixels. Events in, some of them out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuro.errors import InputError
from neuro.kernels.events.records import as_records, microseconds

__all__ = [
    "denoise",
    "denoise_reference",
    "drop_hot_pixels",
    "hot_pixels",
    "hot_pixels_reference",
    "refractory_filter",
    "refractory_filter_reference",
]


def denoise(events: NDArray[Any], sensor_size: tuple[int, int, int], filter_time: float) -> NDArray[Any]:
    """Background activity filter: keep an event where a neighbour fired less than ``filter_time`` before.

    Neighbours are the four pixels beside it, of either polarity; an event that is dropped supports others all the
    same. After Delbruck 2008, "Frame-free dynamic digital vision" (with eight neighbours there). Equal to Tonic's
    ``Denoise``, except that there every event earlier than ``filter_time`` after time zero passes
    because pixels that never fired count as active.

    Args:
        events: structured array ``[E]`` with fields ``t`` (microseconds), ``x``, ``y`` and ``p``, in order of
            time; never written to.
        sensor_size: (width, height, polarities).
        filter_time: in seconds, a whole number of microseconds.

    Returns:
        The events kept, ``[K]``, in the dtype given.

    Raises:
        InputError: events outside the sensor or not in order of time; a wrong ``filter_time``.

    >>> events = np.array([(0, 0, 0, 1), (50, 1, 0, 0), (150, 0, 0, 1), (200, 5, 5, 1)],
    ...                   dtype=[("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")])
    >>> denoise(events, (6, 6, 2), filter_time=100e-6)["t"].tolist()
    [50]
    """
    from neuro.kernels.events.events_numba import supported

    records = as_records(events, sensor_size, sort=False)
    keep = np.empty(len(records), np.bool_)
    supported(records, sensor_size[0], sensor_size[1], microseconds("filter_time", filter_time), keep)
    return _kept(events, records, keep)


def denoise_reference(events: NDArray[Any], sensor_size: tuple[int, int, int], filter_time: float) -> NDArray[Any]:
    """Definition of :func:`denoise` in plain NumPy; same arguments and result."""
    records = as_records(events, sensor_size, sort=False)
    time = microseconds("filter_time", filter_time)
    last = np.full((sensor_size[1] + 2, sensor_size[0] + 2), -np.inf)
    keep = np.zeros(len(records), np.bool_)
    for i, (t, x, y, _) in enumerate(records.tolist()):
        beside = (last[y + 1, x], last[y + 1, x + 2], last[y, x + 1], last[y + 2, x + 1])
        keep[i] = t - max(beside) < time
        last[y + 1, x + 1] = t
    return events[keep]


def refractory_filter(events: NDArray[Any], sensor_size: tuple[int, int, int], period: float) -> NDArray[Any]:
    """Keep an event where its pixel was silent for more than ``period`` before it.

    Every event, kept or dropped and of either polarity, restarts the period: ``t_n - t_(n-1) > period``. Equal to
    Tonic's ``RefractoryPeriod``, except that there a pixel's first event is dropped at time zero.

    Args:
        events: structured array ``[E]`` with fields ``t`` (microseconds), ``x``, ``y`` and ``p``, in order of
            time; never written to.
        sensor_size: (width, height, polarities).
        period: in seconds, a whole number of microseconds.

    Returns:
        The events kept, ``[K]``, in the dtype given.

    Raises:
        InputError: events outside the sensor or not in order of time; a wrong ``period``.

    >>> events = np.array([(0, 0, 0, 1), (100, 0, 0, 1), (201, 0, 0, 1)],
    ...                   dtype=[("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")])
    >>> refractory_filter(events, (1, 1, 2), period=100e-6)["t"].tolist()
    [0, 201]
    """
    from neuro.kernels.events.events_numba import quiet

    records = as_records(events, sensor_size, sort=False)
    keep = np.empty(len(records), np.bool_)
    quiet(records, sensor_size[0], sensor_size[1], microseconds("period", period), keep)
    return _kept(events, records, keep)


def refractory_filter_reference(events: NDArray[Any], sensor_size: tuple[int, int, int], period: float) -> NDArray[Any]:
    """Definition of :func:`refractory_filter` in plain NumPy; same arguments and result."""
    records = as_records(events, sensor_size, sort=False)
    silence = microseconds("period", period)
    last = np.full((sensor_size[1], sensor_size[0]), -np.inf)
    keep = np.zeros(len(records), np.bool_)
    for i, (t, x, y, _) in enumerate(records.tolist()):
        keep[i] = t - last[y, x] > silence
        last[y, x] = t
    return events[keep]


def hot_pixels(
    events: NDArray[Any], sensor_size: tuple[int, int, int], rate: float, duration: float | None = None
) -> NDArray[np.bool_]:
    """Pixels that fire at more than ``rate``: number of events of both polarities ``> rate * duration``.

    Equal to Tonic's ``functional.identify_hot_pixel``, as a mask.

    Args:
        events: structured array ``[E]`` with fields ``t`` (microseconds), ``x``, ``y`` and ``p``, in order of
            time; never written to.
        sensor_size: (width, height, polarities).
        rate: events per second.
        duration: length of the recording in seconds; by default from the first to the last event.

    Returns:
        ``[H, W]``, true where a pixel is hot.

    Raises:
        InputError: a ``rate`` that is not positive and finite; a recording of no length without ``duration``;
            events outside the sensor or not in order of time.

    >>> events = np.array([(0, 0, 0, 1), (500, 1, 0, 1), (1000, 1, 0, 0)],
    ...                   dtype=[("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")])
    >>> hot_pixels(events, (3, 1, 2), rate=1500.0).tolist()
    [[False, True, False]]
    """
    width, height, _ = sensor_size
    _, counts, most = _counted(events, sensor_size, rate, duration)
    return (counts > most).reshape(height, width)


def hot_pixels_reference(
    events: NDArray[Any], sensor_size: tuple[int, int, int], rate: float, duration: float | None = None
) -> NDArray[np.bool_]:
    """Definition of :func:`hot_pixels` in plain NumPy; same arguments and result."""
    records, most = _plan(events, sensor_size, rate, duration)
    counts = np.zeros((sensor_size[1], sensor_size[0]), np.int64)
    np.add.at(counts, (records["y"], records["x"]), 1)
    return counts > most


def drop_hot_pixels(
    events: NDArray[Any], sensor_size: tuple[int, int, int], rate: float, duration: float | None = None
) -> NDArray[Any]:
    """Events ``[K]`` of pixels that fire at no more than ``rate`` per second; arguments of :func:`hot_pixels`.

    >>> events = np.array([(0, 0, 0, 1), (500, 1, 0, 1), (1000, 1, 0, 0)],
    ...                   dtype=[("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")])
    >>> drop_hot_pixels(events, (3, 1, 2), rate=1500.0)["t"].tolist()
    [0]
    """
    from neuro.kernels.events.events_numba import cool

    records, counts, most = _counted(events, sensor_size, rate, duration)
    keep = np.empty(len(records), np.bool_)
    cool(records, sensor_size[0], counts, most, keep)
    return _kept(events, records, keep)


def _counted(
    events: NDArray[Any], sensor_size: tuple[int, int, int], rate: float, duration: float | None
) -> tuple[NDArray[np.void], NDArray[np.int64], float]:
    """Records, events per pixel (flat), and how many are not yet too many."""
    from neuro.kernels.events.events_numba import tally

    records, most = _plan(events, sensor_size, rate, duration)
    counts = np.zeros(sensor_size[0] * sensor_size[1], np.int64)
    tally(records, sensor_size[0], counts)
    return records, counts, most


def _kept(events: NDArray[Any], records: NDArray[np.void], keep: NDArray[np.bool_]) -> NDArray[Any]:
    """``events[keep]``, quicker where the layout is the records' own."""
    from neuro.kernels.events.events_numba import pack

    if events.dtype != records.dtype or type(events) is not np.ndarray:
        return events[keep]
    kept = np.empty(np.count_nonzero(keep), records.dtype)
    pack(records, keep, kept)
    return kept


def _plan(
    events: NDArray[Any], sensor_size: tuple[int, int, int], rate: float, duration: float | None
) -> tuple[NDArray[np.void], float]:
    """Records and the largest number of events of a pixel that is not hot."""
    if not (isinstance(rate, int | float | np.number) and math.isfinite(rate) and rate > 0):
        raise InputError(f"rate must be a positive number of events per second, got {rate!r}")
    records = as_records(events, sensor_size, sort=False)
    if duration is not None:
        return records, rate * microseconds("duration", duration) * 1e-6
    length = int(records["t"][-1] - records["t"][0]) if len(records) else 0
    if len(records) and not length:
        raise InputError(f"{len(records)} events at one moment have no rate; give the duration of the recording")
    return records, rate * length * 1e-6
