"""Plasticity without an error signal: Hebbian rules, spike timing, reward, homeostasis.

A rule is the choice of three factors and of when they meet; it writes ``.grad = -change``, an optimizer spends it.
"""

from __future__ import annotations

from neuro.kernels.plasticity.competition_law import CompetitionLaw
from neuro.kernels.plasticity.law import TimingLaw
from neuro.plasticity.diehl_cook import DiehlCook
from neuro.plasticity.features import Triangle, imprint, learn_locally
from neuro.plasticity.hebbian import BCM, Hebbian, KeepLength, Oja, Sanger, SoftHebb
from neuro.plasticity.homeostasis import HomeostaticThreshold, WeightScaling
from neuro.plasticity.projection import HebbianSubspace
from neuro.plasticity.rule import Activity, LocalResult, LocalRule, write_grad
from neuro.plasticity.timing import STDP, ModulatedSTDP, TraceProduct, reward_error

__all__ = [
    "BCM",
    "STDP",
    "Activity",
    "CompetitionLaw",
    "DiehlCook",
    "Hebbian",
    "HebbianSubspace",
    "HomeostaticThreshold",
    "KeepLength",
    "LocalResult",
    "LocalRule",
    "ModulatedSTDP",
    "Oja",
    "Sanger",
    "SoftHebb",
    "TimingLaw",
    "TraceProduct",
    "Triangle",
    "WeightScaling",
    "imprint",
    "learn_locally",
    "reward_error",
    "write_grad",
]
