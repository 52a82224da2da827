"""Delays of whole steps, the form for inference: each input arrives once, at its weight.

What :mod:`neuro.kernels.delays.delayed_linear` tends to as sigma goes to 0, for delays that are
whole numbers. Differentiable in the input and the weight.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.kernels.delays.delayed_linear import MODES, by_events
from neuro.kernels.propagation.csr import CSR
from neuro.kernels.propagation.dense import dense_linear
from neuro.kernels.propagation.propagate import propagate

__all__ = ["rounded_linear", "shift"]

_DENSITY = 0.15  # share of non-zero inputs up to which events take less time (benchmarks/delays.py)


def rounded_linear(x: Tensor, weight: Tensor, steps: Tensor, *, taps: int, mode: str = "auto") -> Tensor:
    """``y[t, b, o] = sum_i w[o, i] x[t - steps[o, i], b, i]``.

    Args:
        x: ``[T + D - 1, B, I]``, the D - 1 steps before in front.
        weight: ``[O, I]``.
        steps: ``[O, I]`` (int32), delays in 0..D-1 time steps.
        taps: D.
        mode: as for :func:`neuro.kernels.delays.delayed_linear.delayed_linear`.

    Returns:
        ``[T, B, O]``.

    Raises:
        InputError: unknown mode; shapes that do not fit; delays that are negative or beyond the D - 1 steps held.

    >>> x = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0]).view(5, 1, 1)
    >>> rounded_linear(x, torch.tensor([[2.0]]), torch.tensor([[1]], dtype=torch.int32), taps=3).flatten().tolist()
    [0.0, 2.0, 0.0]
    """
    if mode not in MODES:
        raise unknown_name("mode", mode, MODES)
    if x.dim() != 3 or weight.dim() != 2 or x.shape[2] != weight.shape[1] or x.shape[0] < taps - 1:
        raise InputError(
            f"x must be [T + {taps - 1}, B, I] and weight [O, I], got {list(x.shape)} and {list(weight.shape)}"
        )
    if steps.shape != weight.shape or steps.dtype != torch.int32:
        raise InputError(f"steps must be {list(weight.shape)} int32, got {list(steps.shape)} {steps.dtype}")
    if not by_events(x, mode, _DENSITY):
        return _dense(x, weight, steps, taps)
    targets = torch.arange(weight.shape[0], dtype=torch.int32, device=x.device).repeat(weight.shape[1], 1)
    line = CSR.fixed_number(targets, weight.shape[0], delay=steps.t().contiguous(), max_delay=taps - 1)
    return propagate(x, line, weight.t().reshape(-1))[0][taps - 1 :]


def _dense(x: Tensor, weight: Tensor, steps: Tensor, taps: int) -> Tensor:
    """A matrix product for each delay that occurs, or may."""
    if not torch.compiler.is_compiling() and steps.numel() and not 0 <= int(steps.min()) <= int(steps.max()) < taps:
        raise InputError(f"delay must be in 0..{taps - 1} steps, got {steps.min()}..{steps.max()}")
    time = x.shape[0] - taps + 1
    y = x.new_zeros((time, x.shape[1], weight.shape[0]))
    for d in range(taps):
        there = torch.where(steps == d, weight, 0)
        y = y + dense_linear(x[taps - 1 - d : taps - 1 - d + time], there)
    return y


def shift(x: Tensor, steps: Tensor, taps: int) -> Tensor:
    """Each channel by its own whole delay: ``y[t, b, n] = x[t - steps[n], b, n]``.

    Args:
        x: ``[T + D - 1, B, N]``, the D - 1 steps before in front.
        steps: ``[N]`` integers in 0..D-1.
        taps: D.

    Returns:
        ``[T, B, N]``.

    >>> shift(torch.tensor([0.0, 7.0, 0.0, 0.0]).view(4, 1, 1), torch.tensor([1]), 3).flatten().tolist()
    [7.0, 0.0]
    """
    time = x.shape[0] - taps + 1
    from_step = torch.arange(time, device=x.device).view(-1, 1) + (taps - 1 - steps.long())
    return x.gather(0, from_step.unsqueeze(1).expand(time, *x.shape[1:]))
