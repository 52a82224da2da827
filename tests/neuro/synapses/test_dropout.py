"""Dropout held over a sequence."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import neuro
from neuro.errors import InputError

X = torch.rand(7, 3, 4, 50, generator=torch.Generator().manual_seed(0)) + 0.5


def test_the_same_are_left_out_in_every_step() -> None:
    torch.manual_seed(1)
    y, (mask,) = neuro.Dropout((4, 50), 0.25)(X)
    assert torch.equal(y, X * mask)
    assert mask.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert float((mask == 0).float().mean()) == pytest.approx(0.25, abs=0.06)
    assert not torch.equal(mask[0], mask[1])


def test_pieces_are_the_whole_in_training() -> None:
    layer = neuro.Dropout((4, 50), 0.5)
    first, state = layer(X[:3])
    second, after = layer(X[3:], state)
    assert torch.equal(torch.cat([first, second]), layer(X, state)[0])
    assert torch.equal(after[0], state[0])
    y, again = layer.step(X[0], state)
    assert torch.equal(y, first[0])
    assert torch.equal(again[0], state[0])


def test_the_same_seed_leaves_out_the_same() -> None:
    made = []
    for _ in range(2):
        torch.manual_seed(5)
        made.append(neuro.Dropout((4, 50), 0.5)(X)[0])
    assert torch.equal(*made)


def test_evaluation_passes_everything() -> None:
    layer = neuro.Dropout((4, 50), 0.9).eval()
    y, state = layer(X)
    assert y is X
    assert state[0].all()
    assert torch.equal(neuro.Dropout((4, 50), 0.0)(X)[0], X)


def test_recomputing_draws_nothing_new() -> None:
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.Linear(6, 8), neuro.Dropout(8, 0.5), neuro.LI(8)).double()
    x = torch.randn(9, 4, 6, dtype=torch.float64)
    state, grads = net.initial_state(4, dtype=torch.float64), []
    for recompute in (None, 2):
        net.zero_grad()
        net(x, state, recompute=recompute)[0].pow(2).sum().backward()
        grads.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(*grads, strict=True))
    assert grads[0][0].any()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: neuro.Dropout(0), "size must be positive"),
        (lambda: neuro.Dropout(3, 1.0), "p must be from 0 to below 1"),
        (lambda: neuro.Dropout(3, float("nan")), "p must be from 0 to below 1"),
        (lambda: neuro.Dropout(3, dt=0.0), "dt must be a positive number"),
        (lambda: neuro.Dropout(3)(X), r"takes \[T, B, 3\]"),
        (lambda: neuro.Dropout((4, 50))(X, (torch.ones(1),)), r"state must be \(3, 4, 50\)"),
    ],
)
def test_what_does_not_fit_is_named(make: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()
