"""Composition: layers in sequence, with skips, as graphs; explicit state; definitions and files."""

from neuro.network.base import Network, NetworkState, leaves
from neuro.network.files import build, load, save
from neuro.network.graph import Graph
from neuro.network.overview import summary
from neuro.network.recording import record
from neuro.network.residual import Residual
from neuro.network.sequential import Sequential
from neuro.network.tied import Tied

__all__ = [
    "Graph",
    "Network",
    "NetworkState",
    "Residual",
    "Sequential",
    "Tied",
    "build",
    "leaves",
    "load",
    "record",
    "save",
    "summary",
]
