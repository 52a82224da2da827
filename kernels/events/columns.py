"""Recordings as columns on a device, and the launch of the CUDA text that reads them.

Columns on the CPU run the same text through :mod:`neuro.kernels.engines.host_shim`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.engines.cuda_backend import _gpu_kernel
from neuro.kernels.engines.host_shim import HostModule

__all__ = ["Columns", "check_columns", "checked_places", "launch", "places"]

_BLOCK = 256
_DTYPES = (torch.int64, torch.int16, torch.int16, torch.bool)
_TYPES = MappingProxyType(
    {
        torch.int64: "long long*",
        torch.int32: "int*",
        torch.int16: "short*",
        torch.bool: "unsigned char*",
        torch.float32: "float*",
        torch.float64: "double*",
    }
)


class Columns(NamedTuple):
    """The fields of a recording, each ``[E]`` and on one device.

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

    def at(self, index: Tensor) -> Columns:
        """The events that ``index`` chooses: a mask ``[E]``, or their numbers ``[K]``."""
        return Columns(self.t[index], self.x[index], self.y[index], self.p[index])


def check_columns(columns: Columns, sensor_size: tuple[int, int, int]) -> tuple[int, int, int]:
    """The ``sensor_size``, once types, shapes ``[E]`` and devices are right.

    Raises:
        InputError: columns of another type, length or device; a wrong sensor size.
    """
    for name, column, dtype in zip("txyp", columns, _DTYPES, strict=True):
        if column.dtype != dtype or column.shape != columns.t.shape or column.ndim != 1:
            seen = f"{column.dtype} {tuple(column.shape)}"
            raise InputError(f"column {name} must be {dtype} of shape {(len(columns.t),)}, got {seen}")
        if column.device != columns.t.device:
            raise InputError(f"column {name} is on {column.device}, column t on {columns.t.device}; move one")
    if len(sensor_size) != 3 or min(sensor_size) < 1:
        raise InputError(f"sensor_size must be (width, height, polarities), each at least 1, got {sensor_size}")
    return sensor_size


def checked_places(columns: Columns, sensor_size: tuple[int, int, int], *, ordered: bool) -> Columns:
    """Contiguous ``columns`` whose events all lie on the sensor, in order of time.

    Args:
        columns: each ``[E]``.
        sensor_size: (width, height, polarities).
        ordered: refuse events that run backwards in time; otherwise they are sorted, equal times as they came.

    Raises:
        InputError: as :func:`check_columns`; events outside the sensor or before time zero; events out of order.
    """
    width, height, _ = check_columns(columns, sensor_size)
    t, x, y, _ = columns
    outside = int(((x < 0) | (x >= width) | (y < 0) | (y >= height) | (t < 0)).sum())
    if outside:
        raise InputError(f"{outside} events lie outside the sensor or before the start")
    falls = t[1:] < t[:-1]
    if bool(falls.any()):
        if ordered:
            at = int(falls.nonzero()[0]) + 1
            raise InputError(f"event {at}: t={int(t[at])} us is before the event in front of it; sort by t")
        return columns.at(torch.argsort(t, stable=True))
    return Columns(*(column.contiguous() for column in columns))


def places(key: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Order of the events by ``key [E]``, equal keys as they came, and where each key begins in it, ``[number + 1]``."""
    ranked, order = torch.sort(key, stable=True)
    return order, torch.searchsorted(ranked, torch.arange(number + 1, device=key.device))


def launch(source: str, name: str, threads: int, tensors: Sequence[Tensor], numbers: Sequence[int | float]) -> None:
    """Run kernel ``name`` of ``source`` where the ``tensors`` (any shape) are: those first, then whole and real numbers."""
    if not threads:
        return
    grid = -(-threads // _BLOCK)
    if tensors[0].is_cuda:
        _launch_gpu(source, name, grid, tensors, numbers)
        return
    types = [_TYPES[a.dtype] for a in tensors] + ["long long" if isinstance(n, int) else "double" for n in numbers]
    given = [ctypes.c_longlong(n) if isinstance(n, int) else ctypes.c_double(n) for n in numbers]
    HostModule(source, name, types)(grid, _BLOCK, [*(ctypes.c_void_p(a.data_ptr()) for a in tensors), *given])


def _launch_gpu(source: str, name: str, grid: int, tensors: Sequence[Tensor], numbers: Sequence[int | float]) -> None:
    kernel = _gpu_kernel(source, name)
    import cupy
    import numpy as np

    device = tensors[0].device
    given = [np.int64(n) if isinstance(n, int) else np.float64(n) for n in numbers]
    with cupy.cuda.Device(device.index), cupy.cuda.ExternalStream(torch.cuda.current_stream(device).cuda_stream):
        kernel((grid,), (_BLOCK,), (*(a.data_ptr() for a in tensors), *given))
