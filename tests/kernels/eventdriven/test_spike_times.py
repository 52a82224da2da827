from __future__ import annotations

import re

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.eventdriven.spike_times import SpikeTimes, first_times, from_grid, to_grid


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
def test_a_grid_comes_back(rate: float, dtype: torch.dtype) -> None:
    x = (torch.rand(7, 5, 63, generator=torch.Generator().manual_seed(1)) < rate).to(dtype)
    spikes = from_grid(x.transpose(0, 1).contiguous().transpose(0, 1), dt=3e-4)
    assert spikes.batch == 5
    assert torch.equal(to_grid(spikes, 7, 3e-4, dtype), x)


def test_times_are_those_of_the_steps_sample_by_sample() -> None:
    x = torch.zeros(4, 2, 3)
    x[3, 0, 2] = x[1, 0, 1] = x[0, 1, 0] = 1
    spikes = from_grid(x, dt=0.5)
    assert spikes.time.tolist() == [0.5, 1.5, 0.0]
    assert spikes.neuron.tolist() == [1, 2, 0]
    assert spikes.start.tolist() == [0, 2, 3]
    assert spikes.sample.tolist() == [0, 0, 1]


def test_first_times_and_their_gradient(trains: SpikeTimes) -> None:
    time = trains.time.clone().requires_grad_()
    first = first_times(SpikeTimes(time, trains.neuron, trains.start, trains.count, 6), end=0.3)
    assert first[1].tolist() == [0.3] * 6
    for b, j in ((0, 2), (2, 5)):
        own = trains.time[(trains.sample == b) & (trains.neuron == j)]
        assert float(first[b, j].detach()) == (float(own.min()) if own.numel() else 0.3)
    first.sum().backward()
    assert time.grad is not None
    assert int(time.grad.sum()) == int((first < 0.3).sum())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": torch.tensor([2.0, 1.0]).double()}, "sort them"),
        ({"time": torch.tensor([-1.0, 1.0]).double()}, "from 0 on"),
        ({"time": torch.tensor([0.0, torch.nan]).double()}, "finite"),
        ({"time": torch.tensor([0.0, 1.0])}, "float64"),
        ({"neuron": torch.tensor([0, 3]).int()}, "0..2"),
        ({"start": torch.tensor([0, 1])}, "S = 2"),
        ({"count": torch.ones(3).double()}, r"must be \[S\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, torch.Tensor], message: str) -> None:
    good = {
        "time": torch.tensor([0.0, 1.0]).double(),
        "neuron": torch.tensor([0, 2]).int(),
        "start": torch.tensor([0, 2]),
        "count": torch.ones(2).double(),
    }
    SpikeTimes(**good, neurons=3)
    with pytest.raises(InputError, match=message):
        SpikeTimes(**{**good, **change}, neurons=3)


@pytest.mark.parametrize("x", [torch.full((2, 1, 3), 0.5), torch.full((2, 1, 3), -1.0), torch.zeros(2, 3)])
def test_what_is_no_grid_of_spikes_is_refused(x: torch.Tensor) -> None:
    with pytest.raises(InputError, match=re.escape("x must be")):
        from_grid(x, 1e-3)
