"""Decoders by hand-made spikes; gradients by finite differences. Round trips stand with the encoders."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from neuro import encoding
from neuro.errors import InputError

DECODERS: dict[str, Callable[[Tensor], Tensor]] = {
    "spike_rate": lambda z: encoding.spike_rate(z, dt=0.02),
    "first_spike_time": lambda z: encoding.first_spike_time(z, dt=0.02),
    "latency_value": encoding.latency_value,
    "rc_latency_value": lambda z: encoding.rc_latency_value(z, tau=0.1, threshold=0.7, dt=0.02),
    "phase_value": lambda z: encoding.phase_value(z, period=3),
    "delta_value": lambda z: encoding.delta_value(z.unflatten(2, (2, 2)), 0.3),
    "population_vector": lambda z: encoding.population_vector(z[0], low=-1.0, high=3.0),
}


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
def test_gradients_are_those_of_finite_differences(decode: Callable[[Tensor], Tensor]) -> None:
    z = torch.rand(6, 2, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 0.6 + 0.05
    assert torch.autograd.gradcheck(decode, z.requires_grad_())


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
def test_empty_batches_and_dtypes(decode: Callable[[Tensor], Tensor]) -> None:
    for dtype in (torch.float32, torch.float64):
        assert decode(torch.zeros(6, 2, 4, dtype=dtype)).dtype == dtype
    assert decode(torch.zeros(6, 0, 4)).numel() == 0


def test_rates_are_in_hertz() -> None:
    z = torch.zeros(500, 1, 2)
    z[::50, 0, 0] = 1
    assert encoding.spike_rate(z, dt=2e-3).tolist() == [[10.0, 0.0]]


def test_the_first_spike_counts_and_later_ones_do_not() -> None:
    z = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    assert encoding.first_spike_time(z, dt=0.5).tolist() == [0.5, 0.0, 1.5]
    assert encoding.latency_value(z).tolist() == [0.5, 1.0, 0.0]


def test_first_spike_time_pulls_spikes_up_to_the_first_only() -> None:
    z = torch.tensor([[0.0], [0.0], [1.0], [0.0]], requires_grad=True)
    encoding.first_spike_time(z, dt=1.0).sum().backward()
    assert z.grad is not None
    # A spike at 0 or 1 would save the steps from there to the first one at 2; without that one, 2 and 3 were silent too.
    assert z.grad.flatten().tolist() == [-2.0, -1.0, -2.0, 0.0]


def test_an_rc_latency_in_the_first_step_is_finite() -> None:
    value = encoding.rc_latency_value(torch.ones(1, 1), tau=10e-3, threshold=1.0, dt=1e-3)
    assert float(value) == pytest.approx(1 / (1 - math.exp(-0.05)))


def test_phase_weighs_halves_and_averages_periods() -> None:
    z = torch.tensor([1.0, 0.0, 1.0, 1.0]).view(4, 1)
    assert encoding.phase_value(z, period=4).tolist() == [0.5 + 0.125 + 0.0625]
    assert encoding.phase_value(z, period=2).tolist() == [0.625]


def test_delta_starts_at_zero_or_where_it_is_told() -> None:
    z = torch.zeros(4, 1, 2)
    z[1, 0, 0] = z[3, 0, 1] = 1
    assert encoding.delta_value(z, 0.5).flatten().tolist() == [0, 0.5, 0.5, 0]
    assert encoding.delta_value(z, 0.5, start=torch.tensor([2.0])).flatten().tolist() == [2, 2.5, 2.5, 2]


def test_a_silent_population_gives_the_middle_and_no_nan_in_the_gradient() -> None:
    a = torch.zeros(2, 5, requires_grad=True)
    value = encoding.population_vector(a, low=2.0, high=6.0)
    value.sum().backward()
    assert value.tolist() == [4.0, 4.0]
    assert a.grad is not None
    assert not a.grad.isnan().any()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: encoding.spike_rate(torch.zeros(0, 2)), r"of at least 1 step, got \[0, 2\]"),
        (lambda: encoding.spike_rate(torch.zeros(3, 2, dtype=torch.int64)), "torch.int64"),
        (lambda: encoding.first_spike_time(torch.zeros(3)), r"\[T, B, ...\]"),
        (lambda: encoding.first_spike_time(torch.zeros(3, 2), dt=-1e-3), "dt must be a positive number, got -0.001"),
        (lambda: encoding.latency_value(torch.zeros(1, 2)), "of at least 2 steps"),
        (lambda: encoding.rc_latency_value(torch.zeros(2, 2), tau=1.0, threshold=0.0), "threshold must be a positive"),
        (lambda: encoding.phase_value(torch.zeros(9, 1)), "whole periods of 8 steps, got 9"),
        (lambda: encoding.delta_value(torch.zeros(4, 1, 3), 0.1), r"\[T, B, 2, ...\], on and off, got \[4, 1, 3\]"),
        (lambda: encoding.delta_value(torch.zeros(4, 1, 2), 0.1, start=torch.zeros(3)), r"shape \[1\], got \[3\]"),
        (lambda: encoding.population_vector(torch.zeros(3, 1)), "at least 2 fields"),
        (lambda: encoding.population_vector(torch.zeros(3, 4), low=1.0), "high - low must be a positive number"),
    ],
)
def test_misuse_is_named(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()
