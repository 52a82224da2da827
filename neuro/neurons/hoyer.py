"""Neurons that decide in one step, at a threshold that the Hoyer measure of their inputs sets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.kernels.compiler.route import Route
from neuro.layer import Population, State
from neuro.neurons.integrate_and_fire import LIF

__all__ = ["ONE_STEP", "Hoyer"]


class Hoyer(Population):
    """Memoryless neurons that spike where their input reaches the Hoyer extremum of all inputs of their feature.

    ``u = x / |v_threshold|``, ``c = clip(u, 0, 1)``, ``E = sum c^2 / sum c``, a spike where ``u >= scale E``; in backward
    ``1/2`` where ``0 < u < 2``. ``E`` (never above 1, so the threshold is below the one that trains) is taken for each
    feature C over steps, samples and space in training, as one for the layer where the size is one number; evaluation
    uses its running mean. No state: with one step of input this is a whole network, with several each is on its own.
    Datta et al. 2022, "Hoyer regularizer is all you need for ultra low-latency spiking neural networks".
    (In the authors' code the clip also acts on what backward sees, which cuts the window to ``0 < u < 1``.)

    Args:
        size: number of neurons, or ``(C, H, W)``.
        v_threshold: threshold at the start, one for the layer, which trains.
        scale: of the extremum.
        momentum: share of a new batch in the running extremum.
        dt: time step in seconds, which the layers of a network share.

    Attributes:
        extremum: running ``E``, ``[C]`` or ``[]``; one at first.

    Raises:
        InputError: sizes or options out of range.

    >>> z, state = Hoyer(4)(torch.tensor([0.0, 0.2, 0.6, 1.5]).view(1, 1, 4))    # E = (0.04 + 0.36 + 1) / 1.8
    >>> z.flatten().tolist(), state
    ([0.0, 0.0, 0.0, 1.0], ())
    """

    extremum: Tensor

    def __init__(
        self,
        size: int | Sequence[int],
        *,
        v_threshold: float = 1.0,
        scale: float = 1.0,
        momentum: float = 0.1,
        dt: float = 1e-3,
    ) -> None:
        super().__init__()
        self.size = (size,) if isinstance(size, int) else tuple(size)
        if not self.size or any(not isinstance(n, int) or n < 1 for n in self.size):
            raise InputError(f"Hoyer size must be positive integers, got {size}")
        for name, value in (("v_threshold", v_threshold), ("scale", scale), ("momentum", momentum), ("dt", dt)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"Hoyer {name} must be a positive number, got {value}")
        self.scale, self.momentum, self.dt = float(scale), float(momentum), float(dt)
        self.v_threshold = nn.Parameter(torch.tensor(float(v_threshold)))
        self.register_buffer("extremum", torch.ones(self.size[:1] if len(self.size) > 1 else ()))

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Nothing."""
        return ()

    def forward(self, x: Tensor, state: State | None = None, *, route: Route | None = None) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: ``[T, B, *size]``.
            state: there is none.
            route: plays no part: no step hands anything to the next.

        Returns:
            Spikes ``[T, B, *size]`` and the empty state.

        Raises:
            InputError: shapes that do not fit.
        """
        u = self._scaled(x)
        level = self._level(u.detach())
        z = (x.detach() >= level * self.v_threshold.detach().abs()).to(x.dtype)
        window = (u > 0) & (u < 2)
        smooth = torch.where(window, 0.5 * u, 0)
        return z + (smooth - smooth.detach()), ()

    @torch.no_grad()
    def trace(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Like ``forward`` without gradients, also returning what meets the threshold, ``{"v": [T, B, *size]}``."""
        return *self(x, state), {"v": x}

    def measure(self, x: Tensor) -> Tensor:
        """The Hoyer measure of the clipped inputs ``x [T, B, *size]``: ``(sum c)^2 / sum c^2``, a number; zero of silence.

        How many inputs share the sum. To follow its gradient down is to move inputs below the extremum to zero and
        those above it up.
        """
        c = self._scaled(x).clamp(0, 1)
        squares = c.square().sum()
        return torch.where(squares > 0, c.sum().square() / torch.where(squares > 0, squares, 1), 0)

    def to_cell(self) -> LIF:
        """The same neurons of evaluation as LIF whose membrane lasts one step, with the threshold of each feature.

        Exports as any LIF does. A level of exactly the threshold spikes here and not in ``LIF``, so its threshold is the
        next lower number.
        """
        level = (self.scale * self.extremum * self.v_threshold.abs()).detach()
        threshold = torch.nextafter(level, torch.full_like(level, -math.inf))
        along = threshold.view(-1, *(1,) * (len(self.size) - 1)) if threshold.dim() else threshold
        spread = along.expand(self.size).clone()
        tau = torch.tensor(self.dt, dtype=level.dtype, device=level.device)
        return LIF(self.size, tau=tau, v_threshold=spread, dt=self.dt, learn=()).to(level)

    def _scaled(self, x: Tensor) -> Tensor:
        if x.dim() != 2 + len(self.size) or tuple(x.shape[2:]) != self.size:
            raise InputError(f"Hoyer takes [T, B, {', '.join(map(str, self.size))}] (time first), got {tuple(x.shape)}")
        return x / self.v_threshold.abs()

    def _level(self, u: Tensor) -> Tensor:
        """The extremum times its scale, broadcast against ``[T, B, *size]``."""
        extremum = self.extremum
        if self.training:
            c = u.clamp(0, 1)
            axes = (0, 1, *range(3, u.dim())) if extremum.dim() else tuple(range(u.dim()))
            sums = c.sum(axes)
            extremum = torch.where(sums > 0, c.square().sum(axes) / torch.where(sums > 0, sums, 1), 1)
            self.extremum.lerp_(extremum, self.momentum)
        return self.scale * (extremum.view(-1, *(1,) * (len(self.size) - 1)) if extremum.dim() else extremum)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values, JSON-able."""
        return {"size": list(self.size), "scale": self.scale, "momentum": self.momentum, "dt": self.dt}

    def extra_repr(self) -> str:
        """Size and scale."""
        return f"{', '.join(map(str, self.size))}, scale={self.scale:g}"


ONE_STEP: Mapping[str, type[Population]] = MappingProxyType({"Hoyer": Hoyer})
"""The neurons without memory, by name."""
