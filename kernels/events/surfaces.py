"""Events to time surfaces: how recently each pixel fired, and the averages of such surfaces over cells."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuro.errors import InputError
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.events.frames import bin_edges
from neuro.kernels.events.records import as_records, microseconds, span_of, zeros

__all__ = [
    "Surfaces",
    "check_cells",
    "events_to_averaged_surfaces",
    "events_to_averaged_surfaces_reference",
    "events_to_surfaces",
    "events_to_surfaces_reference",
    "positive",
]

_BLOCKS = 16  # of cells
Real = Literal["float32", "float64"]


class Surfaces(NamedTuple):
    """Time surfaces at the ends of bins.

    Attributes:
        values: ``[T, P, H, W]``, 1 just after an event, falling to 0.
        late: number of events at or after the duration; they are on no surface.
    """

    values: NDArray[Any]
    late: int


def events_to_surfaces(
    events: NDArray[Any],
    sensor_size: tuple[int, int, int],
    dt: float,
    tau: float,
    duration: float | None = None,
    *,
    start: float = 0.0,
    dtype: Real = "float32",
) -> Surfaces:
    """Time surface at the end of every bin: ``exp(-(start + (k+1) dt - t_last) / tau)`` per polarity and pixel.

    ``t_last`` is the time of the pixel's last event in bins ``0..k``; the value is 0 where there was none.
    Lagorce et al. 2016, "HOTS: a hierarchy of event-based time-surfaces for pattern recognition", equation 2,
    on the whole sensor. Equal to Tonic's ``ToTimesurface`` in its bins; unlike there the last, shorter bin
    has its surface too (read at its full width), and bins start at ``start`` instead of the first event.

    Args:
        events: structured array ``[E]`` with fields ``t`` (microseconds), ``x``, ``y`` and ``p``, in any order
            of time; never written to.
        sensor_size: (width, height, polarities). With one polarity, ON and OFF events share a surface.
        dt: time between surfaces in seconds, a whole number of microseconds.
        tau: time constant in seconds.
        duration: length of the recording in seconds; by default the bins reach as far as the last event.
        start: when the first bin begins, in seconds.
        dtype: of the surfaces.

    Returns:
        The surfaces ``[T, P, H, W]`` and the number of events at or after the end.

    Raises:
        InputError: a ``tau`` that is not positive and finite; an event before ``start`` or outside
            the sensor; times that are not whole microseconds.

    >>> events = np.array([(0, 0, 0, 1), (500, 1, 0, 1)],
    ...                   dtype=[("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")])
    >>> events_to_surfaces(events, (3, 1, 1), dt=1e-3, tau=1e-3).values.round(3).tolist()
    [[[[0.36800000071525574, 0.6069999933242798, 0.0]]]]
    """
    from neuro.kernels.events.events_numba import bounds, surfaces

    records, edges, step, shape = _plan(events, sensor_size, dt, duration, start)
    constant = positive("tau", tau) * 1e6
    values = zeros(shape, _real(dtype))
    bound = bounds(records, edges)
    _, polarities, height, width = shape
    flat = values.reshape(len(values), polarities * height * width)
    surfaces(records, bound, edges[0], step, constant, polarities, height, width, flat)
    return Surfaces(values, len(records) - int(bound[-1]))


def events_to_surfaces_reference(
    events: NDArray[Any],
    sensor_size: tuple[int, int, int],
    dt: float,
    tau: float,
    duration: float | None = None,
    *,
    start: float = 0.0,
    dtype: Real = "float32",
) -> Surfaces:
    """Definition of :func:`events_to_surfaces` in plain NumPy; same arguments and result but for rounding."""
    records, edges, step, shape = _plan(events, sensor_size, dt, duration, start)
    constant = positive("tau", tau) * 1e6
    values = np.zeros(shape, _real(dtype))
    last = np.full(shape[1:], -np.inf)
    for k in range(shape[0]):
        inside = records[(records["t"] >= edges[k]) & (records["t"] < edges[k + 1])]
        np.maximum.at(last, (inside["p"].astype(np.int64) * (shape[1] > 1), inside["y"], inside["x"]), inside["t"])
        values[k] = np.exp(-(edges[0] + (k + 1) * step - last) / constant)
    return Surfaces(values, int(np.count_nonzero(records["t"] >= edges[-1])))


def events_to_averaged_surfaces(
    events: NDArray[Any],
    sensor_size: tuple[int, int, int],
    *,
    cell: int = 10,
    radius: int = 2,
    window: float = 1e-3,
    tau: float = 100e-6,
    dtype: Real = "float32",
) -> NDArray[Any]:
    """Mean, per cell of pixels and polarity, of the surfaces that its events see around themselves.

    The surface of event ``i`` at offset ``z`` is ``sum_j exp(-(t_i - t_j) / tau)`` over the events ``j`` up to ``i``
    of the same cell and polarity at pixel ``x_i + z`` with ``t_j >= t_i - window``. Sironi et al. 2018, "HATS:
    histograms of averaged time surfaces", equations 3 to 6. Equal to Tonic's ``ToAveragedTimesurface``
    with ``decay="exp"`` and ``surface_size = 2 radius + 1``, except that times are whole microseconds
    throughout (there float32, which merges them from 16.8 s on).

    Args:
        events: structured array ``[E]`` with fields ``t`` (microseconds), ``x``, ``y`` and ``p``, in any order
            of time; never written to.
        sensor_size: (width, height, polarities). With one polarity, ON and OFF events share a surface.
        cell: side of a cell in pixels; cells at the right and lower edge may be smaller.
        radius: of a surface in pixels.
        window: how far back an event looks, in seconds, a whole number of microseconds.
        tau: time constant in seconds.
        dtype: of the surfaces.

    Returns:
        ``[ceil(H / cell) * ceil(W / cell), P, 2 radius + 1, 2 radius + 1]``, cells row by row.

    Raises:
        InputError: a cell smaller than one pixel or than a surface; ``tau`` or ``window`` not positive; an
            event outside the sensor.

    >>> events = np.array([(0, 0, 0, 1), (100, 1, 0, 1)],
    ...                   dtype=[("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")])
    >>> events_to_averaged_surfaces(events, (4, 4, 2), cell=4, radius=1)[0, 1, 1].round(3).tolist()
    [0.18400000035762787, 1.0, 0.0]
    """
    from neuro.kernels.events.events_numba import average, group

    records, cells, columns = _cells(events, sensor_size, cell, radius)
    polarities = sensor_size[2]
    real, back, constant = _real(dtype), microseconds("window", window), positive("tau", tau) * 1e6
    means = np.zeros((cells * polarities, 2 * radius + 1, 2 * radius + 1), real)
    bucket, order = np.empty((2, len(records)), np.int64)
    first = np.zeros(len(means) + 1, np.int64)
    group(records, cell, columns, polarities, bucket, first, order)
    size = -(-len(means) // _BLOCKS)
    starts = range(0, len(means), size)

    def fill(b: int) -> None:
        average(records, first, order, back, constant, cell, radius, means, b, min(len(means), b + size))

    run_blocks([lambda b=b: fill(b) for b in starts])  # type: ignore[misc]
    return means.reshape(cells, polarities, *means.shape[1:])


def events_to_averaged_surfaces_reference(
    events: NDArray[Any],
    sensor_size: tuple[int, int, int],
    *,
    cell: int = 10,
    radius: int = 2,
    window: float = 1e-3,
    tau: float = 100e-6,
    dtype: Real = "float32",
) -> NDArray[Any]:
    """Definition of :func:`events_to_averaged_surfaces` in plain NumPy; same arguments, result but for rounding."""
    records, cells, columns = _cells(events, sensor_size, cell, radius)
    back, constant = microseconds("window", window), positive("tau", tau) * 1e6
    side = 2 * radius + 1
    sums, number = np.zeros((cells, sensor_size[2], side, side)), np.zeros((cells, sensor_size[2], 1, 1))
    t, x, y = (records[name].astype(np.int64) for name in ("t", "x", "y"))
    p = records["p"].astype(np.int64) * (sensor_size[2] > 1)
    where = (y // cell) * columns + x // cell
    for i in range(len(records)):
        past = slice(0, i + 1)
        same = (where[past] == where[i]) & (p[past] == p[i]) & (t[past] >= t[i] - back)
        j = np.flatnonzero(same & (abs(x[past] - x[i]) <= radius) & (abs(y[past] - y[i]) <= radius))
        target = sums[where[i], p[i]]
        np.add.at(target, (y[j] - y[i] + radius, x[j] - x[i] + radius), np.exp((t[j] - t[i]) / constant))
        number[where[i], p[i]] += 1
    return (sums / np.maximum(number, 1)).astype(_real(dtype))


def _plan(
    events: NDArray[Any], sensor_size: tuple[int, int, int], dt: float, duration: float | None, start: float
) -> tuple[NDArray[np.void], NDArray[np.int64], int, tuple[int, int, int, int]]:
    records = as_records(events, sensor_size, sort=True)
    step = microseconds("dt", dt)
    span = span_of(records, start, duration)
    width, height, polarities = sensor_size
    edges = bin_edges(span.start, span.length, step)
    return records, edges, step, (len(edges) - 1, polarities, height, width)


def _cells(
    events: NDArray[Any], sensor_size: tuple[int, int, int], cell: int, radius: int
) -> tuple[NDArray[np.void], int, int]:
    """Records, number of cells, cells in a row."""
    check_cells(cell, radius)
    width, height, _ = sensor_size
    records = as_records(events, sensor_size, sort=True)
    columns = -(-width // cell)
    return records, columns * -(-height // cell), columns


def check_cells(cell: int, radius: int) -> None:
    """Raise :class:`neuro.errors.InputError` where a cell of ``cell`` pixels cannot hold a surface of ``radius``."""
    for name, value, least in (("radius", radius, 0), ("cell", cell, 1)):
        if not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"{name} must be a whole number of pixels of at least {least}, got {value!r}")
    if cell < 2 * radius + 1:
        raise InputError(f"cell={cell} is smaller than a surface of {2 * radius + 1} pixels (radius={radius})")


def positive(name: str, seconds: float) -> float:
    """A time in ``seconds`` as a float; raises :class:`neuro.errors.InputError` where it is not positive and finite."""
    if not (isinstance(seconds, int | float | np.number) and math.isfinite(seconds) and seconds > 0):
        raise InputError(f"{name} must be a positive time in seconds, got {seconds!r}")
    return float(seconds)


def _real(dtype: str) -> np.dtype[Any]:
    if dtype not in ("float32", "float64"):
        raise InputError(f"dtype must be float32 or float64, got {dtype!r}")
    return np.dtype(dtype)
