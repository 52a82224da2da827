"""Other libraries' networks, equal in spikes and gradients: one module for each library.

``neuro.compatibility.snntorch.load(theirs)`` gives a network of ours and the route that reproduces their
backward; the cells of each module run on their own, too. ``docs/compatibility.md`` has what is equal and what
is refused. No other library is imported.
"""

from __future__ import annotations

from neuro.compatibility import norse, rockpool, sinabs, snntorch, spikingjelly
from neuro.compatibility.exchange import Loaded
from neuro.neurons.cell import Cell

__all__ = ["CELLS", "Loaded", "norse", "rockpool", "sinabs", "snntorch", "spikingjelly"]

CELLS: tuple[type[Cell], ...] = (
    snntorch.SnnTorchLeaky,
    snntorch.SnnTorchRLeaky,
    snntorch.SnnTorchSynaptic,
    snntorch.SnnTorchRSynaptic,
    snntorch.SnnTorchLapicque,
    norse.NorseLIF,
    norse.NorseLIFBox,
    norse.NorseIAF,
    norse.NorseLI,
    norse.NorseLIBox,
    spikingjelly.SpikingJellyIF,
    spikingjelly.SpikingJellyLIF,
    spikingjelly.SpikingJellyWholeInputLIF,
    spikingjelly.SpikingJellyPLIF,
    spikingjelly.SpikingJellyWholeInputPLIF,
    sinabs.SinabsIAF,
    sinabs.SinabsCurrentIAF,
    sinabs.SinabsLIF,
    sinabs.SinabsCurrentLIF,
    sinabs.SinabsExpLeak,
    rockpool.RockpoolLIF,
)
"""All cells of this room: ``neuro.load(path, cells=neuro.compatibility.CELLS)`` reads a network made of them."""
