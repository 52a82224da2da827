"""Events to frames and voxel grids on a GPU: one thread per event, atomic additions.

Columns of events already on the device go in; the tensors stay there. Tensors on the CPU run the same text
through :mod:`neuro.kernels.engines.host_shim`. An event outside the sensor or before the start is counted
and refused after the kernel, which never writes outside its output.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.engines.cuda_backend import _gpu_kernel
from neuro.kernels.engines.host_shim import HostModule
from neuro.kernels.events.records import microseconds

__all__ = ["Columns", "columns_to_frames", "columns_to_voxels", "frames_source", "voxels_source"]

_BLOCK = 256
_ARGUMENTS = (
    "const long long* t, const short* x, const short* y, const unsigned char* p, {real}* out, int* outside,\n"
    "    long long events, long long start, long long length, long long step, long long bins,\n"
    "    long long polarities, long long height, long long width"
)
_TYPES = ("const long long*", "const short*", "const short*", "const unsigned char*")
_PLACE = """    long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= events) return;
    long long since = t[e] - start;
    if (since < 0 || x[e] < 0 || x[e] >= width || y[e] < 0 || y[e] >= height) { atomicAdd(outside, 1); return; }
"""


class Columns(NamedTuple):
    """The fields of a recording, each ``[E]`` and on one device, in any order of time.

    Attributes:
        t: int64, microseconds.
        x: int16.
        y: int16.
        p: bool.
    """

    t: Tensor
    x: Tensor
    y: Tensor
    p: Tensor


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
    width, height, polarities = _check(columns, sensor_size)
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
    width, height, polarities = _check(columns, sensor_size)
    if not isinstance(bins, int) or bins < 1:
        raise InputError(f"bins must be a whole number of at least 1, got {bins!r}")
    first, length = microseconds("start", start, zero=True), microseconds("duration", duration)
    grid = torch.zeros((bins, 1, height, width), device=columns.t.device)
    sizes = (len(columns.t), first, length, 1, bins, polarities, height, width)
    return grid, _run(voxels_source(), "event_voxels", columns, grid, sizes)


def _check(columns: Columns, sensor_size: tuple[int, int, int]) -> tuple[int, int, int]:
    wanted: Sequence[torch.dtype] = (torch.int64, torch.int16, torch.int16, torch.bool)
    for name, column, dtype in zip("txyp", columns, wanted, strict=True):
        if column.dtype != dtype or column.shape != columns.t.shape or column.ndim != 1:
            seen = f"{column.dtype} {tuple(column.shape)}"
            raise InputError(f"column {name} must be {dtype} of shape {(len(columns.t),)}, got {seen}")
        if column.device != columns.t.device:
            raise InputError(f"column {name} is on {column.device}, column t on {columns.t.device}; move one")
    if len(sensor_size) != 3 or min(sensor_size) < 1:
        raise InputError(f"sensor_size must be (width, height, polarities), each at least 1, got {sensor_size}")
    return sensor_size


def _run(source: str, name: str, columns: Columns, out: Tensor, sizes: Sequence[int]) -> int:
    """Launch; the number of late events."""
    outside = torch.zeros(2, dtype=torch.int32, device=out.device)
    tensors = [*(column.contiguous() for column in columns), out, outside]
    if len(columns.t):
        grid = -(-len(columns.t) // _BLOCK)
        launch = _launch_gpu if out.is_cuda else _launch_host
        launch(source, name, grid, tensors, sizes)
    wrong, late = outside.tolist()
    if wrong:
        raise InputError(f"{wrong} events lie outside the sensor or before the start")
    return int(late)


def _launch_gpu(source: str, name: str, grid: int, tensors: Sequence[Tensor], sizes: Sequence[int]) -> None:
    kernel = _gpu_kernel(source, name)
    import cupy
    import numpy as np

    device = tensors[0].device
    with cupy.cuda.Device(device.index), cupy.cuda.ExternalStream(torch.cuda.current_stream(device).cuda_stream):
        kernel((grid,), (_BLOCK,), (*(a.data_ptr() for a in tensors), *(np.int64(n) for n in sizes)))


def _launch_host(source: str, name: str, grid: int, tensors: Sequence[Tensor], sizes: Sequence[int]) -> None:
    real: Literal["int*", "float*"] = "int*" if tensors[4].dtype == torch.int32 else "float*"
    kernel = HostModule(source, name, (*_TYPES, real, "int*", *["long long"] * len(sizes)))
    kernel(grid, _BLOCK, [*(ctypes.c_void_p(a.data_ptr()) for a in tensors), *(ctypes.c_longlong(n) for n in sizes)])
