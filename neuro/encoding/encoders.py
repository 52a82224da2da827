"""Encoders: values ``[B, ...]`` as spikes ``[T, B, ...]``, in the dtype and on the device of the values."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuro.encoding.limits import generator, need_positive, need_range, need_sequence, need_steps
from neuro.errors import InputError
from neuro.kernels.scans.send_on_delta import send_on_delta

__all__ = ["bernoulli", "delta", "latency", "phase", "poisson", "rc_latency", "receptive_fields", "repeat"]

_SCALE = "scale the values, for instance (x - min) / (max - min)"
_MOST_BITS = 24  # of the significand of float32


def bernoulli(x: Tensor, steps: int | None = None, *, seed: int | torch.Generator) -> Tensor:
    """Rate code: in each step a spike with probability ``x``, independently.

    Undone by :func:`neuro.encoding.mean_membrane`, with standard deviation ``sqrt(x (1 - x) / T)``. Probabilities
    are met to 2^-24. No gradient.

    Args:
        x: probabilities ``[B, ...]`` in [0, 1]; without ``steps`` one for each step, ``[T, B, ...]``.
        steps: T.
        seed: a number, or a generator to draw on from; the same gives the same spikes with any number of threads.

    Returns:
        ``[T, B, ...]`` zeros and ones.

    Raises:
        InputError: values outside [0, 1] or NaN; steps that are no whole number.

    >>> bernoulli(torch.tensor([0.0, 0.5, 1.0]), 1000, seed=0).mean(0)
    tensor([0.0000, 0.5040, 1.0000])
    """
    need_range(x, 0.0, 1.0, "a probability of spikes", _SCALE)
    if steps is not None:
        need_steps("steps", steps)
    shape = x.shape if steps is None else (steps, *x.shape)
    drawn = torch.rand(shape, generator=generator(seed, x.device), dtype=x.dtype, device=x.device)
    return drawn.lt_(x.detach())  # in place: half the memory of a comparison and its conversion


def poisson(rate: Tensor, steps: int | None = None, *, dt: float = 1e-3, seed: int | torch.Generator) -> Tensor:
    """Spikes of a Poisson process, seen through steps of ``dt``: at most one in each.

    ``P(spike in a step) = 1 - exp(-rate dt)``, the probability of at least one event, so any rate is possible;
    :func:`neuro.encoding.spike_rate` finds ``rate`` again where ``rate dt`` is small (10 % less at 0.2).

    Args:
        rate: in Hz, ``[B, ...]``; without ``steps`` one for each step, ``[T, B, ...]``.
        steps: T.
        dt: time step in seconds.
        seed: as for :func:`bernoulli`.

    Returns:
        ``[T, B, ...]`` zeros and ones.

    Raises:
        InputError: rates that are negative or not finite; dt or steps out of range.

    >>> counts = poisson(torch.full((100,), 50.0), 1000, seed=1).sum(0)  # expected: 1000 (1 - exp(-0.05)) = 48.8
    >>> round(float(counts.mean()), 1)
    47.9
    """
    need_range(rate, 0.0, math.inf, "a rate [Hz]", "give rates from 0 Hz on")
    need_positive("dt", dt)
    return bernoulli(-torch.expm1(-dt * rate.detach()), steps, seed=seed)


def latency(x: Tensor, steps: int) -> Tensor:
    """Time to the first spike, linear: one spike each, in step ``round((1 - x) (T - 1))``; larger values spike earlier.

    Undone by :func:`neuro.encoding.latency_value` to within ``1 / (2 (T - 1))``.

    Args:
        x: ``[B, ...]`` in [0, 1].
        steps: T, at least 2: a single step says nothing.

    Returns:
        ``[T, B, ...]`` zeros and ones.

    Raises:
        InputError: values outside [0, 1] or NaN; too few steps.

    >>> latency(torch.tensor([1.0, 0.4, 0.0]), 5).argmax(0).tolist()
    [0, 2, 4]
    """
    need_range(x, 0.0, 1.0, "a value to encode", _SCALE)
    need_steps("steps", steps, 2)
    when = torch.round((1 - x.detach()) * (steps - 1)).long()
    return x.new_zeros((steps, *x.shape)).scatter_(0, when.unsqueeze(0), 1.0)


def rc_latency(x: Tensor, steps: int, *, tau: float, threshold: float, dt: float = 1e-3) -> Tensor:
    """Time to the first spike of a leaky membrane that ``x`` charges: ``t = tau ln(x / (x - threshold))``.

    The spike is in the step that contains ``t``; there is none for ``x <= threshold``, nor where ``t`` lies beyond the
    T steps. Undone by :func:`neuro.encoding.rc_latency_value`, to within half a step of ``t``.

    Args:
        x: what the membrane would reach, ``[B, ...]``, from 0 on.
        steps: T.
        tau: membrane time constant in seconds.
        threshold: in the unit of ``x``.
        dt: time step in seconds.

    Returns:
        ``[T, B, ...]`` zeros and ones.

    Raises:
        InputError: values that are negative or not finite; parameters that are not positive.

    >>> z = rc_latency(torch.tensor([10.0, 2.0, 0.9]), 20, tau=10e-3, threshold=1.0)
    >>> z.argmax(0).tolist(), z.sum(0).tolist()
    ([1, 6, 0], [1.0, 1.0, 0.0])
    """
    need_range(x, 0.0, math.inf, "a value to encode", "give values from 0 on")
    need_steps("steps", steps)
    for name, value in (("tau", tau), ("threshold", threshold), ("dt", dt)):
        need_positive(name, value)
    x = x.detach()
    above = x > threshold
    safe = torch.where(above, x, 2 * threshold)
    when = torch.floor(-tau / dt * torch.log1p(-threshold / safe))
    spikes = above & (when < steps)
    index = torch.where(spikes, when, 0).long().unsqueeze(0)
    return x.new_zeros((steps, *x.shape)).scatter_(0, index, spikes.to(x.dtype).unsqueeze(0))


def phase(x: Tensor, steps: int, *, period: int = 8) -> Tensor:
    """Binary digits in time: step ``t`` is digit ``k = t mod period`` of ``x``, which weighs ``2^-(1 + k)``.

    The digits are repeated until T. Undone by :func:`neuro.encoding.phase_value`, to less than ``2^-period`` (at 1,
    which has no such digits, to exactly that). Kim et al. 2018, "Deep neural networks with weighted spikes".

    Args:
        x: ``[B, ...]`` in [0, 1].
        steps: T, whole periods.
        period: number of digits, 1 to 24.

    Returns:
        ``[T, B, ...]`` zeros and ones.

    Raises:
        InputError: values outside [0, 1] or NaN; steps that are not whole periods.

    >>> phase(torch.tensor([0.75, 0.125]), 6, period=3).T.tolist()
    [[1.0, 1.0, 0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0, 1.0]]
    """
    need_range(x, 0.0, 1.0, "a value to encode", _SCALE)
    need_steps("period", period)
    need_steps("steps", steps)
    if period > _MOST_BITS or steps % period:
        raise InputError(f"steps must be whole periods of at most {_MOST_BITS}, got {steps} steps of period {period}")
    number = torch.floor(x.detach().double() * 2**period).clamp(max=2**period - 1).long()
    digit = torch.arange(period - 1, -1, -1, device=x.device).view(-1, *(1,) * x.dim())
    return ((number >> digit) & 1).to(x.dtype).repeat(steps // period, *(1,) * x.dim())


def delta(x: Tensor, threshold: float, *, start: Tensor | None = None) -> Tensor:
    """Send on delta: an on or off spike where a signal has moved by ``threshold`` since the last one.

    At most one spike a step. Undone by :func:`neuro.encoding.delta_value`, to within ``threshold`` as long as the
    signal moves by at most ``threshold`` a step. The equations are those of
    :func:`neuro.kernels.scans.send_on_delta.send_on_delta`; :class:`neuro.Delta` sends graded changes instead.

    Args:
        x: signals ``[T, B, ...]``.
        threshold: in the unit of ``x``.
        start: ``[B, ...]``, the values known before the first step; those of the first step unless given.

    Returns:
        ``[T, B, 2, ...]`` zeros and ones: on, off.

    Raises:
        InputError: values that are not finite; shapes or threshold that do not fit.

    >>> delta(torch.tensor([0.0, 0.3, 0.6, 0.1]).view(4, 1), 0.25)[:, 0].T.tolist()
    [[0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """
    need_sequence(x, "delta", 0)
    if not bool(torch.isfinite(x).all()):
        raise InputError("a signal to encode must be finite, got NaN or inf")
    if start is None:
        start = x[0] if x.shape[0] else x.new_zeros(x.shape[1:])
    if start.shape != x.shape[1:]:
        raise InputError(
            f"start must be of shape {list(x.shape[1:])}, one value for each signal, got {list(start.shape)}"
        )
    time, batch, *size = x.shape
    neurons = math.prod(size)
    made = send_on_delta(x.reshape(time, batch, neurons), start.reshape(batch, neurons), threshold)
    return made.view(time, batch, 2, *size)


def receptive_fields(x: Tensor, fields: int, *, low: float = 0.0, high: float = 1.0, width: float = 1.0) -> Tensor:
    """Population code: how strongly each of ``fields`` Gaussian receptive fields responds to ``x``.

    ``exp(-(x - c_j)^2 / (2 s^2))``, centres ``c_j`` evenly from ``low`` to ``high``, ``s = width`` times the distance
    between them. Responses in [0, 1] go on into :func:`bernoulli`, :func:`latency`, ... Undone by
    :func:`neuro.encoding.population_vector`; there the values within some ``3 s`` of the ends come out too central, so
    let ``low`` and ``high`` reach beyond them. Differentiable. Bohte, Kok & La Poutre 2002, "Error-backpropagation in
    temporally encoded networks of spiking neurons".

    Args:
        x: ``[B, ...]``, from ``low`` to ``high``.
        fields: number of receptive fields, at least 2.
        low: centre of the first.
        high: centre of the last.
        width: of a field, in distances between centres.

    Returns:
        ``[B, ..., fields]`` in [0, 1].

    Raises:
        InputError: values outside [low, high] or NaN; fewer than two fields; limits or width out of range.

    >>> receptive_fields(torch.tensor([0.5]), 3, width=0.5)
    tensor([[0.1353, 1.0000, 0.1353]])
    """
    need_steps("fields", fields, 2)
    need_positive("high - low", high - low)
    need_positive("width", width)
    need_range(x, low, high, "a value to encode", "widen low and high")
    centres = torch.linspace(low, high, fields, dtype=x.dtype, device=x.device)
    spread = width * (high - low) / (fields - 1)
    return torch.exp(-(((x.unsqueeze(-1) - centres) / spread) ** 2) / 2)


def repeat(x: Tensor, steps: int) -> Tensor:
    """Direct code: the values themselves as current, the same in every step. Differentiable.

    Args:
        x: ``[B, ...]``.
        steps: T.

    Returns:
        ``[T, B, ...]``, one memory for all steps.

    Raises:
        InputError: steps that are no whole number.

    >>> repeat(torch.tensor([0.5, -1.0]), 3).tolist()
    [[0.5, -1.0], [0.5, -1.0], [0.5, -1.0]]
    """
    need_steps("steps", steps)
    return x.expand(steps, *x.shape)
