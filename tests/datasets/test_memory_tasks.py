"""Memory tasks are what they say, for every lag and sample, by a count made another way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from neuro.datasets.memory_tasks import MEMORY_TASKS, delayed_match, parity
from neuro.errors import InputError

LAGS = (1, 2, 5, 9)


def drawn(task: Callable[..., tuple[Tensor, Tensor]], seed: int = 0, batch: int = 400) -> tuple[Tensor, Tensor]:
    return task(LAGS, batch, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", sorted(MEMORY_TASKS))
def test_shapes_lengths_and_reproduction(name: str) -> None:
    lengths = set()
    for seed in range(60):
        x, y = drawn(MEMORY_TASKS[name], seed, 3)
        lengths.add(len(x))
        assert x.shape[1:] == (3, 1)
        assert (y.shape, y.dtype) == ((3, 4), torch.int64)
    assert min(lengths) >= 11
    assert max(lengths) < 38
    assert len(lengths) > 15
    again = drawn(MEMORY_TASKS[name]), drawn(MEMORY_TASKS[name])
    assert all(torch.equal(a, b) for a, b in zip(*again, strict=True))
    assert set(again[0][0].unique().tolist()) == {0.0, 1.0}


def test_parity_of_each_lag() -> None:
    x, y = drawn(parity)
    for k, n in enumerate(LAGS):
        odd = [sum(int(v) for v in x[-n:, b, 0]) % 2 for b in range(x.shape[1])]
        assert y[:, k].tolist() == odd


def test_sequences_have_shares_of_their_own() -> None:
    shares = torch.cat([drawn(parity, seed)[0].mean(0) for seed in range(5)])
    assert float(shares.std()) > 0.25  # uniform: 0.29; one share for all: below 0.15
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.05)
    even = torch.cat([drawn(delayed_match, seed)[0].mean(0) for seed in range(5)])
    assert float(even.std()) < 0.16


def test_match_of_each_lag() -> None:
    x, y = drawn(delayed_match)
    for k, n in enumerate(LAGS):
        assert y[:, k].tolist() == [int(x[-1, b, 0] == x[-n, b, 0]) for b in range(x.shape[1])]
    assert y[:, 0].tolist() == [1] * 400
    assert 0.4 < float(y[:, 2].double().mean()) < 0.6


@pytest.mark.parametrize("task", [parity, delayed_match])
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"lags": ()}, "lags must be whole numbers from 1 on, at least one"),
        ({"lags": (2, 0)}, r"got \(2, 0\)"),
        ({"lags": (2.5,)}, "lags must be whole numbers"),
        ({"batch": 0}, "batch must be a whole number from 1 on, got 0"),
        ({"batch": True}, "batch must be"),
    ],
)
def test_bad_options_are_named(task: Callable[..., Any], given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        task(**({"lags": (2,), "batch": 3} | given))
