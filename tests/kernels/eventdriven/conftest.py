"""Random batches of spike times."""

from __future__ import annotations

import pytest
import torch

from neuro.kernels.eventdriven.spike_times import SpikeTimes


@pytest.fixture
def trains() -> SpikeTimes:
    """Three samples of 6 neurons: 12 spikes, none, 9 spikes within 80 ms, two of them at the same time."""
    generator = torch.Generator().manual_seed(5)
    parts = [torch.rand(n, generator=generator, dtype=torch.float64).mul(0.08).sort().values for n in (12, 0, 9)]
    parts[0][4] = parts[0][3]
    time = torch.cat(parts)
    neuron = torch.randint(0, 6, (21,), generator=generator).int()
    return SpikeTimes(time, neuron, torch.tensor([0, 12, 12, 21]), torch.ones_like(time), 6)
