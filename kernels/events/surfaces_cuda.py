"""Events to time surfaces on a GPU, from columns on the device; the tensors stay there.

Time surface: the last event of every bin and pixel by an atomic maximum, one thread per event, then one thread per
pixel walks through the bins. ``E`` atomic operations and ``4 T P H W`` bytes of workspace.

Averaged surface: events sorted by (cell, polarity); one thread per event walks back through its bucket as far as the
window reaches. ``O(E log E)`` for the sort and ``E`` times the events of a bucket in a window for the walk.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.events.columns import Columns, checked_places, launch, places
from neuro.kernels.events.records import microseconds
from neuro.kernels.events.surfaces import check_cells, positive

__all__ = [
    "averaged_source",
    "columns_to_averaged_surfaces",
    "columns_to_surfaces",
    "latest_source",
    "surfaces_source",
]


def latest_source() -> str:
    """CUDA C++ of the kernel ``event_latest``: one plus the time since the bin's begin, 0 without an event."""
    return """extern "C" __global__ void event_latest(
    const long long* t, const short* x, const short* y, const unsigned char* p, int* latest,
    long long events, long long start, long long length, long long step,
    long long polarities, long long height, long long width)
{
    long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= events) return;
    long long since = t[e] - start;
    if (since < 0 || since >= length) return;
    long long bin = since / step;
    long long plane = bin * polarities + (polarities > 1 && p[e] ? 1 : 0);
    atomicMax(latest + (plane * height + y[e]) * width + x[e], (int)(since - bin * step + 1));
}
"""


def surfaces_source() -> str:
    """CUDA C++ of the kernel ``event_surfaces``: one thread per polarity and pixel, bins in order."""
    return """extern "C" __global__ void event_surfaces(
    const int* latest, float* out, long long bins, long long area, long long step, double tau)
{
    long long a = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (a >= area) return;
    long long age = -1;  // of the last event at the end of a bin; negative before the first
    for (long long k = 0; k < bins; ++k) {
        int seen = latest[k * area + a];
        age = seen ? step - (seen - 1) : age < 0 ? age : age + step;
        out[k * area + a] = age < 0 ? 0.0f : (float)exp(-(double)age / tau);
    }
}
"""


def averaged_source() -> str:
    """CUDA C++ of the kernel ``event_averaged``: adds the surface of every event to that of its bucket."""
    return """extern "C" __global__ void event_averaged(
    const long long* t, const short* x, const short* y, const long long* bucket, const long long* first, double* out,
    long long events, long long window, long long radius, double tau)
{
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= events) return;
    long long side = 2 * radius + 1;
    double* surface = out + bucket[i] * side * side;
    for (long long j = i; j >= first[bucket[i]] && t[j] >= t[i] - window; --j) {
        long long dx = x[j] - x[i] + radius, dy = y[j] - y[i] + radius;
        if (dx < 0 || dx >= side || dy < 0 || dy >= side) continue;
        atomicAdd(surface + dy * side + dx, exp((double)(t[j] - t[i]) / tau));
    }
}
"""


def columns_to_surfaces(
    columns: Columns, sensor_size: tuple[int, int, int], dt: float, tau: float, duration: float, *, start: float = 0.0
) -> tuple[Tensor, int]:
    """As :func:`neuro.kernels.events.surfaces.events_to_surfaces`, from columns ``[E]`` on a device, in any order.

    Args:
        columns: of the recording.
        sensor_size: (width, height, polarities).
        dt: time between surfaces in seconds, below 2147 s.
        tau: time constant in seconds.
        duration: in seconds.
        start: when the first bin begins, in seconds.

    Returns:
        Surfaces ``[T, P, H, W]`` float32 on that device, and the number of events at or after the end.

    Raises:
        InputError: columns of another type, length or device; events outside the sensor or before ``start``; a
            ``tau`` that is not positive and finite.
    """
    columns = checked_places(columns, sensor_size, ordered=False)
    width, height, polarities = sensor_size
    first, length = microseconds("start", start, zero=True), microseconds("duration", duration)
    step, constant = microseconds("dt", dt), positive("tau", tau) * 1e6
    if step >= 2**31 - 1:
        raise InputError(f"dt must be below {2**31 // 10**6} s, got {dt}")
    if len(columns.t) and int(columns.t[0]) < first:
        raise InputError(f"event t={int(columns.t[0])} us lies before start={start} s")
    bins = -(-length // step)
    latest = torch.zeros((bins, polarities, height, width), dtype=torch.int32, device=columns.t.device)
    numbers = (len(columns.t), first, length, step, polarities, height, width)
    launch(latest_source(), "event_latest", len(columns.t), [*columns, latest], numbers)
    values = torch.empty(latest.shape, device=latest.device)
    area = polarities * height * width
    launch(surfaces_source(), "event_surfaces", area, [latest, values], (bins, area, step, constant))
    return values, int((columns.t >= first + length).sum())


def columns_to_averaged_surfaces(
    columns: Columns,
    sensor_size: tuple[int, int, int],
    *,
    cell: int = 10,
    radius: int = 2,
    window: float = 1e-3,
    tau: float = 100e-6,
) -> Tensor:
    """As :func:`neuro.kernels.events.surfaces.events_to_averaged_surfaces`, from columns ``[E]`` on a device.

    The order of additions, and so the last bits of the float64 sums, is not fixed on a GPU.

    Args:
        columns: of the recording, in any order of time.
        sensor_size: (width, height, polarities).
        cell: side of a cell in pixels.
        radius: of a surface in pixels.
        window: how far back an event looks, in seconds.
        tau: time constant in seconds.

    Returns:
        ``[ceil(H / cell) * ceil(W / cell), P, 2 radius + 1, 2 radius + 1]`` float32 on that device.

    Raises:
        InputError: columns of another type, length or device; as the op on the CPU.
    """
    check_cells(cell, radius)
    columns = checked_places(columns, sensor_size, ordered=False)
    width, height, polarities = sensor_size
    back, constant = microseconds("window", window), positive("tau", tau) * 1e6
    wide, side = -(-width // cell), 2 * radius + 1
    cells = wide * -(-height // cell)
    where = torch.div(columns.y.long(), cell, rounding_mode="floor") * wide + columns.x.long() // cell
    bucket = where * polarities + (columns.p.long() if polarities > 1 else 0)
    order, first = places(bucket, cells * polarities)
    t, x, y, _ = columns.at(order)
    sums = torch.zeros((cells * polarities, side * side), dtype=torch.float64, device=t.device)
    tensors = [t, x, y, bucket[order], first, sums]
    launch(averaged_source(), "event_averaged", len(t), tensors, (len(t), back, radius, constant))
    means = sums / first.diff().clamp(min=1)[:, None]
    return means.float().reshape(cells, polarities, side, side)
