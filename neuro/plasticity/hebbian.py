"""Hebbian rules on rates or membranes: Oja, Sanger, BCM, SoftHebb.

All are one formula, ``dW = <p x^T> - mask(<p u^T>) W``: a postsynaptic factor ``p`` of the drive ``u = W x``
meets the input, and the weights give way in proportion to what they already explain, each neuron's own part
(``mask`` keeps the diagonal), the part of the neurons before it too (the lower triangle), or none.
``<.>`` is the mean over time steps and samples.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.plasticity.outer import gated_outer
from neuro.plasticity.rule import Activity, LocalRule

__all__ = ["BCM", "Hebbian", "KeepLength", "Oja", "Sanger", "SoftHebb"]


class Hebbian(LocalRule):
    """The formula all share; see :mod:`neuro.plasticity.hebbian`."""

    reads: ClassVar[tuple[str, ...]] = ("pre", "drive", "modulator")
    explains: ClassVar[str] = "own"  # or "before", or "nothing"

    @abstractmethod
    def post_factor(self, drive: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The postsynaptic factor ``[T, B, O]`` of ``drive [T, B, O]``, and the state after it."""

    def change(self, value: Tensor, seen: Activity, state: Any = None) -> tuple[Tensor, Any]:
        """As in :meth:`LocalRule.change`."""
        factor, state = self.post_factor(seen.drive, state)
        factor = seen.gated(factor)
        samples = max(1, factor.shape[0] * factor.shape[1])
        delta = gated_outer(factor, seen.pre)
        if self.explains == "own":
            delta = delta - (factor * seen.drive).sum((0, 1)).unsqueeze(1) * value
        if self.explains == "before":
            delta = delta - gated_outer(factor, seen.drive).tril() @ value
        return delta / samples, state


@dataclass(frozen=True)
class Oja(Hebbian):
    """``dw = y (x - y w)``: a neuron's weights turn to the first principal component, at length 1.

    Oja, "A simplified neuron model as a principal component analyzer", J. Math. Biol. 1982.
    """

    def post_factor(self, drive: Tensor, state: Any) -> tuple[Tensor, Any]:
        """``y [T, B, O]``."""
        return drive, state


@dataclass(frozen=True)
class Sanger(Hebbian):
    """``dw_i = y_i (x - sum_{k <= i} y_k w_k)``: the first principal components in order.

    Sanger, "Optimal unsupervised learning in a single-layer linear feedforward neural network", Neural Networks 1989.
    """

    explains: ClassVar[str] = "before"

    def post_factor(self, drive: Tensor, state: Any) -> tuple[Tensor, Any]:
        """``y [T, B, O]``."""
        return drive, state


@dataclass(frozen=True)
class BCM(Hebbian):
    """``dw = y (y - theta) x`` with a threshold that slides, ``tau theta' = <y^2> - theta``: neurons become selective.

    Bienenstock, Cooper and Munro, J. Neurosci. 1982; the threshold of Intrator and Cooper, Neural Networks 1992.
    ``theta`` must follow much faster than the weights. The state is ``theta [O]``, the mean over the batch.

    Args:
        tau: time constant of the threshold in seconds.
        dt: time step in seconds.

    Raises:
        InputError: ``tau`` or ``dt`` not positive.
    """

    explains: ClassVar[str] = "nothing"
    tau: float = 0.1
    dt: float = 1e-3

    def __post_init__(self) -> None:
        """Check both."""
        if not (0 < self.tau < math.inf and 0 < self.dt < math.inf):
            raise InputError(f"tau and dt must be positive and finite (seconds), got {self.tau} and {self.dt}")

    def post_factor(self, drive: Tensor, state: Any) -> tuple[Tensor, Any]:
        """``y (y - theta) [T, B, O]``, each step with the threshold before it."""
        theta = drive.new_zeros(drive.shape[2]) if state is None else state
        keep = math.exp(-self.dt / self.tau)
        factor = torch.empty_like(drive)
        for made, y in zip(factor.unbind(0), drive.unbind(0), strict=True):
            torch.mul(y, y - theta, out=made)
            theta = keep * theta + (1 - keep) * y.square().mean(0)
        return factor, theta


@dataclass(frozen=True)
class SoftHebb(Hebbian):
    """``dw_i = p_i (x - u_i w_i)``, ``p = softmax(beta u)`` with its sign turned for all but the winner.

    Moraitis et al., "SoftHebb", Neuromorphic Computing and Engineering 2022; Journé et al., ICLR 2023. Each neuron
    learns at ``|1 - |w_i||^power`` of the optimizer's rate, so that one of length 1 rests.

    Args:
        beta: how sharp the competition is.
        power: 0 for the same rate for all.

    Raises:
        InputError: ``beta`` not positive; ``power`` negative.
    """

    beta: float = 1.0
    power: float = 0.5

    def __post_init__(self) -> None:
        """Check both."""
        if not (0 < self.beta < math.inf and 0 <= self.power < math.inf):
            raise InputError(f"beta must be positive and power 0 or more, got {self.beta} and {self.power}")

    def post_factor(self, drive: Tensor, state: Any) -> tuple[Tensor, Any]:
        """``p [T, B, O]``."""
        p = torch.softmax(self.beta * drive, 2)
        return (-p).scatter(2, drive.argmax(2, keepdim=True), p.amax(2, keepdim=True)), state

    def change(self, value: Tensor, seen: Activity, state: Any = None) -> tuple[Tensor, Any]:
        """As in :meth:`LocalRule.change`."""
        delta, state = super().change(value, seen, state)
        return delta * (1 - value.norm(dim=1, keepdim=True)).abs() ** self.power, state


@dataclass(frozen=True)
class KeepLength(LocalRule):
    """Turn weights as another rule would at length 1, and leave them as long as they are.

    With ``w = l n``, ``|n| = 1``: ``dw = l (d - (d . n) n)``, where ``d`` is the change of ``n`` for the drive ``u / l``. For
    layers whose weights were scaled to drive spiking neurons, which rules that rest at length 1 would silence.

    Args:
        rule: that says where to.
    """

    reads: ClassVar[tuple[str, ...]] = Hebbian.reads
    rule: Hebbian

    def change(self, value: Tensor, seen: Activity, state: Any = None) -> tuple[Tensor, Any]:
        """As in :meth:`LocalRule.change`; the state is that of the rule."""
        length = value.detach().norm(dim=1).clamp_min(torch.finfo(value.dtype).tiny)
        unit = value.detach() / length.unsqueeze(1)
        delta, state = self.rule.change(unit, replace(seen, drive=seen.drive / length), state)
        delta = delta - (delta * unit).sum(1, keepdim=True) * unit
        return length.unsqueeze(1) * delta, state
