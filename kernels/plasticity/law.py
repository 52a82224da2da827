"""The law of spike-timing-dependent plasticity: windows, triplet terms, dependence on the weight."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from neuro.errors import InputError

__all__ = ["TimingLaw", "Traces"]


class Traces(NamedTuple):
    """Traces after a step, its spikes included: ``pre [P, B, I]`` and ``post [P, B, O]``.

    P is 1 for pairs (r1 and o1) and 2 for triplets (r1, r2 and o1, o2).
    """

    pre: Tensor
    post: Tensor


@dataclass(frozen=True)
class TimingLaw:
    """Pair or triplet STDP with traces, in steps of ``dt``.

    With the traces as the spikes *before* step t have left them, ``r1' = -r1 / tau_plus``, ``r2' = -r2 / tau_x`` (pre),
    ``o1' = -o1 / tau_minus``, ``o2' = -o2 / tau_y`` (post), each raised by 1 at a spike of its neuron::

        w += (w_max - w)^mu_plus  r1 (a2_plus  + a3_plus  o2)   at a postsynaptic spike
        w -= (w - w_min)^mu_minus o1 (a2_minus + a3_minus r2)   at a presynaptic spike

    Two spikes in the same step are no pair. All changes of a step, of all samples of a batch, are computed
    from the weight before it, added up, and the sum is clipped to ``w_min..w_max`` once.

    Pfister and Gerstner, "Triplets of spikes in a model of spike timing-dependent plasticity", J. Neurosci. 2006,
    equations 2 to 4; the dependence on the weight is that of Gütig et al., J. Neurosci. 2003 (not normalised).

    Args:
        a2_plus, a2_minus: size of a change by a pair; negative turns its direction.
        tau_plus, tau_minus: width of the window on each side, in seconds.
        a3_plus, a3_minus: size of a change by a triplet.
        tau_x, tau_y: time constants of r2 and o2, in seconds.
        nearest_pre: a presynaptic spike sets its traces to 1: only the nearest one before a postsynaptic spike counts.
        nearest_post: the same of postsynaptic spikes.
        mu_plus, mu_minus: 0 for additive, 1 for multiplicative, in between for power-law dependence.
        w_min, w_max: bounds of the weight.
        dt: time step in seconds.

    Raises:
        InputError: a value out of range; a power without the bound it is counted from.

    >>> TimingLaw(a2_plus=0.01, tau_minus=34e-3, w_min=0.0, w_max=1.0, nearest_pre=True).triplet
    False
    """

    a2_plus: float = 0.01
    a2_minus: float = 0.01
    tau_plus: float = 20e-3
    tau_minus: float = 20e-3
    a3_plus: float = 0.0
    a3_minus: float = 0.0
    tau_x: float = 101e-3
    tau_y: float = 114e-3
    nearest_pre: bool = False
    nearest_post: bool = False
    mu_plus: float = 0.0
    mu_minus: float = 0.0
    w_min: float = -math.inf
    w_max: float = math.inf
    dt: float = 1e-3

    def __post_init__(self) -> None:
        """Check every value."""
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if name in ("tau_plus", "tau_minus", "tau_x", "tau_y", "dt") and not 0.0 < value < math.inf:
                raise InputError(f"{name} must be positive and finite (seconds), got {value}")
            if name.startswith(("a2", "a3")) and not math.isfinite(value):
                raise InputError(f"{name} must be finite, got {value}")
            if name.startswith("mu") and not 0.0 <= value < math.inf:
                raise InputError(f"{name} must be 0 (additive) or more, got {value}")
        if not self.w_min < self.w_max:
            raise InputError(f"w_min must be below w_max, got {self.w_min} and {self.w_max}")
        if self.mu_plus > 0 and self.w_max == math.inf:
            raise InputError(f"mu_plus={self.mu_plus} needs a finite w_max to be counted from")
        if self.mu_minus > 0 and self.w_min == -math.inf:
            raise InputError(f"mu_minus={self.mu_minus} needs a finite w_min to be counted from")

    @classmethod
    def visual_cortex(cls, *, dt: float = 1e-3) -> TimingLaw:
        """The minimal triplet model fitted to visual cortex, all to all (Pfister and Gerstner 2006, table 4).

        Args:
            dt: time step in seconds.

        >>> TimingLaw.visual_cortex().a3_plus
        0.0065
        """
        return cls(0.0, 7.1e-3, 16.8e-3, 33.7e-3, a3_plus=6.5e-3, tau_y=114e-3, dt=dt)

    @property
    def triplet(self) -> bool:
        """Whether a third spike counts."""
        return self.a3_plus != 0 or self.a3_minus != 0

    @property
    def bounded(self) -> bool:
        """Whether a change depends on the weight, if only by a bound."""
        return math.isfinite(self.w_min) or math.isfinite(self.w_max)

    def pre_decay(self) -> list[float]:
        """Factors per step of r1 and, for triplets, r2."""
        return [math.exp(-self.dt / tau) for tau in (self.tau_plus, self.tau_x)[: 1 + self.triplet]]

    def post_decay(self) -> list[float]:
        """Factors per step of o1 and, for triplets, o2."""
        return [math.exp(-self.dt / tau) for tau in (self.tau_minus, self.tau_y)[: 1 + self.triplet]]

    def initial(self, batch: int, pre: int, post: int, like: Tensor) -> Traces:
        """Traces without a past, ``[P, batch, pre]`` and ``[P, batch, post]``, in the dtype of ``like``."""
        planes = 1 + self.triplet
        return Traces(like.new_zeros((planes, batch, pre)), like.new_zeros((planes, batch, post)))

    def moved(self, weight: Tensor, up: Tensor, down: Tensor) -> Tensor:
        """The weight after changes ``up`` and ``down`` (all of one shape ``[...]``) of one step."""
        if self.mu_plus:
            up = up * torch.clamp(self.w_max - weight, min=0.0) ** self.mu_plus
        if self.mu_minus:
            down = down * torch.clamp(weight - self.w_min, min=0.0) ** self.mu_minus
        return torch.clamp(weight + (up - down), self.w_min, self.w_max) if self.bounded else weight + (up - down)
