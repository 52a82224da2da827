"""What keeps neurons in range: thresholds that rise with their spikes, weights of a constant sum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.plasticity.rule import Activity, LocalRule

__all__ = ["HomeostaticThreshold", "WeightScaling"]


@dataclass(frozen=True)
class HomeostaticThreshold(LocalRule):
    """``tau theta' = rest - theta``, raised by ``step`` at each spike: a busy neuron becomes harder to reach.

    For a cell that learns ``v_threshold``. Diehl and Cook, Frontiers in Computational Neuroscience 2015.
    The change is the mean over the batch; the threshold stays as it is within a sequence.

    Args:
        step: rise per spike, in the unit of the threshold.
        tau: time constant of the return in seconds.
        rest: threshold of a silent neuron.
        dt: time step in seconds.

    Raises:
        InputError: ``tau`` or ``dt`` not positive; ``step`` or ``rest`` not finite.
    """

    reads: ClassVar[tuple[str, ...]] = ("drive",)
    parameter: ClassVar[str] = "v_threshold"
    step: float = 0.05
    tau: float = 1e4
    rest: float = 1.0
    dt: float = 1e-3

    def __post_init__(self) -> None:
        """Check every value."""
        if not (0 < self.tau < math.inf and 0 < self.dt < math.inf):
            raise InputError(f"tau and dt must be positive and finite (seconds), got {self.tau} and {self.dt}")
        if not (math.isfinite(self.step) and math.isfinite(self.rest)):
            raise InputError(f"step and rest must be finite, got {self.step} and {self.rest}")

    def change(self, value: Tensor, seen: Activity, state: Any = None) -> tuple[Tensor, Any]:
        """As in :meth:`LocalRule.change`; ``value`` is ``[O]``, the cell's spikes are its ``drive``."""
        spikes = seen.drive.mean(1)
        if spikes.shape[1:] != value.shape:
            raise InputError(
                f"v_threshold must be {list(spikes.shape[1:])}, one for each neuron, got {list(value.shape)}: "
                "make the cell without shared=['v_threshold']"
            )
        time = spikes.shape[0]
        left = torch.arange(time - 1, -1, -1, dtype=spikes.dtype, device=spikes.device)
        weights = torch.exp(-self.dt / self.tau * left)
        risen = self.step * torch.tensordot(weights, spikes, dims=1)
        return risen - (1 - math.exp(-self.dt * time / self.tau)) * (value.detach() - self.rest), state


@dataclass(frozen=True)
class WeightScaling(LocalRule):
    """``w <- w total / sum_j |w_ij|``: the synapses of a neuron compete for a constant sum.

    Diehl and Cook 2015; Turrigiano, Cell 2008. A neuron without any weight is left alone.

    Args:
        total: sum of the sizes of a neuron's weights.
        rate: share of the way that is gone at once, in 0..1, without unit.

    Raises:
        InputError: ``total`` not positive; ``rate`` out of range.
    """

    reads: ClassVar[tuple[str, ...]] = ()
    total: float = 1.0
    rate: float = 1.0

    def __post_init__(self) -> None:
        """Check both."""
        if not (0 < self.total < math.inf and 0 < self.rate <= 1):
            raise InputError(f"total must be positive and rate in 0..1, got {self.total} and {self.rate}")

    def change(self, value: Tensor, seen: Activity, state: Any = None) -> tuple[Tensor, Any]:
        """As in :meth:`LocalRule.change`."""
        sums = value.detach().abs().sum(1, keepdim=True)
        factor = torch.where(sums > 0, self.total / sums.clamp_min(torch.finfo(sums.dtype).tiny), 1.0)
        return self.rate * (factor - 1) * value.detach(), state
