"""The event array: one structured NumPy array per recording.

Fields: ``t`` int64 microseconds, ``x`` and ``y`` int16 pixels (``y`` grows downwards), ``p`` bool, true for
ON (brighter). These are the names and widths of Tonic's own readers (``tonic.io``), so its transforms
take the arrays as they are. ``p`` is bool and not int8 because a sign (-1) would then be possible and
would index the last polarity of a frame without an error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro.errors import InputError

__all__ = ["EVENT_DTYPE", "check_events", "make_events"]

EVENT_DTYPE = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "?")])


def make_events(t: ArrayLike, x: ArrayLike, y: ArrayLike, p: ArrayLike) -> NDArray[np.void]:
    """One event array from its columns.

    Args:
        t: times ``[E]`` in microseconds.
        x: columns ``[E]`` of the pixels.
        y: rows ``[E]`` of the pixels.
        p: polarities ``[E]``: 1 or true for ON, 0 or false for OFF.

    Raises:
        InputError: columns of different length, a value that the field cannot hold, a polarity
            other than 0 and 1.

    >>> make_events([5, 70], [3, 2], [0, 1], [True, False])["x"].tolist()
    [3, 2]
    """
    columns = {"t": np.asarray(t), "x": np.asarray(x), "y": np.asarray(y), "p": np.asarray(p)}
    shapes = {name: column.shape for name, column in columns.items()}
    if len(set(shapes.values())) != 1 or columns["t"].ndim != 1:
        raise InputError(f"event columns must be one-dimensional and equally long, got shapes {shapes}")
    events = np.empty(len(columns["t"]), EVENT_DTYPE)
    for name, column in columns.items():
        events[name] = column
        if not np.array_equal(events[name], column):
            wrong = column[events[name] != column][0]
            raise InputError(f"event {name}={wrong} does not fit the field ({EVENT_DTYPE[name]})")
    return events


def check_events(events: NDArray[Any], sensor_size: tuple[int, int, int]) -> None:
    """Refuse an event array that is no recording of a sensor of this size.

    Args:
        events: structured array ``[E]``.
        sensor_size: (width, height, polarities).

    Raises:
        InputError: other fields than :data:`EVENT_DTYPE`, times that run backwards or start before
            zero, a pixel outside the sensor; the message names the first event at fault.

    >>> check_events(make_events([9, 3], [0, 0], [0, 0], [1, 1]), (4, 4, 2))
    Traceback (most recent call last):
    neuro.errors.InputError: event 1: t=3 us is before the event in front of it (t=9 us); sort by t
    """
    if not isinstance(events, np.ndarray) or events.dtype != EVENT_DTYPE or events.ndim != 1:
        seen = getattr(events, "dtype", type(events).__name__)
        raise InputError(f"events must be a one-dimensional array of dtype {EVENT_DTYPE}, got {seen}; see make_events")
    width, height, polarities = sensor_size
    _refuse(events["t"] < 0, events, "t", "is before time zero")
    _refuse((events["x"] < 0) | (events["x"] >= width), events, "x", f"is outside the sensor (width {width})")
    _refuse((events["y"] < 0) | (events["y"] >= height), events, "y", f"is outside the sensor (height {height})")
    if polarities == 1:
        _refuse(events["p"], events, "p", "on a sensor with one polarity")
    backwards = np.flatnonzero(np.diff(events["t"]) < 0)
    if len(backwards):
        i = int(backwards[0]) + 1
        before, here = events["t"][i - 1], events["t"][i]
        raise InputError(f"event {i}: t={here} us is before the event in front of it (t={before} us); sort by t")


def _refuse(wrong: NDArray[np.bool_], events: NDArray[Any], name: str, problem: str) -> None:
    at = np.flatnonzero(wrong)
    if len(at):
        raise InputError(f"event {at[0]}: {name}={events[name][at[0]]} {problem}")
