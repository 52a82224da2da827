"""Padded batches against each sample run alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError


def network() -> neuro.Sequential:
    torch.manual_seed(3)
    cells = neuro.Sequential(neuro.Linear(4, 6), neuro.LIF(6, tau=3e-3))
    net = neuro.Sequential(
        cells,
        neuro.Residual(neuro.Recurrent(neuro.ALIF(6))),
        neuro.DelayedLinear(6, 3, max_delay=4e-3).eval(),
        neuro.LI(3),
    ).double()
    cells.layers["0"].get_parameter("weight").data.mul_(15)
    return net


LENGTHS = torch.tensor([5, 12, 1, 0, 5])


def padded() -> Tensor:
    return (torch.rand(12, 5, 4, generator=torch.Generator().manual_seed(1)) < 0.5).double()


def _each(nest: object, take: slice) -> list[Tensor]:
    if isinstance(nest, tuple):
        return [leaf for part in nest for leaf in _each(part, take)]
    return [nest[take]] if isinstance(nest, Tensor) else []


def test_every_sample_is_as_if_alone() -> None:
    net, x = network(), padded()
    made, state = net(x, lengths=LENGTHS)
    assert bool(made.any())
    for sample, steps in enumerate(LENGTHS.tolist()):
        one = slice(sample, sample + 1)
        alone, end = net(x[:steps, one])
        torch.testing.assert_close(made[:steps, one], alone, rtol=0, atol=1e-12)
        assert not bool(made[steps:, one].any())
        for ours, theirs in zip(_each(state, one), _each(end, slice(None)), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_padding_has_no_say_in_the_gradient() -> None:
    net, noisy = network(), padded()
    gradients = []
    for filler in (0.0, 3.0):
        x = torch.where(torch.arange(12)[:, None, None] < LENGTHS[:, None], noisy, filler)
        net.zero_grad()
        net(x, lengths=LENGTHS)[0].square().sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert all(bool(g.any()) for g in gradients[0][:2])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_the_state_goes_on_where_each_sample_ended() -> None:
    net, x = network(), padded()
    _, middle = net(x, lengths=LENGTHS)
    more, _ = net(x[:3], middle)
    joined, _ = net(torch.cat([x[:5, :1], x[:3, :1]]))
    torch.testing.assert_close(more[:, :1], joined[5:], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (torch.tensor([1, 2]), r"must be \[5\], one per sample"),
        (torch.tensor([1, 2, 3, 4, 13]), r"in 0..12, the steps of the sequence, got 13"),
        (torch.tensor([1, 2, 3, 4, -1]), "got -1"),
        (torch.ones(5), "whole numbers, got torch.float32"),
    ],
)
def test_wrong_lengths_are_named(lengths: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        network()(padded(), lengths=lengths)


def test_normalisations_in_training_refuse_padding() -> None:
    net = neuro.Sequential(neuro.Linear(4, 3), neuro.BatchNorm(3), neuro.LIF(3))
    with pytest.raises(InputError, match=r"normalisations \['1'\] take their statistics .* leave lengths out"):
        net(padded().float(), lengths=LENGTHS)
    assert net.eval()(padded().float(), lengths=LENGTHS)[0].shape == (12, 5, 3)
