"""Local rules: no error travels back through the layers, none through time."""

from __future__ import annotations

from neuro.training.rules.local.decolle import DECOLLE
from neuro.training.rules.local.forward_forward import ForwardForward
from neuro.training.rules.local.lls import LLS, TESS, LLSMatrix, LLSModulated
from neuro.training.rules.local.momentum import MAN
from neuro.training.rules.local.physical import PhysicalForwardForward
from neuro.training.rules.local.projected import DRTP, TPSGD
from neuro.training.rules.local.synthetic import Synthetic

__all__ = [
    "DECOLLE",
    "DRTP",
    "LLS",
    "MAN",
    "TESS",
    "TPSGD",
    "ForwardForward",
    "LLSMatrix",
    "LLSModulated",
    "PhysicalForwardForward",
    "Synthetic",
]
