"""Connections between populations."""

from neuro.synapses.dense import SYNAPSES, Conv2d, Flatten, Linear, SumPool2d

__all__ = ["SYNAPSES", "Conv2d", "Flatten", "Linear", "SumPool2d"]
