"""Temporal sparsity: only changes are sent; :class:`neuro.Sigma` adds them up again behind the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.kernels.compiler.route import Route
from neuro.layer import State, StatefulLayer

__all__ = ["Delta"]


class Delta(StatefulLayer):
    """Sends how a signal has changed, in whole multiples of a threshold: ``[T, B, *size] -> [T, B, *size]``.

    ``q[t] = threshold round(x[t] / threshold)``, ``y[t] = q[t] - q[t - 1]``, ``q[-1] = 0``. The changes telescope:
    what was sent until ``t`` adds up to ``q[t]``, which is within half a threshold of ``x[t]``, for ever. Where the
    signal stays within its step nothing is sent. The gradient passes the rounding unchanged (to ``x``: 1; to the
    threshold: ``round(x / threshold) - x / threshold``): delta activation layer, Yousefzadeh & Sifalakis
    2021 (arXiv:2107.07305). Behind it, weights without bias, then :class:`neuro.Sigma`.

    Args:
        size: number of neurons, or their shape.
        threshold: smallest change that is sent, in the unit of ``x``; one number.
        learn: whether the threshold trains (through its logarithm, so that it stays positive).
        dt: time step in seconds, which the layers of a network share.

    Raises:
        InputError: sizes, threshold or ``dt`` out of range.

    >>> y, _ = Delta(1, 0.5)(torch.tensor([0.6, 0.7, 1.3, 1.2]).view(4, 1, 1))
    >>> y.flatten().tolist()
    [0.5, 0.0, 1.0, -0.5]
    """

    def __init__(
        self, size: int | Sequence[int], threshold: float = 0.1, *, learn: bool = False, dt: float = 1e-3
    ) -> None:
        super().__init__()
        self.size = (size,) if isinstance(size, int) else tuple(size)
        if not self.size or any(not isinstance(n, int) or n < 1 for n in self.size):
            raise InputError(f"Delta size must be positive integers, got {size}")
        for name, value in (("threshold", threshold), ("dt", dt)):
            if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise InputError(f"Delta {name} must be a positive number, got {value}")
        self.dt, self.learn = float(dt), learn
        start = torch.tensor(float(threshold)).log()
        if learn:
            self.log_threshold = nn.Parameter(start)
        else:
            self.register_buffer("log_threshold", start)

    @property
    def threshold(self) -> Tensor:
        """The smallest change that is sent, 0-d, differentiable where it trains."""
        return self.log_threshold.exp()

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Nothing sent yet: ``[batch, *size]``."""
        return (torch.zeros((batch, *self.size), device=device, dtype=dtype),)

    def forward(self, x: Tensor, state: State | None = None, *, route: Route | None = None) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: ``[T, B, *size]``.
            state: ``q`` of the step before, ``[B, *size]``; zero unless given.
            route: with ``cut_time`` the signal of the step before gets no gradient.

        Returns:
            Changes ``[T, B, *size]`` and ``q`` after the last step.

        Raises:
            InputError: shapes that do not fit.
        """
        if x.dim() != 2 + len(self.size) or tuple(x.shape[2:]) != self.size:
            raise InputError(f"Delta takes [T, B, *{self.size}] (time first), got {tuple(x.shape)}")
        (before,) = state or self.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
        if before.shape != x.shape[1:]:
            raise InputError(f"Delta state must be {list(x.shape[1:])}, got {list(before.shape)}")
        threshold = self.threshold.to(x.dtype)
        scaled = x / threshold
        rounded = scaled.detach().round() + (scaled - scaled.detach())
        known = torch.cat([before.unsqueeze(0), rounded * threshold])
        past = known[:-1].detach() if route is not None and route.cut_time else known[:-1]
        return known[1:] - past, (known[-1],)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its threshold, JSON-able."""
        return {"size": list(self.size), "learn": self.learn, "dt": self.dt}

    def extra_repr(self) -> str:
        """Size and threshold."""
        return f"{self.size}, threshold={float(self.threshold.detach()):g}, learn={self.learn}, dt={self.dt:g} s"
