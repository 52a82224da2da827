from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from neuro.errors import InputError
from neuro.training.losses import (
    LOSSES,
    TET,
    Contrastive,
    Loss,
    VanRossum,
    choose_loss,
    first_spike,
    max_membrane,
    mean_membrane,
    spike_count,
)

Y = torch.tensor([2, 0])


def output() -> torch.Tensor:
    """``[T=3, B=2, C=3]``: counts (1, 0, 3) and (2, 1, 0)."""
    out = torch.zeros(3, 2, 3, dtype=torch.float64)
    out[0, 0, 0] = out[:, 0, 2] = 1
    out[1:, 1, 0] = out[2, 1, 1] = 1
    return out


def entropy(logits: list[float], target: int) -> float:
    return math.log(sum(math.exp(v) for v in logits)) - logits[target]


def test_spike_count() -> None:
    expected = (entropy([1, 0, 3], 2) + entropy([2, 1, 0], 0)) / 2
    assert float(spike_count(output(), Y)) == pytest.approx(expected, rel=1e-12)


def test_mean_membrane() -> None:
    expected = (entropy([1 / 3, 0, 1], 2) + entropy([2 / 3, 1 / 3, 0], 0)) / 2
    assert float(mean_membrane(output(), Y)) == pytest.approx(expected, rel=1e-12)


def test_max_membrane() -> None:
    out = output() * torch.tensor([0.5, 2.0, 4.0], dtype=torch.float64)[:, None, None]
    expected = (entropy([0.5, 0, 4], 2) + entropy([4, 4, 0], 0)) / 2
    assert float(max_membrane(out, Y)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=lambda loss: loss.name)
def test_each_loss_has_the_gradient_of_finite_differences(loss: Loss) -> None:
    out = torch.rand(5, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=False)
    y = torch.tensor([3, 0, 1])
    assert torch.autograd.gradcheck(lambda o: loss(o, y), out.requires_grad_())


@pytest.mark.parametrize("loss", [x for x in LOSSES.values() if type(x) is Loss], ids=lambda loss: loss.name)
def test_the_logits_are_what_the_loss_reads(loss: Loss) -> None:
    out = output()
    assert float(torch.nn.functional.cross_entropy(loss.logits(out), Y)) == float(loss(out, Y))


def test_the_largest_logit_of_counts_is_the_most_active_class() -> None:
    assert spike_count.logits(output()).argmax(1).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("out", "y", "said"),
    [
        (torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), r"\[2, 3\]"),
        (torch.zeros(0, 2, 3), torch.zeros(2, dtype=torch.int64), "non-empty"),
        (torch.zeros(4, 2, 3), torch.zeros(3, dtype=torch.int64), r"\[3\]; it must be torch.int64 of shape \[2\]"),
        (torch.zeros(4, 2, 3), torch.zeros(2), "torch.float32"),
        (torch.zeros(4, 2, 3), torch.zeros(2, 1, dtype=torch.int64), r"\[2, 1\]"),
        (torch.zeros(4, 2, 3), torch.tensor([0, 3]), "class 3, but the output has classes 0 to 2"),
        (torch.zeros(4, 2, 3), torch.tensor([-1, 3]), "class -1"),
    ],
)
def test_misfits_are_named(out: torch.Tensor, y: torch.Tensor, said: str) -> None:
    with pytest.raises(InputError, match=said):
        spike_count(out, y)


def test_logits_need_three_dimensions() -> None:
    with pytest.raises(InputError, match=r"\[2, 3\]"):
        spike_count.logits(torch.zeros(2, 3))


