"""Evolution: a strategy that moves genomes, spiking controllers to be evolved, and the plants they are to hold.

>>> import torch
>>> from neuro.evolution import BLIMP, CMAES, SpikingController, evolve, mimicry
>>> error = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).cumsum(0) / 5
>>> def fitness(genomes: torch.Tensor) -> torch.Tensor:
...     return mimicry(SpikingController(genomes, dt=BLIMP.dt)(error)[0], 2 * error)
>>> best, course = evolve(fitness, CMAES(torch.zeros(10), 0.5, size=8), 5)
>>> best.shape, len(course)
(torch.Size([10]), 5)
"""

from neuro.evolution.control import BLIMP, PID, Plant, closed_loop
from neuro.evolution.controller import SpikingController, mimicry
from neuro.evolution.strategy import CMAES, evolve

__all__ = ["BLIMP", "CMAES", "PID", "Plant", "SpikingController", "closed_loop", "evolve", "mimicry"]
