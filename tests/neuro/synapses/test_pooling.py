"""Pooling over space and votes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import neuro
from neuro.errors import InputError

X = torch.randn(3, 2, 4, 7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("options", [(2,), (3, 2, 1), ((2, 3), (1, 2)), ((3, 2), 1, (1, 0)), (7, 7, 3)])
def test_windows(options: Any) -> None:
    for layer, torchs in ((neuro.AvgPool2d, F.avg_pool2d), (neuro.MaxPool2d, F.max_pool2d)):
        made = layer(*options)
        wanted = torch.stack([torchs(x, *options) for x in X])
        assert torch.equal(made(X), wanted)
        assert torch.equal(type(made)(**made.definition())(X), wanted)


def test_means_by_hand() -> None:
    assert torch.allclose(neuro.GlobalMean()(X), X.sum((3, 4)) / 42, rtol=1e-12)
    assert torch.allclose(neuro.GlobalMean()(X[..., 0]), X[..., 0].sum(3) / 7, rtol=1e-12)
    votes = neuro.Vote(3)(X.flatten(2)[..., :12])
    assert torch.allclose(votes[1, 0, 2], X[1, 0].flatten()[6:9].sum() / 3, rtol=1e-12)
    assert votes.shape == (3, 2, 4)


def test_the_maximum_of_spikes_is_whether_any_came() -> None:
    spikes = (X > 1).double()
    assert torch.equal(neuro.MaxPool2d(2)(spikes) > 0, neuro.SumPool2d(2)(spikes) > 0)


def test_in_a_network_that_is_saved(tmp_path: Path) -> None:
    layers = (neuro.AvgPool2d(2), neuro.MaxPool2d(2, 1), neuro.GlobalMean(), neuro.Vote(2))
    net = neuro.Sequential(*layers)
    x = X.float().requires_grad_()
    y, _ = net(x)
    assert y.shape == (3, 2, 2)
    assert torch.equal(neuro.load(neuro.save(net, tmp_path / "net.safetensors"))(x)[0], y)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.any()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: neuro.AvgPool2d(0), "kernel_size must be at least 1"),
        (lambda: neuro.MaxPool2d(2, 0), "stride must be at least 1"),
        (lambda: neuro.MaxPool2d(3, 1, 2), "padding must be from 0 to half the window"),
        (lambda: neuro.Vote(0), "voters must be a whole number"),
        (lambda: neuro.AvgPool2d(8)(X), r"window \(8, 8\) does not fit into \(7, 6\)"),
        (lambda: neuro.MaxPool2d(2)(X[0]), r"takes \[T, B, C, H, W\]"),
        (lambda: neuro.GlobalMean()(X[..., 0, 0]), "with an axis to average over"),
        (lambda: neuro.Vote(5)(X.flatten(2)), r"takes \[T, B, classes \* 5\]"),
    ],
)
def test_what_does_not_fit_is_named(make: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()
