"""DECOLLE: every layer is judged at every step by a random readout of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional

from neuro.errors import InputError, unknown_name
from neuro.training.rules.base import About
from neuro.training.rules.local.fixed_random import uniform
from neuro.training.rules.local.three_factor import Seen, ThreeFactor, check_whole, one_hot

__all__ = ["DECOLLE"]

_LOSSES = ("smooth_l1", "cross_entropy")


@dataclass(frozen=True)
class DECOLLE(ThreeFactor):
    """Deep continuous local learning: ``r = G s``, ``M = G^T dl(r, y*)/dr`` at every step, ``G`` random and fixed.

    Kaiser, Mostafa & Neftci, "Synaptic plasticity dynamics for deep continuous local learning (DECOLLE)",
    Front. Neurosci. 2020, equations 8 to 12.

    Args:
        loss: of each layer's readout: ``"smooth_l1"`` to the one-hot label, or ``"cross_entropy"``.
        amplitude: half-width of ``G`` in units of ``1 / sqrt(N)``.
        seed: of ``G``, which is a function of it and of each layer's name.

    Raises:
        InputError: an option out of range.
    """

    about: ClassVar[About] = About(
        paper="Kaiser, Mostafa & Neftci 2020, Synaptic plasticity dynamics for deep continuous local learning (DECOLLE)",
        memory="flat in T: states, traces and one chunk of steps",
        time="one pass of local products",
        needs="a chain of affine synapses and cells, labels; random readouts are functions of the seed",
        exact="its own readouts, layer by layer, resets cut; the last layer",
    )

    loss: str = "smooth_l1"
    amplitude: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("seed", self.seed, 0)
        if self.loss not in _LOSSES:
            raise unknown_name("loss of DECOLLE", str(self.loss), _LOSSES)
        if not self.amplitude > 0:
            raise InputError(f"amplitude={self.amplitude!r} must be above 0")

    def modulator(self, seen: Seen) -> tuple[Tensor, Any]:
        """``[t, B, *size]``."""
        spikes = seen.post.flatten(2)
        readout = uniform(self.seed, seen.name, seen.classes, spikes.shape[2], spikes)
        readout = readout * (self.amplitude / math.sqrt(6))
        answer = spikes @ readout.t()
        if self.loss == "smooth_l1":
            error = (answer - one_hot(seen)).clamp(-1, 1)
        else:
            error = functional.softmax(answer, 2) - one_hot(seen)
        return (error @ readout).view_as(seen.post), None
