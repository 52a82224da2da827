"""Hedge backpropagation: the recursion by hand, the bound of its weights, streams, spiking blocks, bad arguments."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro
from neuro.errors import InputError
from neuro.training.hedge import HedgeBackprop, hedge


def test_the_recursion_by_hand() -> None:
    torch.manual_seed(1)
    learner = HedgeBackprop.dense(5, 7, depth=3, classes=4, rate=0.05, beta=0.9, smoothing=0.3).double()
    weights = [p.detach().clone() for p in learner.parameters()]
    alpha = torch.full((3,), 1 / 3, dtype=torch.float64)
    for _ in range(6):
        x, y = torch.randn(2, 5, dtype=torch.float64), torch.randint(4, (2,))
        leaves = [w.requires_grad_() for w in weights]
        blocks, heads = leaves[:6], leaves[6:]
        h, losses, said = x, [], torch.zeros(2, 4, dtype=torch.float64)
        for k in range(3):
            h = torch.relu(h @ blocks[2 * k].t() + blocks[2 * k + 1])
            f = h @ heads[2 * k].t() + heads[2 * k + 1]
            said = said + alpha[k] * f.softmax(1).detach()
            losses.append(-f.log_softmax(1)[torch.arange(2), y].mean())
        steps = [torch.zeros_like(w) for w in leaves]
        for k, loss in enumerate(losses):  # readout l of its own loss, block l of those at and above it
            own = [*blocks[: 2 * k + 2], *heads[2 * k : 2 * k + 2]]
            places = [*range(2 * k + 2), 6 + 2 * k, 7 + 2 * k]
            for place, grad in zip(places, torch.autograd.grad(loss, own, retain_graph=True), strict=True):
                steps[place] += alpha[k] * grad
        weights = [(w - 0.05 * s).detach() for w, s in zip(leaves, steps, strict=True)]
        assert torch.allclose(learner.step(x, y), said, rtol=1e-12)
        alpha = torch.stack([a * 0.9 ** loss.detach() for a, loss in zip(alpha, losses, strict=True)])
        alpha = (alpha / alpha.sum()).clamp_min(0.3 / 3)
        alpha = alpha / alpha.sum()
        assert torch.allclose(learner.alpha, alpha, rtol=1e-12)
    for ours, wanted in zip(learner.parameters(), weights, strict=True):
        assert torch.allclose(ours, wanted, rtol=1e-12)


def test_weights_keep_the_bound_of_hedge() -> None:
    g = torch.Generator().manual_seed(0)
    losses = torch.rand(1500, 10, generator=g, dtype=torch.float64) * torch.linspace(0.4, 1, 10)
    losses[:400] = losses[:400].flip(1)  # the best of all is the worst at first
    for beta in (0.5, 0.9, 0.99):
        alpha, paid = torch.full((10,), 0.1, dtype=torch.float64), 0.0
        for row in losses:
            paid += float(alpha @ row)
            alpha = hedge(alpha, row, beta=beta, smoothing=0.0)
        best = float(losses.sum(0).min())
        assert best <= paid <= (math.log(1 / beta) * best + math.log(10)) / (1 - beta)


def test_the_floor_holds_and_brings_an_expert_back() -> None:
    alpha = torch.full((4,), 0.25)
    for _ in range(2000):
        alpha = hedge(alpha, torch.tensor([0.0, 2.0, 2.0, 2.0]))
    assert float(alpha.min()) >= 0.2 / 4 / 1.2 - 1e-7
    assert float(alpha.sum()) == pytest.approx(1)
    steps = 0
    while int(alpha.argmax()) != 2:
        alpha, steps = hedge(alpha, torch.tensor([2.0, 2.0, 0.0, 2.0])), steps + 1
    assert steps < 300  # without a floor it would take as long as it was lost for


def test_readouts_that_are_all_far_off_are_still_weighed() -> None:
    found = hedge(torch.full((3,), 1 / 3), torch.tensor([1e5, 1e5 + 100, 2e5]), smoothing=0.0)
    assert torch.allclose(found, torch.tensor([1.0, 0.99**100, 0.0]) / (1 + 0.99**100), atol=1e-4)


def drifting(number: int) -> tuple[Tensor, Tensor]:
    """Four classes of a turning plane; what is class k becomes class 3 - k half of the way."""
    g = torch.Generator().manual_seed(3)
    x = torch.randn(number, 8, generator=g)
    y = 2 * (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    return x, torch.where(torch.arange(number) < number // 2, y, 3 - y)


def mistakes(learner: HedgeBackprop, x: Tensor, y: Tensor) -> int:
    return sum(int(learner.step(a, b).argmax(1) != b) for a, b in zip(x.split(1), y.split(1), strict=True))


def fixed(depth: int) -> HedgeBackprop:
    """Plain online backpropagation: one block, one readout."""
    whole = HedgeBackprop.dense(8, 20, depth=depth, classes=4)
    return HedgeBackprop([nn.Sequential(*whole.blocks)], [whole.readouts[-1]], rate=0.2)


def test_a_drifting_stream_against_fixed_depths() -> None:
    torch.manual_seed(0)
    x, y = drifting(1000)
    deep = mistakes(fixed(6), x, y)
    shallow = mistakes(fixed(1), x, y)
    learner = HedgeBackprop.dense(8, 20, depth=6, classes=4, rate=0.2)
    ours = mistakes(learner, x, y)
    assert ours < min(1.3 * shallow, 0.7 * deep)
    assert int(learner.alpha.argmax()) < 3


def test_one_layer_is_plain_backpropagation() -> None:
    torch.manual_seed(0)
    learner = fixed(2)
    plain = copy.deepcopy(nn.Sequential(learner.blocks[0], learner.readouts[0]))
    optimizer = torch.optim.SGD(plain.parameters(), 0.2)
    x, y = drifting(20)
    for a, b in zip(x.split(1), y.split(1), strict=True):
        optimizer.zero_grad()
        loss = F.cross_entropy(plain(a), b)
        loss.backward()
        assert torch.allclose(learner.step(a, b), said(plain, a), atol=1e-6)
        optimizer.step()


def said(net: nn.Module, x: Tensor) -> Tensor:
    made: Tensor = net(x).detach().softmax(1)
    return made


def test_spiking_blocks_learn_a_stream() -> None:
    torch.manual_seed(0)
    blocks = [neuro.Sequential(neuro.Linear(a, 12), neuro.LIF(12, tau=0.002, learn=())) for a in (4, 12)]
    readouts = [neuro.Sequential(neuro.Linear(12, 2), neuro.LI(2)) for _ in blocks]
    learner = HedgeBackprop(blocks, readouts, rate=0.5)
    x = 6 * torch.rand(320, 4)
    y = (x[:, 0] > x[:, 1]).long()
    right = [
        int(learner.step(a.expand(10, 4, -1), b).argmax(1).eq(b).sum())
        for a, b in zip(x.split(4), y.split(4), strict=True)
    ]
    assert sum(right[-40:]) > 110
    assert learner(x[:3].expand(10, 3, 4)).sum(1).tolist() == pytest.approx([1, 1, 1])


def test_a_checkpoint_holds_the_weights_of_the_readouts() -> None:
    first, second = (HedgeBackprop.dense(8, 5, depth=3, classes=4) for _ in range(2))
    x, y = drifting(30)
    mistakes(first, x, y)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.alpha, first.alpha)
    assert torch.equal(second(x), first(x))


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match="one readout for each block, got 1 for 2"):
        HedgeBackprop([nn.Identity(), nn.Identity()], [nn.Identity()])
    with pytest.raises(InputError, match="beta above 0"):
        HedgeBackprop.dense(2, 2, depth=1, classes=2, beta=0.0)
    with pytest.raises(InputError, match="sizes must be at least 1"):
        HedgeBackprop.dense(2, 2, depth=0, classes=2)
    learner = HedgeBackprop.dense(2, 2, depth=1, classes=2)
    with pytest.raises(InputError, match=r"y must be \[1\] int64 from 0 to 1"):
        learner.step(torch.ones(1, 2), torch.tensor([2]))
    with pytest.raises(InputError, match="same"):
        hedge(torch.ones(2), torch.ones(3))
    with pytest.raises(InputError, match="smoothing from 0 to 1"):
        hedge(torch.ones(2), torch.ones(2), smoothing=2.0)
    with pytest.raises(InputError, match="losses must be finite"):
        hedge(torch.ones(2), torch.tensor([0.0, float("nan")]))
