"""Gaussian taps: a delay between whole steps as weights over all of them.

``k(d; p, sigma) = exp(-(d - p)^2 / (2 sigma^2)) / sum over d'``, d = 0..D-1: normalised over
the D steps there are, so that the taps of a synapse add up to its weight wherever its delay
lies. Their derivative is ``dk/dp = k (d - m) / sigma^2`` with m the mean delay under k. From
Hammouamri, Khalfaoui-Hassani & Masquelier, "Learning Delays in Spiking Neural Networks using
Dilated Convolutions with Learnable Spacings", ICLR 2024; in delays instead of kernel positions.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["each_tap", "filter_delays", "gaussian_taps", "mean_delay"]


def gaussian_taps(delay: Tensor, sigma: float, taps: int) -> Tensor:
    """All taps ``[..., D]`` of delays ``[...]``, both in steps; differentiable.

    >>> [round(k, 2) for k in gaussian_taps(torch.tensor([0.5]), 0.5, 3)[0].tolist()]
    [0.5, 0.5, 0.01]
    """
    return torch.softmax(_exponents(delay.unsqueeze(-1), _steps(delay, taps), sigma), -1)


def each_tap(delay: Tensor, sigma: float, taps: int) -> Iterator[Tensor]:
    """The taps of delays ``[...]`` (in steps) one step after the other, each ``[...]``; no gradient.

    >>> [round(float(k), 2) for k in each_tap(torch.tensor(0.5), 0.5, 3)]
    [0.5, 0.5, 0.01]
    """
    delay = delay.detach()
    steps = _steps(delay, taps)
    near = delay.clamp(0, taps - 1).round()
    peak = _exponents(delay, near, sigma)  # the largest of all: exponentials are then neither 0 nor inf at once
    total = torch.zeros_like(delay)
    for step in steps:
        total += (_exponents(delay, step, sigma) - peak).exp_()
    for step in steps:
        yield (_exponents(delay, step, sigma) - peak).exp_().div_(total)


def mean_delay(delay: Tensor, sigma: float, taps: int) -> Tensor:
    """Mean of d under the taps of each delay: ``[...]``, in steps; no gradient."""
    total = torch.zeros_like(delay)
    for d, tap in enumerate(each_tap(delay, sigma, taps)):
        total += d * tap
    return total


def _steps(delay: Tensor, taps: int) -> Tensor:
    return torch.arange(taps, device=delay.device, dtype=delay.dtype)


def _exponents(delay: Tensor, step: Tensor, sigma: float) -> Tensor:
    return (step - delay).square() * (-0.5 / sigma**2)


def filter_delays(x: Tensor, delay: Tensor, sigma: float, taps: int) -> Tensor:
    """Each channel through its own delay: ``y[t, b, n] = sum_d k(d; p[n], sigma) x[t - d, b, n]``; differentiable.

    Args:
        x: ``[T + D - 1, B, N]``, the D - 1 steps before in front.
        delay: ``[N]``, in steps.
        sigma: in steps.
        taps: D.

    Returns:
        ``[T, B, N]``.

    >>> y = filter_delays(torch.tensor([0.0, 0.0, 4.0, 0.0]).view(4, 1, 1), torch.tensor([1.0]), 0.1, 3)
    >>> [round(v, 3) for v in y.flatten().tolist()]
    [0.0, 4.0]
    """
    time = x.shape[0] - taps + 1
    kernel = gaussian_taps(delay, sigma, taps)
    y = x[taps - 1 :] * kernel[:, 0]
    for d in range(1, taps):
        y = torch.addcmul(y, x[taps - 1 - d : taps - 1 - d + time], kernel[:, d])
    return y
