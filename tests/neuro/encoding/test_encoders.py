"""Encoders: statistics, values at the edges, what is refused, and that decoding gives the value back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from neuro import encoding
from neuro.errors import InputError

GRID = torch.linspace(0, 1, 401, dtype=torch.float64).view(1, 401)
UNIT: dict[str, Callable[[Tensor], Tensor]] = {
    "bernoulli": lambda x: encoding.bernoulli(x, 8, seed=3),
    "poisson": lambda x: encoding.poisson(x, 8, seed=3),
    "latency": lambda x: encoding.latency(x, 8),
    "rc_latency": lambda x: encoding.rc_latency(x, 8, tau=5e-3, threshold=0.3),
    "phase": lambda x: encoding.phase(x, 8),
    "repeat": lambda x: encoding.repeat(x, 8),
}
each = pytest.mark.parametrize("encode", UNIT.values(), ids=UNIT)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 4), (0, 5), (2, 1, 3, 3), (1,)])
def test_time_comes_first_and_the_dtype_stays(
    encode: Callable[[Tensor], Tensor], shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    z = encode(x)
    assert z.shape == (8, *shape)
    assert z.dtype == dtype
    if encode is not UNIT["repeat"]:
        assert ((z == 0) | (z == 1)).all()
        assert not z.requires_grad


@pytest.mark.parametrize("name", ["bernoulli", "latency", "phase"])
@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf, -math.inf])
def test_values_outside_0_to_1_are_refused(name: str, value: float) -> None:
    x = torch.rand(5, generator=torch.Generator().manual_seed(1))
    x[3] = value
    with pytest.raises(InputError, match=rf"must be in \[0, 1\], got {value:g}; scale the values"):
        UNIT[name](x)


@pytest.mark.parametrize("name", ["poisson", "rc_latency"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_rates_and_charges_are_finite_and_not_negative(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"must be finite and at least 0, got {value:g}"):
        UNIT[name](torch.tensor([0.5, value]))


@pytest.mark.parametrize("name", sorted(set(UNIT) - {"repeat"}))
def test_whole_numbers_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"must be floating point, got torch.uint8"):
        UNIT[name](torch.tensor([0, 1], dtype=torch.uint8))


# --- rates ---------------------------------------------------------------------------------------------


def test_bernoulli_has_the_mean_and_variance_of_independent_draws() -> None:
    steps, p = 4000, torch.tensor([0.02, 0.3, 0.5, 0.9], dtype=torch.float64).repeat(200, 1)
    z = encoding.bernoulli(p, steps, seed=11)
    spread = (p * (1 - p) / steps).sqrt()
    score = (encoding.mean_membrane(z) - p) / spread
    assert float(score.mean(0).abs().max()) < 4 / math.sqrt(200)
    assert float((score.std(0) - 1).abs().max()) < 0.2
    together = (z[1:] * z[:-1]).mean((0, 1))  # one step says nothing about the next
    assert torch.allclose(together, p[0] ** 2, atol=4e-3)


def test_bernoulli_round_trip_error_falls_with_the_root_of_time() -> None:
    errors = [
        float((encoding.mean_membrane(encoding.bernoulli(GRID, t, seed=2)) - GRID).pow(2).mean().sqrt())
        for t in (1, 100, 10000)
    ]
    expected = math.sqrt(1 / 6)  # root of the mean of x (1 - x)
    assert errors == pytest.approx([expected, expected / 10, expected / 100], rel=0.2)


def test_never_at_0_and_always_at_1() -> None:
    z = encoding.bernoulli(torch.tensor([0.0, 1.0]), 20000, seed=5)
    assert z.sum(0).tolist() == [0, 20000]


def test_the_seed_makes_the_spikes_whatever_the_threads() -> None:
    x = torch.full((300, 70), 0.4)
    expected = encoding.bernoulli(x, 50, seed=7)
    assert not torch.equal(expected, encoding.bernoulli(x, 50, seed=8))
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            torch.rand(5)  # the global generator plays no part
            assert torch.equal(encoding.bernoulli(x, 50, seed=7), expected)
    finally:
        torch.set_num_threads(before)
    drawing = torch.Generator().manual_seed(7)
    assert torch.equal(encoding.bernoulli(x, 50, seed=drawing), expected)
    assert not torch.equal(encoding.bernoulli(x, 50, seed=drawing), expected)  # it draws on


def test_a_probability_for_each_step() -> None:
    p = torch.zeros(6, 2, 3)
    p[4:] = 1
    assert torch.equal(encoding.bernoulli(p, seed=0), p)
    assert torch.equal(encoding.poisson(p * 1e6, seed=0), p)


def test_poisson_counts_and_pauses() -> None:
    rate, dt, steps = 40.0, 1e-3, 5000
    z = encoding.poisson(torch.full((400,), rate, dtype=torch.float64), steps, dt=dt, seed=4)
    p = 1 - math.exp(-rate * dt)
    counts = z.sum(0)
    assert float(counts.mean()) == pytest.approx(steps * p, abs=4 * math.sqrt(steps * p / 400))
    assert float(counts.var()) == pytest.approx(steps * p * (1 - p), rel=0.3)
    pauses = torch.cat([column.nonzero().flatten().diff() for column in z.unbind(1)]).double()
    assert float(pauses.mean()) == pytest.approx(1 / p, rel=0.03)
    assert float((pauses > 25).double().mean()) == pytest.approx((1 - p) ** 25, abs=0.01)
    found = encoding.spike_rate(z, dt=dt).mean()
    assert float(found) == pytest.approx(p / dt, rel=0.01)
    assert float(found) < rate


# --- times ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [2, 3, 16, 101])
def test_latency_round_trip(steps: int) -> None:
    z = encoding.latency(GRID, steps)
    assert (z.sum(0) == 1).all()
    back = encoding.latency_value(z)
    assert float((back - GRID).abs().max()) <= 0.5 / (steps - 1) + 1e-12
    assert z[0, 0, -1] == 1
    assert z[-1, 0, 0] == 1


def test_one_step_cannot_hold_a_time() -> None:
    with pytest.raises(InputError, match="steps must be a whole number from 2 on, got 1"):
        encoding.latency(GRID, 1)


def test_rc_latency_is_where_a_charged_membrane_meets_the_threshold() -> None:
    x = torch.tensor([1.001, 1.5, 3.0, 40.0], dtype=torch.float64)
    tau, dt = 7e-3, 1e-4
    z = encoding.rc_latency(x, 1000, tau=tau, threshold=1.0, dt=dt)
    time = dt * torch.arange(1001, dtype=torch.float64).view(-1, 1)
    membrane = x * (1 - torch.exp(-time / tau))
    crossed = (membrane[1:] >= 1) & (membrane[:-1] < 1)
    assert torch.equal(z.bool(), crossed)


def test_rc_latency_round_trip_is_within_half_a_step_of_the_time() -> None:
    tau, threshold, dt = 10e-3, 0.2, 1e-3
    x = torch.linspace(0.21, 6, 300, dtype=torch.float64)
    back = encoding.rc_latency_value(
        encoding.rc_latency(x, 100, tau=tau, threshold=threshold, dt=dt), tau=tau, threshold=threshold, dt=dt
    )
    when, then = (-tau * torch.log1p(-threshold / v) for v in (x, back))
    assert float((when - then).abs().max()) <= dt / 2 + 1e-12


def test_what_does_not_reach_the_threshold_in_time_is_silent() -> None:
    x = torch.tensor([0.0, 0.2, 0.2 + 1e-9])
    z = encoding.rc_latency(x.double(), 20, tau=10e-3, threshold=0.2)
    assert not z.any()
    assert encoding.rc_latency_value(z, tau=10e-3, threshold=0.2).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("period", "steps"), [(1, 3), (4, 4), (8, 24), (20, 20)])
def test_phase_round_trip(period: int, steps: int) -> None:
    z = encoding.phase(GRID, steps, period=period)
    back = encoding.phase_value(z, period=period)
    error = GRID - back
    assert float(error.min()) >= 0
    assert float(error[0, :-1].max()) < 2.0**-period
    assert float(error[0, -1]) == 2.0**-period
    assert z[:, 0, -1].all()


# --- changes -------------------------------------------------------------------------------------------


def test_delta_follows_the_signal_within_its_threshold() -> None:
    x = torch.randn(3000, 2, 3, 4, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    x = x.clamp(-3, 3).mul(0.1 / 3).cumsum(0)  # at most 0.1 a step
    z = encoding.delta(x, 0.1)
    assert z.shape == (3000, 2, 2, 3, 4)
    back = encoding.delta_value(z, 0.1, start=x[0])
    assert float((back - x).abs().max()) < 0.1 + 1e-12
    assert not (z[:, :, 0] * z[:, :, 1]).any()
    assert (z.sum(0) > 80).all()


def test_delta_catches_up_with_a_jump_at_one_threshold_a_step() -> None:
    x = torch.cat([torch.zeros(2, 1), torch.ones(6, 1)])
    on = encoding.delta(x, 0.25)[:, 0, 0]
    assert on.tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    assert encoding.delta(x, 0.25, start=torch.ones(1))[:, 0, 1].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("shape", [(0, 2, 3), (1, 2, 3), (5, 0, 3), (4, 2)])
def test_delta_of_small_signals(shape: tuple[int, ...]) -> None:
    assert encoding.delta(torch.ones(shape), 0.1).shape == (*shape[:2], 2, *shape[2:])
    assert not encoding.delta(torch.ones(shape), 0.1).any()


# --- populations and currents --------------------------------------------------------------------------


def test_population_round_trip_away_from_the_ends() -> None:
    x = torch.linspace(-1, 2, 500, dtype=torch.float64).view(5, 100)
    limits = {"low": -3.0, "high": 4.0}
    a = encoding.receptive_fields(x, 29, **limits)  # centres a quarter apart, the ends eight of them away
    assert a.shape == (5, 100, 29)
    assert float((encoding.population_vector(a, **limits) - x).abs().max()) < 1e-6
    nearest = -3 + 0.25 * a.argmax(-1)
    assert float((nearest - x).abs().max()) <= 0.125 + 1e-9


def test_population_through_spikes() -> None:
    x = torch.linspace(0.2, 0.8, 7, dtype=torch.float64).view(7, 1)
    a = encoding.receptive_fields(x, 21, low=-0.5, high=1.5)
    counts = encoding.spike_count(encoding.bernoulli(a, 4000, seed=9))
    back = encoding.population_vector(counts, low=-0.5, high=1.5)
    assert float((back - x).abs().max()) < 0.01


def test_population_is_differentiable() -> None:
    x = torch.rand(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: encoding.receptive_fields(x, 5, low=-1, high=2, width=0.7), x)
    assert torch.autograd.gradcheck(lambda x: encoding.repeat(x, 3), x)


def test_repeat_is_one_memory() -> None:
    x = torch.rand(2, 3)
    assert encoding.repeat(x, 1000).data_ptr() == x.data_ptr()
    assert torch.equal(encoding.repeat(x, 7)[6], x)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: encoding.bernoulli(GRID, 0, seed=1), "steps must be a whole number from 1 on, got 0"),
        (lambda: encoding.bernoulli(GRID, 2.5, seed=1), "got 2.5"),  # type: ignore[arg-type]
        (lambda: encoding.bernoulli(GRID, 3, seed=None), "seed must be a whole number or a torch.Generator, got None"),  # type: ignore[arg-type]
        (lambda: encoding.poisson(GRID, 3, dt=0.0, seed=1), "dt must be a positive number, got 0.0"),
        (lambda: encoding.rc_latency(GRID, 3, tau=-1.0, threshold=1.0), "tau must be a positive number, got -1.0"),
        (lambda: encoding.phase(GRID, 9, period=4), "got 9 steps of period 4"),
        (lambda: encoding.phase(GRID, 25, period=25), "at most 24"),
        (lambda: encoding.delta(torch.tensor([[math.nan]]), 0.1), "finite"),
        (lambda: encoding.delta(GRID, -0.1), "threshold must be a positive number, got -0.1"),
        (lambda: encoding.delta(GRID, 0.1, start=torch.zeros(2)), r"start must be of shape \[401\].*got \[2\]"),
        (lambda: encoding.receptive_fields(GRID, 1), "fields must be a whole number from 2 on, got 1"),
        (lambda: encoding.receptive_fields(GRID, 5, low=2, high=1), "high - low must be a positive number, got -1"),
        (lambda: encoding.receptive_fields(GRID, 5, low=0.5), r"in \[0.5, 1\], got 0; widen low and high"),
        (lambda: encoding.repeat(GRID, -1), "got -1"),
    ],
)
def test_misuse_is_named(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()
