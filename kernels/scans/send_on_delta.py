"""Send-on-delta sampling: an event whenever a signal has moved by a threshold since the last one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.engines.operators import operator
from neuro.kernels.propagation.csr_cuda import launch
from neuro.kernels.scans.send_on_delta_cuda import send_on_delta_source

__all__ = ["BACKENDS", "send_on_delta", "send_on_delta_reference"]

BACKENDS = ("auto", "numba", "cuda", "reference")
_BLOCK = 512  # signals a task runs through time together: their state stays in the first cache


def send_on_delta(x: Tensor, start: Tensor, threshold: float, *, backend: str = "auto") -> Tensor:
    """On and off events of signals, at most one of the two in each step.

    With the level ``k[-1] = 0`` and the last value sent ``s[t] = start + threshold k[t - 1]``: on where
    ``x[t] - s[t] >= threshold``, off where ``x[t] - s[t] <= -threshold``, ``k[t] = k[t - 1] + on - off``. The level is
    counted, not added up, so the value sent does not drift from the signal by rounding. No gradient.

    Args:
        x: ``[T, B, N]``, float32 or float64. A NaN sends nothing.
        start: ``[B, N]``, the value taken as sent before the first step.
        threshold: positive, in the unit of ``x``.
        backend: ``"numba"`` or ``"cuda"``; ``"auto"``, the one for the device; ``"reference"``, the plain torch loop.

    Returns:
        ``[T, B, 2, N]`` zeros and ones: on, off.

    Raises:
        InputError: shapes, dtypes, devices or threshold that do not fit; a backend that is not there.

    Source: Miskowicz 2006, "Send-on-delta concept".

    >>> x = torch.tensor([0.0, 0.5, 1.2, 1.1, 0.0]).view(5, 1, 1)
    >>> send_on_delta(x, x[0], 0.5)[:, 0, :, 0].T.tolist()
    [[0.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]]
    """
    _check(x, start, threshold, backend)
    if backend == "reference":
        return send_on_delta_reference(x, start, threshold)
    made: Tensor = _op(x.detach(), start.detach(), float(threshold))
    return made


def send_on_delta_reference(x: Tensor, start: Tensor, threshold: float) -> Tensor:
    """Definition of :func:`send_on_delta` as a torch loop; same arguments and result."""
    level, step = torch.zeros_like(start), torch.as_tensor(threshold, dtype=x.dtype, device=x.device)
    out = x.new_zeros((x.shape[0], x.shape[1], 2, x.shape[2]))
    for now, sent in zip(x.detach().unbind(0), out.unbind(0), strict=True):
        moved = now - (start.detach() + step * level)
        sent[:, 0], sent[:, 1] = moved >= step, moved <= -step
        level = level + sent[:, 0] - sent[:, 1]
    return out


@operator("neuro::send_on_delta")
def _op(x: Tensor, start: Tensor, threshold: float) -> Tensor:
    given = x.contiguous(), start.contiguous(), torch.full((1,), threshold, dtype=x.dtype, device=x.device)
    out = x.new_empty((x.shape[0], x.shape[1], 2, x.shape[2]))
    if x.is_cuda:
        launch(send_on_delta_source(x.dtype), "send_on_delta", start.numel(), [*given, out], x.shape)
        return out
    from neuro.kernels.scans.send_on_delta_numba import send

    signal, first, step, made = (tensor.numpy() for tensor in (*given, out))
    blocks = ((b, n, min(n + _BLOCK, x.shape[2])) for b in range(x.shape[1]) for n in range(0, x.shape[2], _BLOCK))
    run_blocks([lambda block=block: send(signal, first, step, made, *block) for block in blocks])  # type: ignore[misc]
    return out


@_op.register_fake
def _fake(x: Tensor, start: Tensor, threshold: float) -> Tensor:
    return x.new_empty((x.shape[0], x.shape[1], 2, x.shape[2]))


def _check(x: Tensor, start: Tensor, threshold: float, backend: str) -> None:
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    if x.dim() != 3 or start.shape != x.shape[1:]:
        raise InputError(f"x must be [T, B, N] and start [B, N], got {list(x.shape)} and {list(start.shape)}")
    if x.dtype not in (torch.float32, torch.float64) or start.dtype != x.dtype or start.device != x.device:
        raise InputError(
            f"x and start must both be float32 or float64 on one device, got {x.dtype} on {x.device} and "
            f"{start.dtype} on {start.device}"
        )
    if not (isinstance(threshold, int | float) and math.isfinite(threshold) and threshold > 0):
        raise InputError(f"threshold must be a positive number, got {threshold}")
    if backend in ("numba", "cuda") and (backend == "cuda") != x.is_cuda:
        raise InputError(f"backend {backend!r} does not run on {x.device}; use 'auto' or move the tensors")
