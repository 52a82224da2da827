"""Learning rules: which edges of the network unrolled in time a gradient may cross.

A rule writes ``.grad``, an optimizer spends it. The network is never changed by the choice of
rule: a rule runs it with the :class:`neuro.kernels.Route` that is its own. Gradients are added
to what ``.grad`` already holds, as ``torch.Tensor.backward`` does; clear them between steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from neuro.errors import unknown_name
from neuro.training.rules.base import About, Rule, RuleResult
from neuro.training.rules.eventprop import EventProp, first_spike
from neuro.training.rules.forward_mode import RTRL, EProp, EPropAdaptive, EPropRandom
from neuro.training.rules.local import (
    DECOLLE,
    DRTP,
    LLS,
    MAN,
    TESS,
    TPSGD,
    ForwardForward,
    LLSMatrix,
    LLSModulated,
    PhysicalForwardForward,
    Synthetic,
)
from neuro.training.rules.ottt import OTTT, OTTTOnline
from neuro.training.rules.plastic import (
    HebbianSTDP,
    HiddenHebbian,
    HiddenOja,
    HiddenSanger,
    HiddenSoftHebb,
    Plastic,
    RewardSTDP,
)
from neuro.training.rules.through_time import BPTT, SLTT, SLTTK, TBPTT

__all__ = [
    "BPTT",
    "DECOLLE",
    "DRTP",
    "LLS",
    "MAN",
    "OTTT",
    "RTRL",
    "RULES",
    "SLTT",
    "SLTTK",
    "TBPTT",
    "TESS",
    "TPSGD",
    "About",
    "EProp",
    "EPropAdaptive",
    "EPropRandom",
    "EventProp",
    "ForwardForward",
    "HebbianSTDP",
    "HiddenHebbian",
    "HiddenOja",
    "HiddenSanger",
    "HiddenSoftHebb",
    "LLSMatrix",
    "LLSModulated",
    "OTTTOnline",
    "PhysicalForwardForward",
    "Plastic",
    "RewardSTDP",
    "Rule",
    "RuleResult",
    "Synthetic",
    "choose_rule",
    "first_spike",
]

RULES: Mapping[str, type[Rule]] = MappingProxyType(
    {
        "bptt": BPTT,
        "tbptt": TBPTT,
        "sltt": SLTT,
        "sltt_k": SLTTK,
        "ottt": OTTT,
        "ottt_online": OTTTOnline,
        "eprop": EProp,
        "eprop_random": EPropRandom,
        "eprop_adaptive": EPropAdaptive,
        "eventprop": EventProp,
        "rtrl": RTRL,
        "drtp": DRTP,
        "tpsgd": TPSGD,
        "decolle": DECOLLE,
        "lls": LLS,
        "lls_m": LLSModulated,
        "lls_mxm": LLSMatrix,
        "tess": TESS,
        "man": MAN,
        "synthetic": Synthetic,
        "ff": ForwardForward,
        "ff_physical": PhysicalForwardForward,
        "oja": HiddenOja,
        "sanger": HiddenSanger,
        "softhebb": HiddenSoftHebb,
        "stdp": HebbianSTDP,
        "rstdp": RewardSTDP,
    }
)


def choose_rule(rule: str | Rule) -> Rule:
    """The rule of that name with its default options, or ``rule`` itself.

    >>> choose_rule("sltt")
    SLTT(chunk=64, every=None)

    Raises:
        InputError: no rule has that name.
    """
    if isinstance(rule, Rule):
        return rule
    if rule not in RULES:
        raise unknown_name("rule", str(rule), RULES)
    return RULES[rule]()