def test_an_unknown_loss_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'spike_count'"):
        choose_loss("spikecount")
    assert choose_loss("mean_membrane") is mean_membrane
    assert choose_loss(max_membrane) is max_membrane


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_within_lengths_it_is_the_mean_of_samples_alone(loss: Loss) -> None:
    values = torch.rand(5, 3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    lengths, y = torch.tensor([5, 2, 3]), torch.tensor([3, 0, 1])
    judge = loss.within(lengths)
    alone = [float(loss(values[:n, k : k + 1], y[k : k + 1])) for k, n in enumerate(lengths.tolist())]
    assert float(judge(values, y)) == pytest.approx(sum(alone) / 3, rel=1e-12)
    assert judge.name == loss.name
    assert judge.logits(values).shape == (3, 4)


def test_tet_is_the_mean_of_the_steps() -> None:
    values = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    crosses = torch.stack([torch.nn.functional.cross_entropy(step, Y) for step in values]).mean()
    squares = (values - 0.7).square().mean()
    assert float(TET(share=0.0)(values, Y)) == pytest.approx(float(crosses), rel=1e-12)
    assert float(TET(share=0.3, level=0.7)(values, Y)) == pytest.approx(float(0.7 * crosses + 0.3 * squares), rel=1e-12)
    assert torch.equal(TET().logits(values), mean_membrane.logits(values))
    with pytest.raises(InputError, match=r"share=1.5 must be in 0..1"):
        TET(share=1.5)


@pytest.mark.parametrize("loss", [mean_membrane, TET(share=0.0)], ids=lambda loss: loss.name)
def test_a_temperature_divides_the_logits(loss: Loss) -> None:
    values = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    warm = replace(loss, temperature=4.0)
    assert float(warm(values, Y)) == pytest.approx(float(loss(values / 4, Y)), rel=1e-12)
    assert torch.equal(warm.logits(values), loss.logits(values))
    with pytest.raises(InputError, match=r"temperature=0.0 of loss"):
        replace(loss, temperature=0.0)


def test_the_first_spike_wins_and_its_gradient_is_the_step_that_one_more_spike_would_save() -> None:
    out = torch.zeros(6, 1, 3, dtype=torch.float64)
    out[4, 0, 0] = out[2, 0, 1] = out[5, 0, 1] = 1
    assert first_spike.logits(out).tolist() == [[-4, -2, -6]]
    slope = torch.autograd.grad(first_spike.logits(out.requires_grad_())[0, 1], out)[0][:, 0, 1]
    for t in range(6):  # the readout is linear in each spike, so toggling it is the gradient
        changed = out.detach().clone()
        changed[t, 0, 1] = 1 - changed[t, 0, 1]
        gained = float(first_spike.logits(changed)[0, 1]) + 2
        assert gained == pytest.approx(float(slope[t]) * (1 - 2 * float(out.detach()[t, 0, 1])))
    with pytest.raises(InputError, match=r"holds 1\.5; end the network in neurons that spike"):
        first_spike(torch.full((3, 2, 3), 1.5), Y)


def test_contrastive_is_its_double_sum() -> None:
    values = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    y = torch.tensor([0, 1, 0, 2, 0])
    unit = [row / row.norm() for row in values.mean(0)]
    each = []
    for i in (0, 2, 4):  # classes 1 and 2 have one sample, and no other to be drawn to
        below = sum(math.exp(float(unit[i] @ unit[a]) / 0.2) for a in range(5) if a != i)
        near = [math.log(math.exp(float(unit[i] @ unit[p]) / 0.2) / below) for p in (0, 2, 4) if p != i]
        each.append(-sum(near) / len(near))
    expected = float(mean_membrane(values, y)) + 0.7 * sum(each) / 3
    assert float(Contrastive(weight=0.7, spread=0.2)(values, y)) == pytest.approx(expected, rel=1e-12)
    alone = torch.tensor([0, 1, 2, 3, 4])
    wide = torch.randn(4, 5, 5, generator=torch.Generator().manual_seed(3))
    assert float(Contrastive()(wide, alone)) == pytest.approx(float(mean_membrane(wide, alone)), rel=1e-6)
    with pytest.raises(InputError, match="spread=0"):
        Contrastive(spread=0)


def test_van_rossum_counts_half_for_a_spike_too_many_and_nothing_for_the_pattern_itself() -> None:
    wanted = (torch.rand(3, 400, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64) < 0.1).double()
    loss = VanRossum(decay=20.0, targets=wanted)
    exact = wanted[[2, 0]].transpose(0, 1)
    assert float(loss(exact, Y)) == 0.0
    assert loss.logits(exact).argmax(1).tolist() == [2, 0]
    more = exact.clone()
    more[5, 0, 1] += 1
    geometric = sum(math.exp(-2 * k / 20) for k in range(395)) / 20
    assert float(loss(more, Y)) == pytest.approx(geometric / 2, rel=1e-12)
    assert geometric == pytest.approx(0.5, abs=0.03)
    late = torch.zeros(400, 1, 2, dtype=torch.float64)
    late[7, 0, 0] = 1
    near, far = (VanRossum(decay=20.0, targets=late.roll(n, 0).transpose(0, 1)) for n in (2, 30))
    assert float(near(late, torch.tensor([0]))) < float(far(late, torch.tensor([0]))) < 1
    with pytest.raises(InputError, match=r"give \[classes, 9, 2\]"):
        loss(torch.zeros(9, 2, 2), Y)
