"""The checks that encoders share."""

from __future__ import annotations

import math

import pytest
import torch

from neuro.encoding.limits import generator, need_positive, need_range, need_sequence, need_steps
from neuro.errors import InputError


@pytest.mark.parametrize("value", [-0.5, 2.5, math.nan])
def test_range_names_the_value_that_is_out(value: float) -> None:
    with pytest.raises(InputError, match=rf"a thing must be in \[0, 2\], got {value:g}; do so"):
        need_range(torch.tensor([1.0, value]), 0.0, 2.0, "a thing", "do so")
    need_range(torch.tensor([0.0, 2.0]), 0.0, 2.0, "a thing", "do so")
    need_range(torch.zeros(0), 0.0, 2.0, "a thing", "do so")


def test_an_open_range_still_refuses_infinity() -> None:
    with pytest.raises(InputError, match="finite and at least 0, got inf"):
        need_range(torch.tensor([math.inf]), 0.0, math.inf, "a rate", "do so")


@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan, "1"])
def test_positive_numbers(value: float) -> None:
    with pytest.raises(InputError, match=f"tau must be a positive number, got {value}"):
        need_positive("tau", value)


@pytest.mark.parametrize("value", [0, 2.0, True, "3"])
def test_whole_numbers(value: int) -> None:
    with pytest.raises(InputError, match=f"steps must be a whole number from 1 on, got {value!r}"):
        need_steps("steps", value)


def test_sequences() -> None:
    need_sequence(torch.zeros(1, 0), "it")
    with pytest.raises(InputError, match=r"it reads .* of at least 3 steps, got \[2, 1\] torch.float32"):
        need_sequence(torch.zeros(2, 1), "it", 3)


def test_generators_are_passed_on() -> None:
    given = torch.Generator().manual_seed(5)
    assert generator(given, torch.device("cpu")) is given
    assert generator(5, torch.device("cpu")).initial_seed() == 5
    with pytest.raises(InputError, match=r"seed must be a whole number or a torch\.Generator, got True"):
        generator(True, torch.device("cpu"))
