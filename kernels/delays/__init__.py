"""Synapses with delays of their own: learnable, and rounded to whole steps."""
