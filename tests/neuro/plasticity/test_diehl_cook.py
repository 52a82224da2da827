"""Neurons that compete find kinds of pictures without labels; learning can be cut into pieces."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from neuro.errors import InputError
from neuro.plasticity import CompetitionLaw, DiehlCook
from neuro.plasticity.diehl_cook import Vote

LAW = CompetitionLaw(total=9.0, rate=120.0, a_plus=0.05, duration=0.1)


def kinds(count: int) -> tuple[Tensor, Tensor]:
    """Noisy pictures ``[S, 5, 6]`` of three kinds: bars of 10 pixels that do not overlap."""
    g = torch.Generator().manual_seed(count)
    labels = torch.randint(0, 3, (count,), generator=g)
    bars = torch.eye(3).repeat_interleave(10, 1)
    return (0.8 * bars[labels] + 0.15 * torch.rand(count, 30, generator=g)).view(count, 5, 6), labels


def test_neurons_come_to_stand_for_kinds_of_pictures() -> None:
    pictures, labels = kinds(60)
    net = DiehlCook(30, 9, law=LAW, seed=3)
    net.fit(pictures, presentations=150, progress=False)
    net.assign(pictures, labels, progress=False)
    unseen, truth = kinds(45)
    assert net.responses.shape == (9, 3)
    for vote in ("weighted", "standard"):
        assert (net.predict(unseen, vote, progress=False) == truth).float().mean() > 0.95
    favourite = net.weight.view(3, 10, 9).sum(1).argmax(0)
    clear = net.responses.amax(1) > 0.9 * net.responses.sum(1).clamp_min(0.1)
    assert clear.sum() >= 6
    assert (favourite == net.responses.argmax(1))[clear].all()  # a neuron's weights are the kind it answers


def test_digits_of_sklearn() -> None:
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    x, y = torch.from_numpy(digits.data).float()[order] / 16, torch.from_numpy(digits.target).long()[order]
    net = DiehlCook(64, 100, law=CompetitionLaw(total=18.0, rate=127.0), seed=0)
    net.fit(x[:1300], presentations=2600, progress=False)
    net.assign(x[:1300], y[:1300], progress=False)
    counts = net.respond(x[1300:], progress=False)
    standard, weighted = ((net.decide(counts, vote) == y[1300:]).float().mean() for vote in ("standard", "weighted"))
    assert standard > 0.70
    assert weighted > 0.75
    assert net.theta.mean() > 3e-3


def test_pieces_of_learning_are_the_whole() -> None:
    pictures, labels = kinds(25)
    whole = DiehlCook(30, 4, law=LAW, seed=5)
    whole.fit(pictures, presentations=60, progress=False)
    part = DiehlCook(30, 4, law=LAW, seed=5)
    part.fit(pictures, progress=False)  # once each
    part.assign(pictures, labels, progress=False)
    stored = part.state_dict()
    later = DiehlCook(30, 4, law=LAW, seed=5)
    later.load_state_dict(stored)
    assert torch.equal(later.responses, part.responses)
    later.fit(pictures, presentations=35, progress=False)
    assert torch.equal(later.weight, whole.weight)
    assert torch.equal(later.theta, whole.theta)
    assert int(later.shown) == 60
    other = DiehlCook(30, 4, law=LAW, seed=6)
    assert not torch.equal(other.weight, DiehlCook(30, 4, law=LAW, seed=5).weight)


def test_answers_do_not_depend_on_what_else_is_asked() -> None:
    pictures, _ = kinds(230)
    net = DiehlCook(30, 4, law=LAW, seed=5)
    before = net.weight.clone()
    assert torch.equal(net.respond(pictures, progress=False)[:120], net.respond(pictures[:120], progress=False))
    assert torch.equal(net.weight, before)
    assert net.respond(pictures[:0], progress=False).shape == (0, 4)


def test_a_neuron_that_speaks_for_one_class_counts_more() -> None:
    """Hand values: neuron 0 answers class 0 only; neuron 1 both; neuron 2 nothing."""
    net = DiehlCook(30, 3, law=LAW)
    net.responses = torch.tensor([[10.0, 0.0], [4.0, 6.0], [0.0, 0.0]])
    counts = torch.tensor([[5, 7, 9], [0, 2, 0], [3, 0, 9]])
    assert net.decide(counts, "standard").tolist() == [1, 1, 0]  # 5 against 7
    assert net.decide(counts, "weighted").tolist() == [0, 1, 0]  # 5 + 2.8 against 4.2


def test_bad_input_is_named() -> None:
    pictures, labels = kinds(12)
    net = DiehlCook(30, 3, law=LAW)
    with pytest.raises(InputError, match="call assign"):
        net.predict(pictures, progress=False)
    with pytest.raises(InputError, match=r"law\.total must be below"):
        DiehlCook(64, 3)
    with pytest.raises(InputError, match="at least 1"):
        DiehlCook(64, 0, law=LAW)
    with pytest.raises(InputError, match="pictures must be \\[S, 30\\]"):
        net.fit(pictures[:, :4], progress=False)
    with pytest.raises(InputError, match=r"from 0 to 1, got torch\.uint8"):
        net.fit((255 * pictures).byte(), progress=False)
    with pytest.raises(InputError, match="from 0 to 1"):
        net.fit(255 * pictures, progress=False)
    with pytest.raises(InputError, match="one at least"):
        net.fit(pictures[:0], progress=False)
    with pytest.raises(InputError, match="presentations must be"):
        net.fit(pictures, presentations=-1, progress=False)
    with pytest.raises(InputError, match="one for each picture"):
        net.assign(pictures, labels[:3], progress=False)
    with pytest.raises(InputError, match=r"labels must be in 0\.\.1"):
        net.assign(pictures, labels, classes=2, progress=False)
    with pytest.raises(InputError, match="got none of 3"):
        net.assign(pictures, labels, classes=4, progress=False)
    net.assign(pictures, labels, progress=False)
    with pytest.raises(InputError, match="counts must be \\[S, 3\\]"):
        net.decide(torch.zeros(2, 4))
    wrong: Vote = "wieghted"  # type: ignore[assignment]
    with pytest.raises(InputError, match="weighted"):
        net.decide(torch.zeros(2, 3), wrong)
