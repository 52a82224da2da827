"""Random numbers by counting: against splitmix64 in whole numbers of Python, and their statistics."""

from __future__ import annotations

import pytest
import torch

from neuro.kernels.engines.counter_random import counter_uniform

M = 2**64 - 1


def mix(z: int) -> int:
    z = (z + 0x9E3779B97F4A7C15) & M
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & M
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & M
    return z ^ z >> 31


@pytest.mark.parametrize("seed", [0, 1, -5, 2**63 - 1, -(2**63)])
def test_equals_whole_number_arithmetic(seed: int) -> None:
    for a in (0, 3, 2**40):
        for b in (0, 17):
            state = mix(seed & M)
            for place in (a, b):
                state = mix(state ^ ((place * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & M))
            wanted = ((state >> 40) + 0.5) / 2**24
            assert counter_uniform(seed, torch.tensor(a), torch.tensor(b)).item() == wanted


def test_numbers_are_uniform_and_independent() -> None:
    x = counter_uniform(7, torch.arange(300)[:, None], torch.arange(400))
    assert float(x.min()) > 0
    assert float(x.max()) < 1
    assert abs(float(x.mean()) - 0.5) < 4 / (12 * x.numel()) ** 0.5
    counts = torch.histc(x, 16, 0, 1)
    assert float(((counts - x.numel() / 16) ** 2).sum() / (x.numel() / 16)) < 40  # chi square of 15 degrees
    for other in (x.roll(1, 0), x.roll(1, 1), counter_uniform(8, torch.arange(300)[:, None], torch.arange(400))):
        assert abs(float(torch.corrcoef(torch.stack([x.flatten(), other.flatten()]))[0, 1])) < 0.012
