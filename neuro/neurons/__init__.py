"""Cells declared by their equations, grouped by family."""

from neuro.neurons.cell import Cell, State
from neuro.neurons.integrate_and_fire import CELLS, IF, LI, LIF, CuBaLIF

__all__ = ["CELLS", "IF", "LI", "LIF", "Cell", "CuBaLIF", "State"]
