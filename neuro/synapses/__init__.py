"""Connections between populations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from torch import nn

from neuro.synapses.delays import DelayedLinear, sigma_schedule
from neuro.synapses.dense import STATELESS, Conv2d, Flatten, Linear, SumPool2d

__all__ = ["SYNAPSES", "Conv2d", "DelayedLinear", "Flatten", "Linear", "SumPool2d", "sigma_schedule"]

SYNAPSES: Mapping[str, type[nn.Module]] = MappingProxyType({**STATELESS, "DelayedLinear": DelayedLinear})
"""The synapses that come with neuro, by name."""
