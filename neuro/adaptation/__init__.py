"""Networks that keep learning in use: test-time adaptation without labels, and learning rates that follow need."""

from __future__ import annotations

from neuro.adaptation.concept_shift import SHIFTS, LabelShift, after_shifts, recovery, shifted
from neuro.adaptation.corruptions import CORRUPTIONS, corrupt
from neuro.adaptation.rates import ConstantRate, HomeostaticRate, Met, RandomRate, Rate, meet
from neuro.adaptation.unlabelled import NHL, BatchStatistics, Tent, entropy

__all__ = [
    "CORRUPTIONS",
    "NHL",
    "SHIFTS",
    "BatchStatistics",
    "ConstantRate",
    "HomeostaticRate",
    "LabelShift",
    "Met",
    "RandomRate",
    "Rate",
    "Tent",
    "after_shifts",
    "corrupt",
    "entropy",
    "meet",
    "recovery",
    "shifted",
]
