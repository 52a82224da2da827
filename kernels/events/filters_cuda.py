"""Filters of recordings on a GPU: columns on the device in, the columns kept out.

The loops of the CPU carry the last time of every pixel from event to event. Here events are sorted by pixel, stably,
so that the past of a pixel is a stretch of the sorted times, and every event finds its own answer there: the event in
front of it (refractory filter), or by bisection the last one of a neighbour that came before it (denoise). The result
is the same event for event; the cost is one sort, and four bisections per event for denoise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.events.columns import Columns, checked_places, launch, places
from neuro.kernels.events.records import microseconds

__all__ = [
    "denoise_columns",
    "denoise_source",
    "drop_hot_columns",
    "hot_source",
    "refractory_columns",
    "refractory_source",
    "tally_source",
]

_EVENT = """    long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= events) return;
"""


def denoise_source() -> str:
    """CUDA C++ of the kernel ``event_denoise``."""
    return f"""extern "C" __global__ void event_denoise(
    const long long* t, const short* x, const short* y, const long long* order, const long long* first,
    unsigned char* keep, long long events, long long time, long long height, long long width)
{{
{_EVENT}    const int right[4] = {{-1, 1, 0, 0}}, down[4] = {{0, 0, -1, 1}};
    keep[e] = 0;
    for (int k = 0; k < 4; ++k) {{
        long long column = x[e] + right[k], row = y[e] + down[k];
        if (column < 0 || column >= width || row < 0 || row >= height) continue;
        long long begin = first[row * width + column];
        long long low = begin, high = first[row * width + column + 1];
        while (low < high) {{
            long long middle = (low + high) / 2;
            if (order[middle] < e) low = middle + 1; else high = middle;
        }}
        if (low > begin && t[order[low - 1]] > t[e] - time) keep[e] = 1;
    }}
}}
"""


def refractory_source() -> str:
    """CUDA C++ of the kernel ``event_refractory``: thread ``e`` has the event that is ``e``-th by pixel."""
    return f"""extern "C" __global__ void event_refractory(
    const long long* t, const long long* pixel, const long long* order, unsigned char* keep,
    long long events, long long period)
{{
{_EVENT}    long long here = order[e], before = e ? order[e - 1] : here;
    keep[here] = e == 0 || pixel[before] != pixel[here] || t[here] - t[before] > period;
}}
"""


def tally_source() -> str:
    """CUDA C++ of the kernel ``event_tally``: events per pixel."""
    return f"""extern "C" __global__ void event_tally(const long long* pixel, int* counts, long long events)
{{
{_EVENT}    atomicAdd(counts + pixel[e], 1);
}}
"""


def hot_source() -> str:
    """CUDA C++ of the kernel ``event_cool``: keeps events of pixels that count at most ``most``."""
    return f"""extern "C" __global__ void event_cool(
    const long long* pixel, const int* counts, unsigned char* keep, long long events, double most)
{{
{_EVENT}    keep[e] = counts[pixel[e]] <= most;
}}
"""


def denoise_columns(columns: Columns, sensor_size: tuple[int, int, int], filter_time: float) -> Columns:
    """As :func:`neuro.kernels.events.filters.denoise`, from columns ``[E]`` on a device, in order of time.

    Args:
        columns: of the recording.
        sensor_size: (width, height, polarities).
        filter_time: in seconds, a whole number of microseconds.

    Returns:
        The columns ``[K]`` of the events kept, on that device.

    Raises:
        InputError: columns of another type, length or device; events outside the sensor or not in order of
            time; a wrong ``filter_time``.
    """
    given = checked_places(columns, sensor_size, ordered=True)
    time = microseconds("filter_time", filter_time)
    width, height, _ = sensor_size
    order, first = places(_pixels(given, width), width * height)
    keep = torch.empty_like(given.p)
    tensors = [given.t, given.x, given.y, order, first, keep]
    launch(denoise_source(), "event_denoise", len(keep), tensors, (len(keep), time, height, width))
    return given.at(keep)


def refractory_columns(columns: Columns, sensor_size: tuple[int, int, int], period: float) -> Columns:
    """As :func:`neuro.kernels.events.filters.refractory_filter`, from columns ``[E]`` on a device, in order of time.

    Args:
        columns: of the recording.
        sensor_size: (width, height, polarities).
        period: in seconds, a whole number of microseconds.

    Returns:
        The columns ``[K]`` of the events kept, on that device.

    Raises:
        InputError: columns of another type, length or device; events outside the sensor or not in order of
            time; a wrong ``period``.
    """
    given = checked_places(columns, sensor_size, ordered=True)
    silence = microseconds("period", period)
    width, height, _ = sensor_size
    pixel = _pixels(given, width)
    order, _ = places(pixel, width * height)
    keep = torch.empty_like(given.p)
    tensors = [given.t, pixel, order, keep]
    launch(refractory_source(), "event_refractory", len(keep), tensors, (len(keep), silence))
    return given.at(keep)


def drop_hot_columns(
    columns: Columns, sensor_size: tuple[int, int, int], rate: float, duration: float | None = None
) -> Columns:
    """As :func:`neuro.kernels.events.filters.drop_hot_pixels`, from columns ``[E]`` on a device, in order of time.

    Args:
        columns: of the recording.
        sensor_size: (width, height, polarities).
        rate: events per second.
        duration: length of the recording in seconds; by default from the first to the last event.

    Returns:
        The columns ``[K]`` of the events kept, on that device.

    Raises:
        InputError: columns of another type, length or device; events outside the sensor or not in order of
            time; a ``rate`` that is not positive and finite; a recording of no length without ``duration``.
    """
    if not (isinstance(rate, int | float) and math.isfinite(rate) and rate > 0):
        raise InputError(f"rate must be a positive number of events per second, got {rate!r}")
    given = checked_places(columns, sensor_size, ordered=True)
    number = len(given.t)
    if duration is not None:
        length = microseconds("duration", duration)
    else:
        length = int(given.t[-1] - given.t[0]) if number else 0
        if number and not length:
            raise InputError(f"{number} events at one moment have no rate; give the duration of the recording")
    pixel = _pixels(given, sensor_size[0])
    counts = torch.zeros(sensor_size[0] * sensor_size[1], dtype=torch.int32, device=pixel.device)
    launch(tally_source(), "event_tally", number, [pixel, counts], (number,))
    keep = torch.empty_like(given.p)
    launch(hot_source(), "event_cool", number, [pixel, counts, keep], (number, float(rate * length * 1e-6)))
    return given.at(keep)


def _pixels(columns: Columns, width: int) -> Tensor:
    """Number of the pixel of every event, ``[E]``."""
    return columns.y.long() * width + columns.x.long()
