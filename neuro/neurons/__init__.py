"""Cells declared by their equations, grouped by family."""

from collections.abc import Mapping
from types import MappingProxyType

from neuro.layer import Population
from neuro.neurons.adaptive import ALIF, PLIF, AdLIF, SEAdLIF
from neuro.neurons.cell import Cell
from neuro.neurons.delayed_recurrent import DelayedRecurrent
from neuro.neurons.elstm import ELSTM
from neuro.neurons.gated import EGRU
from neuro.neurons.hoyer import ONE_STEP, Hoyer
from neuro.neurons.integrate_and_fire import IF, LI, LIF, CuBaLIF, PrimedIF
from neuro.neurons.kuramoto import AKOrN
from neuro.neurons.leaky_rnn import LeakyRNN
from neuro.neurons.linear_recurrence import GatedLRU, LRUBlock
from neuro.neurons.liquid import LIQUID
from neuro.neurons.membrane_norm import MPBN, NORMALISED
from neuro.neurons.nonlinear import EIF, QIF, AdEx, Izhikevich
from neuro.neurons.parallel import PARALLEL, SlidingPSN
from neuro.neurons.recurrent import Recurrent
from neuro.neurons.resonate import LRU, EventGate, ResonateAndFire
from neuro.neurons.state_space import S4D
from neuro.neurons.stochastic import SRM, STOCHASTIC
from neuro.neurons.synaptic import (
    AlphaSynapse,
    DoubleExponentialSynapse,
    ExponentialSynapse,
    ShortTermPlasticity,
    Sigma,
)

__all__ = [
    "ALIF",
    "CELLS",
    "EGRU",
    "EIF",
    "ELSTM",
    "IF",
    "LI",
    "LIF",
    "LRU",
    "MPBN",
    "PLIF",
    "POPULATIONS",
    "QIF",
    "S4D",
    "SRM",
    "AKOrN",
    "AdEx",
    "AdLIF",
    "AlphaSynapse",
    "Cell",
    "CuBaLIF",
    "DelayedRecurrent",
    "DoubleExponentialSynapse",
    "EventGate",
    "ExponentialSynapse",
    "GatedLRU",
    "Hoyer",
    "Izhikevich",
    "LRUBlock",
    "LeakyRNN",
    "PrimedIF",
    "ResonateAndFire",
    "SEAdLIF",
    "ShortTermPlasticity",
    "Sigma",
    "SlidingPSN",
]

_INTEGRATE_AND_FIRE = (LIF, CuBaLIF, IF, PrimedIF, LI)
_ADAPTIVE = (PLIF, ALIF, AdLIF, SEAdLIF)
_NONLINEAR = (QIF, EIF, AdEx, Izhikevich)
_RESONATE = (ResonateAndFire, LRU, EventGate)
_SYNAPTIC = (ExponentialSynapse, AlphaSynapse, DoubleExponentialSynapse, ShortTermPlasticity, Sigma)
CELLS: Mapping[str, type[Cell]] = MappingProxyType(
    {c.__name__: c for c in (*_INTEGRATE_AND_FIRE, *_ADAPTIVE, *_NONLINEAR, *_RESONATE, *_SYNAPTIC)}
)
"""The cells that come with neuro, by name."""

_RECURRENT: Mapping[str, type[Population]] = MappingProxyType(
    {p.__name__: p for p in (Recurrent, DelayedRecurrent, EGRU, ELSTM, LeakyRNN)}
)

_LINEAR: Mapping[str, type[Population]] = MappingProxyType({p.__name__: p for p in (S4D, GatedLRU, LRUBlock, AKOrN)})

POPULATIONS: Mapping[str, type[Population]] = MappingProxyType(
    {**CELLS, **LIQUID, **NORMALISED, **PARALLEL, **STOCHASTIC, **ONE_STEP, **_RECURRENT, **_LINEAR}
)
"""All populations of neurons that come with neuro, by name."""
