"""Events to a voxel grid: every event shared between the two nearest points in time."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuro.errors import InputError
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.events.records import Span, as_records, span_of, zeros

__all__ = ["Voxels", "events_to_voxels", "events_to_voxels_reference"]


class Voxels(NamedTuple):
    """Events shared among nodes in time.

    Attributes:
        grid: ``[B, 1, H, W]``, signed sum of weights per node and pixel.
        late: number of events after the last node; they are in no node.
    """

    grid: NDArray[Any]
    late: int


def events_to_voxels(
    events: NDArray[Any],
    sensor_size: tuple[int, int, int],
    bins: int,
    duration: float | None = None,
    *,
    start: float | None = None,
    dtype: Literal["float32", "float64"] = "float32",
) -> Voxels:
    """Share the sign of every event between the two nodes in time it lies between.

    With ``s = (B - 1) (t - start) / duration`` the value of node ``b`` is
    ``sum_i (+1 if p_i else -1) max(0, 1 - |b - s_i|)``: Zhu et al. 2019, "Unsupervised event-based learning of
    optical flow, depth, and egomotion", equations 1 to 3. The nodes stand at ``start`` and ``start + duration``
    and evenly between, so the weights of an event add up to one and the grid to the sum of the signs.

    Tonic's ``ToVoxelGrid(n_time_bins=n)`` divides by ``n`` instead: its result is the first ``n`` nodes of
    ours with ``bins=n + 1``, and what it shares with the missing node, the last event included, is lost.

    Args:
        events: structured array ``[E]`` with fields ``t`` (microseconds), ``x``, ``y`` and ``p``, in any order
            of time; never written to.
        sensor_size: (width, height, polarities). With one polarity every event counts +1.
        bins: number of nodes B.
        duration: from the first to the last node, in seconds; by default to the last event.
        start: time of the first node in seconds; by default that of the first event.
        dtype: of the grid.

    Returns:
        The grid ``[B, 1, H, W]`` and the number of events after the last node.

    Raises:
        InputError: fewer than one bin; an event before ``start`` or outside the sensor; times that
            are not whole microseconds.

    >>> events = np.array([(0, 1, 0, 1), (25, 1, 0, 0), (100, 0, 0, 1)],
    ...                   dtype=[("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")])
    >>> events_to_voxels(events, (2, 1, 2), bins=3).grid[:, 0, 0].tolist()
    [[0.0, 0.5], [0.0, -0.5], [1.0, 0.0]]
    """
    from neuro.kernels.events.events_numba import accumulate, bounds

    records, span = _plan(events, sensor_size, bins, duration, start, dtype)
    width, height, polarities = sensor_size
    grid = zeros((bins, 1, height, width), dtype)
    scale = _scale(bins, span)
    edges = _edges(bins, span)
    bound = bounds(records, edges)
    fixed = (records, polarities > 1, span.start, scale, width, width * height, grid.reshape(-1))

    def fill(k: int) -> None:
        accumulate(*fixed, k, bound[k], bound[k + 1])

    # Neighbouring intervals meet in a node: first every even one, then every odd one, always in this order.
    for parity in (0, 1):
        run_blocks([lambda k=k: fill(k) for k in range(parity, len(edges) - 1, 2)])  # type: ignore[misc]
    return Voxels(grid, len(records) - int(bound[-1]))


def events_to_voxels_reference(
    events: NDArray[Any],
    sensor_size: tuple[int, int, int],
    bins: int,
    duration: float | None = None,
    *,
    start: float | None = None,
    dtype: Literal["float32", "float64"] = "float32",
) -> Voxels:
    """Definition of :func:`events_to_voxels` in plain NumPy; same arguments and result but for rounding."""
    records, span = _plan(events, sensor_size, bins, duration, start, dtype)
    width, height, polarities = sensor_size
    inside = records[records["t"] <= span.start + span.length]
    sign = np.where(inside["p"] | (polarities == 1), 1.0, -1.0)
    s = (inside["t"] - span.start) * _scale(bins, span)
    grid = np.zeros((bins, 1, height, width))
    for b in range(bins):
        np.add.at(grid[b, 0], (inside["y"], inside["x"]), sign * np.maximum(0.0, 1.0 - np.abs(b - s)))
    return Voxels(grid.astype(dtype), len(records) - len(inside))


def _plan(
    events: NDArray[Any],
    sensor_size: tuple[int, int, int],
    bins: int,
    duration: float | None,
    start: float | None,
    dtype: str,
) -> tuple[NDArray[np.void], Span]:
    if not isinstance(bins, int | np.integer) or bins < 1:
        raise InputError(f"bins must be a whole number of at least 1, got {bins!r}")
    if dtype not in ("float32", "float64"):
        raise InputError(f"dtype must be float32 or float64, got {dtype!r}")
    records = as_records(events, sensor_size, sort=True)
    first = (records["t"][0] * 1e-6 if len(records) else 0.0) if start is None else start
    span = span_of(records, first, duration)
    # The last node stands on the last event, not behind it.
    return records, span if duration is not None else Span(span.start, max(0, span.length - 1))


def _scale(bins: int, span: Span) -> float:
    """Nodes per microsecond."""
    return (bins - 1) / span.length if span.length else 0.0


def _edges(bins: int, span: Span) -> NDArray[np.int64]:
    """First whole microsecond at or after each node but the last, and the first one after the last node."""
    intervals = max(1, bins - 1)
    # Without length every event stands on the first node.
    nodes = [-(-k * span.length // intervals) if span.length or k == 0 else 1 for k in range(intervals)]
    return np.array([*nodes, span.length + 1], np.int64) + span.start
