"""Decoders: spikes ``[T, B, ...]`` as values ``[B, ...]``; all are differentiable in the spikes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuro.encoding.limits import need_positive, need_sequence, need_steps
from neuro.errors import InputError

__all__ = [
    "delta_value",
    "first_spike_time",
    "latency_value",
    "phase_value",
    "population_vector",
    "rc_latency_value",
    "spike_rate",
]


def spike_rate(z: Tensor, *, dt: float = 1e-3) -> Tensor:
    """Spikes per second, ``sum_t z[t] / (T dt)``.

    Args:
        z: spikes ``[T, B, ...]``.
        dt: time step in seconds.

    Returns:
        ``[B, ...]`` in Hz.

    Raises:
        InputError: no steps; dt that is not positive.

    >>> spike_rate(torch.tensor([[1.0], [0.0], [0.0], [1.0]]), dt=0.125).tolist()
    [4.0]
    """
    need_sequence(z, "spike_rate")
    need_positive("dt", dt)
    return z.sum(0) / (z.shape[0] * dt)


def first_spike_time(z: Tensor, *, dt: float = 1e-3) -> Tensor:
    """Time of the first spike, ``dt sum_t prod_(s <= t) (1 - z[s])``: 0 in the first step, ``T dt`` for no spike.

    For zeros and ones the sum counts the steps before the first spike; as a polynomial in ``z`` it has a gradient,
    through which surrogates learn from spike times (earlier for any spike more at or before the first).

    Args:
        z: spikes ``[T, B, ...]``.
        dt: time step in seconds.

    Returns:
        ``[B, ...]`` in seconds.

    Raises:
        InputError: no steps; dt that is not positive.

    >>> first_spike_time(torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]), dt=1.0).tolist()
    [1.0, 0.0, 2.0]
    """
    need_sequence(z, "first_spike_time")
    need_positive("dt", dt)
    return dt * torch.cumprod(1 - z, 0).sum(0)


def latency_value(z: Tensor) -> Tensor:
    """Inverse of :func:`neuro.encoding.latency`: ``1 - t / (T - 1)`` for a first spike in step ``t``, 0 for none.

    Args:
        z: spikes ``[T, B, ...]``, T at least 2.

    Returns:
        ``[B, ...]`` in [0, 1].

    Raises:
        InputError: fewer than two steps.

    >>> latency_value(torch.tensor([[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])).tolist()
    [0.0, 1.0]
    """
    need_sequence(z, "latency_value", 2)
    return (1 - first_spike_time(z, dt=1.0) / (z.shape[0] - 1)).clamp(min=0)


def rc_latency_value(z: Tensor, *, tau: float, threshold: float, dt: float = 1e-3) -> Tensor:
    """Inverse of :func:`neuro.encoding.rc_latency`: ``threshold / (1 - exp(-t / tau))``, 0 for no spike.

    Args:
        z: spikes ``[T, B, ...]``.
        tau: membrane time constant in seconds.
        threshold: in the unit of the values.
        dt: time step in seconds; ``t`` is taken in the middle of the step of the first spike.

    Returns:
        ``[B, ...]``.

    Raises:
        InputError: no steps; parameters that are not positive.

    >>> round(float(rc_latency_value(torch.tensor([[0.0], [1.0]]), tau=2e-3, threshold=1.0)), 4)
    1.8953
    """
    need_positive("tau", tau)
    need_positive("threshold", threshold)
    when = first_spike_time(z, dt=dt)
    value = -threshold / torch.expm1(-(when + dt / 2) / tau)
    return torch.where(z.detach().amax(0) > 0, value, 0)


def phase_value(z: Tensor, *, period: int = 8) -> Tensor:
    """Inverse of :func:`neuro.encoding.phase`: mean over the periods of ``sum_k 2^-(1 + k) z[k]``.

    Args:
        z: spikes ``[T, B, ...]``, whole periods.
        period: number of steps that a value takes.

    Returns:
        ``[B, ...]`` in [0, 1).

    Raises:
        InputError: T is not whole periods.

    >>> phase_value(torch.tensor([[1.0], [0.0], [1.0]]), period=3).tolist()
    [0.625]
    """
    need_sequence(z, "phase_value")
    need_steps("period", period)
    if z.shape[0] % period:
        raise InputError(f"phase_value reads whole periods of {period} steps, got {z.shape[0]} steps")
    weight = torch.exp2(-torch.arange(1.0, period + 1, dtype=z.dtype, device=z.device))
    value: Tensor = torch.tensordot(weight, z.unflatten(0, (-1, period)).mean(0), 1)
    return value


def delta_value(z: Tensor, threshold: float, *, start: Tensor | None = None) -> Tensor:
    """Inverse of :func:`neuro.encoding.delta`: ``start + threshold sum_(s <= t) (on[s] - off[s])``.

    Args:
        z: on and off spikes ``[T, B, 2, ...]``.
        threshold: in the unit of the signal.
        start: ``[B, ...]``, the values before the first step; zero unless given.

    Returns:
        The signal ``[T, B, ...]``.

    Raises:
        InputError: no axis of on and off; start of another shape; a threshold that is not positive.

    >>> z = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]])
    >>> delta_value(z, 0.5)[:, 0].tolist()
    [0.5, 1.0, 0.5]
    """
    need_sequence(z, "delta_value", 0)
    need_positive("threshold", threshold)
    if z.dim() < 3 or z.shape[2] != 2:
        raise InputError(f"delta_value reads [T, B, 2, ...], on and off, got {list(z.shape)}")
    on, off = z.unbind(2)
    if start is not None and start.shape != on.shape[1:]:
        raise InputError(f"start must be of shape {list(on.shape[1:])}, got {list(start.shape)}")
    moved = threshold * (on - off).cumsum(0)
    return moved if start is None else start + moved


def population_vector(activity: Tensor, *, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Inverse of :func:`neuro.encoding.receptive_fields`: centres averaged, each weighted by its neuron's activity.

    ``sum_j a_j c_j / sum_j a_j``; the middle of the range where nothing is active. Georgopoulos, Schwartz & Kettner
    1986, "Neuronal population coding of movement direction".

    Args:
        activity: ``[B, ..., fields]`` from 0 on: responses, counts or rates; no time.
        low: centre of the first field.
        high: centre of the last.

    Returns:
        ``[B, ...]`` in [low, high].

    Raises:
        InputError: fewer than two fields; limits out of range.

    >>> population_vector(torch.tensor([[0.0, 3.0, 1.0], [0.0, 0.0, 0.0]])).tolist()
    [0.625, 0.5]
    """
    need_positive("high - low", high - low)
    if activity.dim() < 1 or activity.shape[-1] < 2 or not activity.is_floating_point():
        raise InputError(
            f"population_vector reads a floating-point [B, ..., fields] of at least 2 fields, got "
            f"{list(activity.shape)} {activity.dtype}"
        )
    total = activity.sum(-1)
    centres = torch.linspace(low, high, activity.shape[-1], dtype=activity.dtype, device=activity.device)
    active = total > 0
    mean = (activity * centres).sum(-1) / torch.where(active, total, 1)
    return torch.where(active, mean, math.fsum((low, high)) / 2)
