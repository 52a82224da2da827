"""Piecewise-linear recurrent networks whose state is what they model: shallow and dendritic."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.kernels.compiler.route import Route
from neuro.kernels.scans.piecewise import PiecewiseMap, piecewise_scan
from neuro.layer import State, StatefulLayer

__all__ = ["PLRNN", "DendriticPLRNN", "ShallowPLRNN"]


class PLRNN(StatefulLayer):
    """A map ``z -> F(z)`` as a layer: its input draws the state, its output is the next state.

    ``z[t] = F((1 - alpha) z[t-1] + alpha x[t])``: the output at t is the prediction of ``x[t + 1]``. With ``alpha``
    1 each prediction is from the data alone (teacher forcing), with 0 the input counts for nothing; between them is
    generalised teacher forcing. State: ``(z,)``.

    Attributes:
        alpha: share of the input; training moves it.
        size: number of variables.

    Raises:
        InputError: sizes, alpha or dt out of range.
    """

    def __init__(self, size: int, alpha: float, dt: float) -> None:
        super().__init__()
        if size < 1 or not 0 <= alpha <= 1 or not (math.isfinite(dt) and dt > 0):
            raise InputError(
                f"size must be at least 1, alpha from 0 to 1 and dt above 0 s, got {size}, {alpha} and {dt}"
            )
        self.size, self.alpha, self.dt = size, float(alpha), float(dt)

    @abstractmethod
    def map(self) -> PiecewiseMap:
        """``F``, differentiable: a function of states ``[..., M]`` with its Jacobian ``[..., M, M]``."""

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Zeros ``[B, M]``."""
        like = next(self.parameters())
        return (torch.zeros(batch, self.size, device=device or like.device, dtype=dtype or like.dtype),)

    def forward(
        self, x: Tensor, state: State | None = None, *, route: Route | None = None, backend: str = "auto"
    ) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: what the state is drawn towards, ``[T, B, M]``.
            state: ``(z [B, M],)`` before the first step; zeros unless given.
            route: must cut nothing: there is nothing but recurrence here.
            backend: as for :func:`neuro.kernels.scans.piecewise.piecewise_scan`.

        Returns:
            States ``[T, B, M]`` and the last one.

        Raises:
            InputError: shape, dtype or device that does not fit; a route that cuts.
        """
        if route is not None and (route.cut_time or route.cut_recurrence):
            raise InputError(f"{type(self).__name__} is trained through time, got {route}; use rule bptt")
        if x.dim() != 3 or x.shape[2] != self.size:
            raise InputError(f"{type(self).__name__} takes x [T, B, {self.size}], got {list(x.shape)}")
        (z,) = self.initial_state(x.shape[1]) if state is None else state
        states = piecewise_scan(x, z, self.map(), alpha=self.alpha, backend=backend)
        return states, (states[-1] if len(states) else z,)

    @torch.no_grad()
    def generate(self, start: Tensor, steps: int) -> Tensor:
        """What it does by itself: ``[steps, B, M]`` after ``start [B, M]``, whatever ``alpha``.

        Raises:
            InputError: a start of another shape; a negative number of steps.
        """
        if start.dim() != 2 or start.shape[1] != self.size or steps < 0:
            seen = f"{list(start.shape)} and {steps}"
            raise InputError(f"start must be [B, {self.size}] and steps 0 or more, got {seen}")
        nothing = start.new_zeros(()).expand(steps, *start.shape)
        return piecewise_scan(nothing, start, self.map(), alpha=0.0)


class ShallowPLRNN(PLRNN):
    """``z' = a z + W1 [relu(W2 z + h2) - relu(W2 z)] + h1``; without ``- relu(W2 z)`` where not clipped.

    As wide as what is observed, with ``hidden`` piecewise-linear units. Clipped, each unit is bounded by ``|h2|``, so
    that orbits are bounded wherever ``|a| < 1``.

    Args:
        size: number of variables.
        hidden: number of hidden units.
        clipped: whether hidden units are bounded.
        alpha: share of the input at each step.
        dt: seconds from step to step.

    Attributes:
        a: ``[size]``.
        outer: ``W1 [size, hidden]``.
        inner: ``W2 [hidden, size]``.
        h1: ``[size]``.
        h2: ``[hidden]``.

    Source: Hess et al. 2023, "Generalized teacher forcing for learning chaotic dynamics" (ICML), section 3.

    >>> layer = ShallowPLRNN(3, 20, alpha=0.2)
    >>> z, state = layer(torch.zeros(5, 2, 3), (torch.ones(2, 3),))
    >>> z.shape, layer.generate(z[-1], 4).shape
    (torch.Size([5, 2, 3]), torch.Size([4, 2, 3]))
    """

    def __init__(self, size: int, hidden: int, *, clipped: bool = True, alpha: float = 0.0, dt: float = 1e-3) -> None:
        super().__init__(size, alpha, dt)
        if hidden < 1:
            raise InputError(f"hidden must be at least 1, got {hidden}")
        self.hidden, self.clipped = hidden, clipped
        self.a = nn.Parameter(torch.empty(size).uniform_(0.8, 0.95))
        self.outer = nn.Parameter(torch.empty(size, hidden).uniform_(-1, 1) / math.sqrt(hidden))
        self.inner = nn.Parameter(torch.empty(hidden, size).uniform_(-1, 1) / math.sqrt(size))
        self.h1 = nn.Parameter(torch.zeros(size))
        self.h2 = nn.Parameter(torch.empty(hidden).uniform_(-1, 1))

    def map(self) -> PiecewiseMap:
        """``F`` of states ``[..., size]``, as in :meth:`PLRNN.map`."""
        return PiecewiseMap(self.a, self.outer, self.inner, self.h1, self.h2, self.clipped)

    def definition(self) -> dict[str, Any]:
        """Sizes and options."""
        return {
            "size": self.size, "hidden": self.hidden, "clipped": self.clipped, "alpha": self.alpha, "dt": self.dt
        }  # fmt: skip


class DendriticPLRNN(PLRNN):
    """``z' = a z + W sum_b c_b relu(z - h_b) + h``: every unit is a piecewise-linear basis of its own state.

    Args:
        size: number of variables.
        bases: number of hinges of each unit (its dendritic branches).
        alpha: share of the input at each step.
        dt: seconds from step to step.

    Attributes:
        a: ``[size]``.
        weight: ``W [size, size]`` (post, pre).
        slope: ``c [bases]``.
        hinge: ``h_b [bases, size]``.
        bias: ``h [size]``.

    Source: Brenner et al. 2022, "Tractable dendritic RNNs for reconstructing nonlinear dynamical systems" (ICML), eqs. 2-3.

    >>> DendriticPLRNN(3, 5)(torch.zeros(4, 2, 3))[0].shape
    torch.Size([4, 2, 3])
    """

    def __init__(self, size: int, bases: int, *, alpha: float = 0.0, dt: float = 1e-3) -> None:
        super().__init__(size, alpha, dt)
        if bases < 1:
            raise InputError(f"bases must be at least 1, got {bases}")
        self.bases = bases
        self.a = nn.Parameter(torch.empty(size).uniform_(0.8, 0.95))
        self.weight = nn.Parameter(torch.empty(size, size).uniform_(-1, 1) / math.sqrt(size))
        self.slope = nn.Parameter(torch.empty(bases).uniform_(-1, 1) / math.sqrt(bases))
        self.hinge = nn.Parameter(torch.empty(bases, size).uniform_(-2, 2))
        self.bias = nn.Parameter(torch.zeros(size))

    def map(self) -> PiecewiseMap:
        """``F`` of states ``[..., size]``, as in :meth:`PLRNN.map`: a shallow net of ``bases * size`` units."""
        outer = (self.slope.view(-1, 1, 1) * self.weight).transpose(0, 1).reshape(self.size, -1)
        inner = torch.eye(self.size, dtype=self.a.dtype, device=self.a.device).repeat(self.bases, 1)
        return PiecewiseMap(self.a, outer, inner, self.bias, -self.hinge.flatten(), clipped=False)

    def definition(self) -> dict[str, Any]:
        """Sizes and options."""
        return {"size": self.size, "bases": self.bases, "alpha": self.alpha, "dt": self.dt}
