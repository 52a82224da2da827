"""The fused loops draw the numbers of the one generator all of them share."""

from __future__ import annotations

import torch

from neuro.kernels.engines.counter_random import counter_uniform
from neuro.kernels.plasticity.competition import compete
from neuro.kernels.plasticity.competition_law import CompetitionLaw


def test_input_spikes_are_those_of_counter_uniform() -> None:
    """One step, one neuron per input that fires exactly when its input does."""
    law = CompetitionLaw(duration=1e-3, rate=300.0, least=0, tau=1e-3, tau_excitatory=1e-4, inhibition=0.0, total=50.0)
    counts = compete(
        50 * torch.eye(200), torch.zeros(200), torch.ones(3, 200), law, seed=11, first=4, learn=False
    ).counts
    for s in range(3):
        place = (torch.tensor(0), torch.tensor(4 + s), torch.arange(200), torch.tensor(0))
        assert torch.equal(counts[s].bool(), counter_uniform(11, *place) < 0.3)
