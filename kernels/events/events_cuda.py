"""Events to frames and voxel grids on a GPU: one thread per event, atomic additions.

Columns of events already on the device go in; the tensors stay there. Tensors on the CPU run the same text
through :mod:`neuro.kernels.engines.host_shim`. An event outside the sensor or before the start is counted
and refused after the kernel, which never writes outside its output.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.events.columns import Columns, check_columns, launch
from neuro.kernels.events.records import microseconds

__all__ = ["columns_to_frames", "columns_to_voxels", "frames_source", "voxels_source"]

_ARGUMENTS = (
    "const long long* t, const short* x, const short* y, const unsigned char* p, {real}* out, int* outside,\n"
    "    long long events, long long start, long long length, long long step, long long bins,\n"
    "    long long polarities, long long height, long long width"
)
_PLACE = """    long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= events) return;
    long long since = t[e] - start;
    if (since < 0 || x[e] < 0 || x[e] >= width || y[e] < 0 || y[e] >= height) { atomicAdd(outside, 1); return; }
"""


def frames_source() -> str:
    """CUDA C++ of the kernel ``event_frames``."""
    return f"""extern "C" __global__ void event_frames(
    {_ARGUMENTS.format(real="int")})
{{
{_PLACE}    if (since >= length) {{ atomicAdd(outside + 1, 1); return; }}
    long long plane = since / step * polarities + (polarities > 1 && p[e] ? 1 : 0);
    atomicAdd(out + (plane * height + y[e]) * width + x[e], 1);
}}
"""


def voxels_source() -> str:
    """CUDA C++ of the kernel ``event_voxels``; ``step`` is not used."""
    return f"""extern "C" __global__ void event_voxels(
    {_ARGUMENTS.format(real="float")})
{{
{_PLACE}    if (since > length) {{ atomicAdd(outside + 1, 1); return; }}
    double s = length > 0 ? since * ((double)(bins - 1) / length) : 0.0;
    long long node = (long long)s;
    double weight = p[e] || polarities == 1 ? 1.0 : -1.0;
    double right = weight * (s - node);
    float* left = out + (node * height + y[e]) * width + x[e];
    atomicAdd(left, (float)(weight - right));
    if (node + 1 < bins) atomicAdd(left + height * width, (float)right);
    (void)step;
}}
"""


def columns_to_frames(
    columns: Columns, sensor_size: tuple[int, int, int], dt: float, duration: float, *, start: float = 0.0
) -> tuple[Tensor, int]:
    """As :func:`neuro.kernels.events.frames.events_to_frames`, from columns ``[E]`` on a device.

    Args:
        columns: of the recording.
        sensor_size: (width, height, polarities).
        dt: width of a bin in seconds.
        duration: in seconds.
        start: when the first bin begins, in seconds.

    Returns:
        Counts ``[T, P, H, W]`` int32 on that device, and the number of events at or after the end.

    Raises:
        InputError: columns of another type, length or device; events outside the sensor or before ``start``.
    """
    width, height, polarities = check_columns(columns, sensor_size)
    first, length = microseconds("start", start, zero=True), microseconds("duration", duration)
    step = microseconds("dt", dt)
    bins = -(-length // step)
    counts = torch.zeros((bins, polarities, height, width), dtype=torch.int32, device=columns.t.device)
    sizes = (len(columns.t), first, length, step, bins, polarities, height, width)
    return counts, _run(frames_source(), "event_frames", columns, counts, sizes)


def columns_to_voxels(
    columns: Columns, sensor_size: tuple[int, int, int], bins: int, duration: float, *, start: float = 0.0
) -> tuple[Tensor, int]:
    """As :func:`neuro.kernels.events.voxels.events_to_voxels`, from columns ``[E]`` on a device.

    The order of additions, and so the last bit of the sums, is not fixed on a GPU.

    Args:
        columns: of the recording.
        sensor_size: (width, height, polarities).
        bins: number of nodes B.
        duration: from the first to the last node, in seconds.
        start: time of the first node in seconds.

    Returns:
        Grid ``[B, 1, H, W]`` float32 on that device, and the number of events after the last node.

    Raises:
        InputError: columns of another type, length or device; events outside the sensor or before
            ``start``; fewer than one bin.
    """
    width, height, polarities = check_columns(columns, sensor_size)
    if not isinstance(bins, int) or bins < 1:
        raise InputError(f"bins must be a whole number of at least 1, got {bins!r}")
    first, length = microseconds("start", start, zero=True), microseconds("duration", duration)
    grid = torch.zeros((bins, 1, height, width), device=columns.t.device)
    sizes = (len(columns.t), first, length, 1, bins, polarities, height, width)
    return grid, _run(voxels_source(), "event_voxels", columns, grid, sizes)


def _run(source: str, name: str, columns: Columns, out: Tensor, sizes: Sequence[int]) -> int:
    """Launch; the number of late events."""
    outside = torch.zeros(2, dtype=torch.int32, device=out.device)
    launch(source, name, len(columns.t), [*(column.contiguous() for column in columns), out, outside], sizes)
    wrong, late = outside.tolist()
    if wrong:
        raise InputError(f"{wrong} events lie outside the sensor or before the start")
    return int(late)
