"""Events are sorted by channel, sample and time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neuro.kernels.delays.delayed_numba import by_channel
from neuro.kernels.propagation.spikes import EventList


@pytest.mark.parametrize("graded", [False, True])
def test_events_are_sorted(graded: bool) -> None:
    g = torch.Generator().manual_seed(1)
    x = (torch.rand(7, 3, 70, generator=g) < 0.3).float()
    x = x * torch.randn(x.shape, generator=g) if graded else x
    listed = EventList.of(x)
    first = np.zeros(70 * 3 + 1, np.int64)
    step, value = np.empty(len(listed.index), np.int32), np.empty(len(listed.value), np.float32)
    by_channel(listed.start.numpy(), listed.index.numpy(), listed.value.numpy(), 3, first, step, value)
    for i in range(70):
        for b in range(3):
            mine = slice(first[i * 3 + b], first[i * 3 + b + 1])
            assert step[mine].tolist() == x[:, b, i].nonzero().flatten().tolist()
            if graded:
                assert value[mine].tolist() == x[:, b, i][x[:, b, i] != 0].tolist()
    assert first[-1] == len(step)
