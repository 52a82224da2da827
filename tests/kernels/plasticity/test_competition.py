"""Fused competitive learning is its reference to the bit, and does what its law says."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.plasticity.competition import compete
from neuro.kernels.plasticity.competition_law import CompetitionLaw

LAW = CompetitionLaw(
    duration=0.09, rate=110.0, rate_step=40.0, least=3, attempts=3, tau=0.08, tau_excitatory=2e-3, total=9.0,
    refractory=3e-3, theta_step=0.4e-3, a_plus=0.07, a_minus=0.03, w_max=0.6, tau_theta=20.0,
)  # fmt: skip


def given(inputs: int, neurons: int, pictures: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(inputs + neurons)
    weight = torch.rand(inputs, neurons, generator=g, dtype=dtype)
    shown = torch.rand(pictures, inputs, generator=g, dtype=dtype)
    shown *= torch.rand(pictures, inputs, generator=g) < 0.6
    return weight * (LAW.total / weight.sum(0).clamp_min(1e-9)), torch.zeros(neurons, dtype=dtype), shown


def same(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("learn", [True, False])
def test_fused_is_the_reference_to_the_bit(dtype: torch.dtype, learn: bool) -> None:
    weight, theta, pictures = given(63, 11, 6, dtype)
    pictures[2] = 0  # black: never a spike
    pictures[4] = 1
    made = compete(weight, theta, pictures, LAW, seed=-5, first=7, learn=learn)
    wanted = compete(weight, theta, pictures, LAW, seed=-5, first=7, learn=learn, backend="reference")
    assert same(made, wanted)
    assert made.counts[2].sum() == 0
    assert made.attempts[2] == 3
    assert made.counts.sum() > 20
    assert torch.equal(made.weight, weight) is not learn
    assert torch.equal(made.theta, theta) is not learn


@pytest.mark.parametrize(("inputs", "neurons", "pictures"), [(1, 1, 2), (100, 1, 2), (5, 63, 1), (30, 4, 0), (0, 3, 2)])
def test_any_size(inputs: int, neurons: int, pictures: int) -> None:
    weight, theta, shown = given(inputs, neurons, pictures)
    made = compete(weight, theta, shown, LAW, seed=2)
    assert same(made, compete(weight, theta, shown, LAW, seed=2, backend="reference"))
    assert made.counts.shape == (pictures, neurons)


def test_pieces_threads_and_strides_change_no_bit() -> None:
    weight, theta, pictures = given(40, 9, 40)
    whole = compete(weight, theta, pictures, LAW, seed=3)
    first = compete(weight, theta, pictures[:13], LAW, seed=3)
    second = compete(first.weight, first.theta, pictures[13:], LAW, seed=3, first=13)
    assert same(whole, (*second[:2], torch.cat([first.counts, second.counts]), torch.cat([first[3], second[3]])))
    strided = compete(weight.t().contiguous().t(), theta, pictures.t().contiguous().t(), LAW, seed=3)
    assert same(whole, strided)
    held, threads = [], torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            held.append(compete(weight, theta, pictures, LAW, seed=3, learn=False).counts)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*held)


def test_nothing_given_is_written_to() -> None:
    weight, theta, pictures = given(40, 9, 3)
    before = weight.clone(), theta.clone(), pictures.clone()
    compete(weight, theta, pictures, LAW)
    assert same(before, (weight, theta, pictures))


def test_weights_of_who_fired_have_their_sum_and_bounds() -> None:
    weight, theta, pictures = given(60, 12, 10)
    made = compete(weight, theta, pictures, LAW, seed=1)
    fired = made.counts.sum(0) > 0
    assert fired.any()
    assert torch.allclose(made.weight.sum(0), torch.full((12,), LAW.total), rtol=1e-5)
    assert (made.weight >= 0).all()


def test_who_did_not_fire_learned_nothing_and_taught_nothing() -> None:
    """Inputs and the neuron's own spikes are the factors: what a silent neuron's weights are changes no bit elsewhere."""
    weight, theta, pictures = given(60, 12, 5)
    theta[::3] = 1.0  # a volt: they never fire
    made = compete(weight, theta, pictures, LAW, seed=1)
    assert (made.counts[:, ::3] == 0).all()
    assert torch.equal(made.weight[:, ::3], weight[:, ::3])
    other = weight.clone()
    other[:, ::3] *= 0.5
    again = compete(other, theta, pictures, LAW, seed=1)
    heard = torch.arange(12) % 3 != 0
    assert torch.equal(again.weight[:, heard], made.weight[:, heard])
    assert torch.equal(again.counts, made.counts)
    assert not torch.equal(made.weight[:, heard], weight[:, heard])


def test_thresholds_rise_by_spikes_and_decay() -> None:
    weight, theta, pictures = given(60, 5, 1)
    law = replace(LAW, a_plus=0.0, a_minus=0.0, least=0)
    made = compete(weight, theta, pictures, law, seed=4)
    keep = math.exp(-(law.duration + law.pause) / law.tau_theta)
    assert torch.allclose(made.theta, law.theta_step * made.counts[0] * keep, rtol=1e-5)
    assert made.counts.sum() > 0


def test_one_silences_the_others() -> None:
    weight, theta, pictures = given(60, 8, 12)
    free = compete(weight, theta, pictures, replace(LAW, inhibition=0.0), learn=False).counts
    held = compete(weight, theta, pictures, replace(LAW, inhibition=200.0), learn=False).counts
    assert held.sum() < 0.5 * free.sum()


def test_refractory_neurons_wait() -> None:
    weight, theta, pictures = torch.full((50, 1), 20.0), torch.zeros(1), torch.ones(1, 50)
    law = replace(LAW, duration=0.1, w_max=50.0, rate=900.0)
    counts = [
        int(compete(weight, theta, pictures, replace(law, refractory=r), learn=False).counts) for r in (0.0, 4e-3)
    ]
    assert counts[0] == 100  # driven beyond the threshold in every step
    assert counts[1] == 20  # a spike, then 4 steps of rest


def test_the_input_is_poisson() -> None:
    """Neurons that pass each input spike on count them: mean and variance are those of the rate."""
    law = CompetitionLaw(
        duration=0.5, rate=40.0, least=0, tau=1e-3, tau_excitatory=1e-4, refractory=0.0, inhibition=0.0, total=30.0
    )
    weight, pictures = 30 * torch.eye(2), torch.tensor([[1.0, 0.5]]).expand(2000, 2)
    counts = compete(weight, torch.zeros(2), pictures, law, seed=9, learn=False).counts.double()
    assert counts.mean(0).tolist() == pytest.approx([20.0, 10.0], rel=0.03)
    assert counts.var(0).tolist() == pytest.approx([20 * 0.96, 10 * 0.98], rel=0.1)  # binomial: p = 0.04, 0.02
    assert torch.corrcoef(counts.t())[0, 1].abs() < 0.07


def test_bad_input_is_named() -> None:
    weight, theta, pictures = given(10, 3, 2)
    for wrong, text in (
        ((weight, theta[:2], pictures), "must be \\[I, N\\]"),
        ((weight, theta, pictures[:, :4]), "must be \\[I, N\\]"),
        ((weight.double(), theta, pictures), "all float32 or all float64"),
        ((weight.half(), theta.half(), pictures.half()), "all float32 or all float64"),
        ((weight, theta, pictures * 3), "from 0 to 1"),
        ((weight, theta, pictures * math.nan), "from 0 to 1"),
        ((-weight, theta, pictures), "weight must be 0 or more"),
        ((weight, theta * math.nan, pictures), "theta finite"),
    ):
        with pytest.raises(InputError, match=text):
            compete(*wrong, LAW)
    with pytest.raises(InputError, match="backend"):
        compete(weight, theta, pictures, LAW, backend="cuda")
    with pytest.raises(InputError, match="seed must be a whole number that 64 bits hold"):
        compete(weight, theta, pictures, LAW, seed=2**63)
