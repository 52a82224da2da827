"""Numba loops of the event ops. Records are checked and in order of time: see :mod:`neuro.kernels.events.records`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = [
    "accumulate",
    "average",
    "bounds",
    "cool",
    "count",
    "group",
    "mark",
    "pack",
    "quiet",
    "scan",
    "supported",
    "surfaces",
    "tally",
]

Array = np.ndarray[Any, Any]
_FAR = 500.0  # time constants after which a trace moves its origin: exp(500) is far from overflow


@numba.njit(error_model="numpy", nogil=True, cache=True)
def scan(records: Array, width: int, height: int) -> tuple[bool, bool]:
    """Whether all ``records [E]`` lie on the sensor and not before time zero (us), and whether time never falls."""
    outside = False
    ordered = True
    previous = np.int64(-(2**63))
    low = np.int64(0)
    for i in range(records.shape[0]):
        r = records[i]
        outside |= (r.x < 0) | (r.x >= width) | (r.y < 0) | (r.y >= height)
        ordered &= r.t >= previous
        low |= r.t  # the sign bit stays once any time is negative
        previous = r.t
    return not (outside or low < 0), ordered


@numba.njit(error_model="numpy", nogil=True, cache=True)
def bounds(records: Array, edges: Array) -> Array:
    """For each time of ``edges [K]`` (us): number of ``records`` before it."""
    found = np.empty(edges.shape[0], np.int64)
    for k in range(edges.shape[0]):
        low = np.int64(0)
        high = np.int64(records.shape[0])
        while low < high:
            middle = (low + high) // 2
            if records[middle].t < edges[k]:
                low = middle + 1
            else:
                high = middle
        found[k] = low
    return found


@numba.njit(error_model="numpy", nogil=True, cache=True)
def count(records: Array, bound: Array, shape: Any, out: Array, limit: int, k0: int, k1: int) -> bool:
    """Events per bin ``k0:k1``, polarity and pixel into the flat ``out``; whether a count went beyond ``limit``."""
    _, polarities, height, width = shape
    kept = np.uint32(polarities > 1)
    area = polarities * height * width
    full = np.int64(0)
    for k in range(k0, k1):
        plane = out[k * area : (k + 1) * area]
        for i in range(bound[k], bound[k + 1]):
            r = records[i]
            row = (np.uint32(r.p) & kept) * np.uint32(height) + np.uint32(r.y)
            at = np.uint32(row * np.uint32(width) + np.uint32(r.x))
            full |= np.int64(plane[at] == limit)
            plane[at] += 1
    return bool(full)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def mark(records: Array, bound: Array, shape: Any, out: Array, k0: int, k1: int) -> None:
    """One where a bin ``k0:k1`` holds an event, into the flat ``out``."""
    _, polarities, height, width = shape
    kept = np.uint32(polarities > 1)
    area = polarities * height * width
    for k in range(k0, k1):
        plane = out[k * area : (k + 1) * area]
        for i in range(bound[k], bound[k + 1]):
            r = records[i]
            row = (np.uint32(r.p) & kept) * np.uint32(height) + np.uint32(r.y)
            plane[np.uint32(row * np.uint32(width) + np.uint32(r.x))] = 1


@numba.njit(error_model="numpy", nogil=True, cache=True)
def accumulate(
    records: Array, signed: bool, start: int, scale: float, width: int, area: int, out: Array, k: int, e0: int, e1: int
) -> None:
    """Share the signs of ``records[e0:e1]``, all between nodes k and k+1, among the two planes of the flat ``out``."""
    left = out[k * area : (k + 1) * area]
    after = out[(k + 1) * area : (k + 2) * area]
    share = after.shape[0] > 0
    for i in range(e0, e1):
        r = records[i]
        weight = 1.0 if r.p or not signed else -1.0
        right = weight * (np.float64(r.t - start) * scale - k)
        at = np.uint32(np.uint32(r.y) * np.uint32(width) + np.uint32(r.x))
        left[at] += weight - right
        if share:
            after[at] += right


@numba.njit(error_model="numpy", nogil=True, cache=True)
def surfaces(
    records: Array,
    bound: Array,
    start: int,
    step: int,
    tau: float,
    polarities: int,
    height: int,
    width: int,
    out: Array,
) -> None:
    """``exp(-(end of bin - last event) / tau)`` of every bin into ``out [T, P * H * W]``, zeros before; times in us."""
    slot = np.full(polarities * height * width, -1, np.int32)  # which of the pixels that have fired
    pixel = np.empty(min(slot.shape[0], records.shape[0]), np.int64)
    value = np.empty(pixel.shape[0], np.float64)
    fired = 0
    decay = np.exp(-step / tau)
    for k in range(out.shape[0]):
        for a in range(fired):
            value[a] = value[a] * decay if value[a] > 1e-300 else 0.0
        end = start + (k + 1) * step
        for i in range(bound[k], bound[k + 1]):
            r = records[i]
            polarity = np.int64(r.p) if polarities > 1 else np.int64(0)
            at = (polarity * height + np.int64(r.y)) * width + np.int64(r.x)
            if slot[at] < 0:
                slot[at] = fired
                pixel[fired] = at
                fired += 1
            value[slot[at]] = np.exp((r.t - end) / tau)
        row = out[k]
        for a in range(fired):
            row[pixel[a]] = value[a]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def group(records: Array, cell: int, columns: int, polarities: int, bucket: Array, start: Array, order: Array) -> None:
    """Order of ``records`` by (cell, polarity), within one by time; bucket b holds ``order[start[b]:start[b + 1]]``."""
    for i in range(records.shape[0]):
        r = records[i]
        polarity = np.int64(r.p) if polarities > 1 else np.int64(0)
        bucket[i] = ((np.int64(r.y) // cell) * columns + np.int64(r.x) // cell) * polarities + polarity
        start[bucket[i] + 1] += 1
    for b in range(start.shape[0] - 1):
        start[b + 1] += start[b]
    following = start.copy()
    for i in range(records.shape[0]):
        order[following[bucket[i]]] = i
        following[bucket[i]] += 1


@numba.njit(error_model="numpy", nogil=True, cache=True)
def average(
    records: Array,
    start: Array,
    order: Array,
    window: int,
    tau: float,
    cell: int,
    radius: int,
    out: Array,
    b0: int,
    b1: int,
) -> None:
    """Mean over the events of buckets ``b0:b1`` of the decayed past within ``radius`` pixels and ``window`` us.

    Every pixel of a cell holds ``sum_j exp((t_j - origin) / tau)`` over its events in the window,
    so that an event reads its whole surroundings with one exponential.
    """
    side = cell + 2 * radius  # a rim of pixels that never fire
    for b in range(b0, b1):
        if start[b] == start[b + 1]:
            continue
        trace = np.zeros((side, side), np.float64)
        held = np.zeros((side, side), np.int64)
        surface = np.zeros((2 * radius + 1, 2 * radius + 1), np.float64)
        oldest = start[b]
        origin = records[order[oldest]].t
        for k in range(start[b], start[b + 1]):
            here = records[order[k]]
            while records[order[oldest]].t < here.t - window:
                past = records[order[oldest]]
                y, x = past.y % cell + radius, past.x % cell + radius
                held[y, x] -= 1
                trace[y, x] = trace[y, x] - np.exp((past.t - origin) / tau) if held[y, x] else 0.0
                oldest += 1
            if here.t - origin > _FAR * tau:
                trace *= np.exp((origin - here.t) / tau)
                origin = here.t
            y, x = here.y % cell, here.x % cell
            trace[y + radius, x + radius] += np.exp((here.t - origin) / tau)
            held[y + radius, x + radius] += 1
            scale = np.exp((origin - here.t) / tau)
            for dy in range(2 * radius + 1):
                for dx in range(2 * radius + 1):
                    surface[dy, dx] += trace[y + dy, x + dx] * scale
        out[b] = surface / (start[b + 1] - start[b])


@numba.njit(error_model="numpy", nogil=True, cache=True)
def supported(records: Array, width: int, height: int, time: int, keep: Array) -> None:
    """Keep events one of whose four neighbours fired less than ``time`` us before."""
    never = np.int64(-(2**62))
    stride = width + 2  # a rim of pixels that never fire
    last = np.full((height + 2) * stride, never, np.int64)
    for i in range(records.shape[0]):
        r = records[i]
        at = (np.int64(r.y) + 1) * stride + np.int64(r.x) + 1
        since = r.t - time
        near = (last[at - 1] > since) | (last[at + 1] > since)
        keep[i] = near | (last[at - stride] > since) | (last[at + stride] > since)
        last[at] = r.t


@numba.njit(error_model="numpy", nogil=True, cache=True)
def quiet(records: Array, width: int, height: int, period: int, keep: Array) -> None:
    """Keep events whose pixel was silent for more than ``period`` us before."""
    last = np.full(width * height, np.int64(-1), np.int64)  # times begin at 0
    for i in range(records.shape[0]):
        r = records[i]
        at = np.int64(r.y) * width + np.int64(r.x)
        keep[i] = last[at] < 0 or r.t - last[at] > period
        last[at] = r.t


@numba.njit(error_model="numpy", nogil=True, cache=True)
def tally(records: Array, width: int, counts: Array) -> None:
    """Events per pixel into the flat ``counts``."""
    for i in range(records.shape[0]):
        r = records[i]
        counts[np.int64(r.y) * width + np.int64(r.x)] += 1


@numba.njit(error_model="numpy", nogil=True, cache=True)
def cool(records: Array, width: int, counts: Array, most: float, keep: Array) -> None:
    """Keep events of pixels whose entry of the flat ``counts`` is at most ``most``."""
    for i in range(records.shape[0]):
        r = records[i]
        keep[i] = counts[np.int64(r.y) * width + np.int64(r.x)] <= most


@numba.njit(error_model="numpy", nogil=True, cache=True)
def pack(records: Array, keep: Array, out: Array) -> None:
    """The ``records`` to keep, one after the other, into ``out``."""
    k = 0
    for i in range(records.shape[0]):
        if keep[i]:
            out[k] = records[i]
            k += 1
