"""Rules on spike times: the kernel's change as a mean over the batch; reward; traces."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.plasticity.stdp import stdp
from neuro.plasticity import STDP, Activity, ModulatedSTDP, TimingLaw, TraceProduct, reward_error

LAW = TimingLaw(0.03, 0.02, 17e-3, 34e-3, w_min=0.0, w_max=1.0)


def activity(batch: int) -> Activity:
    g = torch.Generator().manual_seed(0)
    x, z = ((torch.rand(30, batch, n, generator=g) < 0.3).double() for n in (8, 5))
    return Activity(x, z, z, torch.ones(30, batch, dtype=torch.float64))


def test_the_batch_is_averaged() -> None:
    seen = activity(1)
    twice = Activity(torch.cat([seen.pre] * 2, 1), torch.cat([seen.drive] * 2, 1), torch.cat([seen.post] * 2, 1))
    weight = torch.full((5, 8), 0.5, dtype=torch.float64)
    change, _ = STDP(LAW).change(weight, seen)
    assert torch.allclose(STDP(LAW).change(weight, twice)[0], change)
    assert torch.allclose(weight + change, stdp(weight, seen.pre, seen.post, LAW)[0])


def test_weights_beyond_a_bound_come_back_to_it() -> None:
    seen = activity(2)
    silent = Activity(0 * seen.pre, seen.drive, 0 * seen.post, seen.modulator)
    weight = torch.tensor([[1.3, -0.2, 0.4]], dtype=torch.float64).expand(5, 3)
    silent = replace(silent, pre=silent.pre[..., :3])
    for rule in (STDP(LAW), ModulatedSTDP(LAW)):
        assert torch.allclose(rule.change(weight, silent)[0][0], torch.tensor([-0.3, 0.2, 0.0], dtype=torch.float64))


def test_traces_meet() -> None:
    seen = activity(1)
    rule = TraceProduct(tau_pre=5e-3, tau_post=0.0)
    keep, r, total = math.exp(-1 / 5), torch.zeros(8, dtype=torch.float64), torch.zeros(5, 8, dtype=torch.float64)
    for t in range(30):
        r = keep * r + seen.pre[t, 0]
        total += torch.outer(seen.post[t, 0], r)
    change, state = rule.change(torch.zeros(5, 8), seen)
    assert torch.allclose(change, total / 30)
    assert torch.allclose(state[0], r)
    assert state[1] is None


@pytest.mark.parametrize("nearest", [False, True])
def test_rewarded_pairs_equal_the_double_sum(nearest: bool) -> None:
    """Each pair of spikes waits from the later of them to the reward, and counts for what is left by then."""
    g = torch.Generator().manual_seed(6)
    x, z = ((torch.rand(40, 2, 3, generator=g) < 0.2).double() for _ in range(2))
    m = torch.zeros(40, 2, dtype=torch.float64)
    m[23], m[39] = torch.tensor([0.7, -1.1]), torch.tensor([-0.4, 0.9])
    law = TimingLaw(0.03, 0.02, 17e-3, 34e-3, nearest_pre=nearest, nearest_post=nearest)
    actual, _ = ModulatedSTDP(law, tau=0.06).change(torch.zeros(3, 3, dtype=torch.float64), Activity(x, z, z, m))
    wanted = torch.zeros(3, 3, dtype=torch.float64)
    for o, i, b, end in itertools.product(range(3), range(3), range(2), (23, 39)):
        ins, outs = (a[: end + 1, b, n].nonzero().flatten().tolist() for a, n in ((x, i), (z, o)))
        for later, sign, size, tau, earlier in (
            *((t, 1, 0.03, 17e-3, [s for s in ins if s < t]) for t in outs),
            *((t, -1, 0.02, 34e-3, [s for s in outs if s < t]) for t in ins),
        ):
            pairs = earlier[-1:] if nearest else earlier
            made = sum(sign * size * math.exp(-1e-3 * (later - s) / tau) for s in pairs) / 2  # mean over the batch
            wanted[o, i] += float(m[end, b]) * made * math.exp(-1e-3 * (end - later) / 0.06)
    assert wanted.abs().max() > 0.01
    assert torch.allclose(actual, wanted, rtol=1e-9, atol=1e-12)


def test_reward_teaches_a_choice() -> None:
    """Two groups of inputs, two neurons that fire by chance, reward 50 ms late when the right one fired more."""
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(1)
    weight = torch.full((2, 50), 0.5, dtype=torch.float64)
    rule = ModulatedSTDP(TimingLaw(0.02, 0.0, w_min=0.0, w_max=1.0), tau=0.2)
    expected, right = 0.5, []
    for _ in range(300):
        cue = int(torch.randint(0, 2, (1,), generator=g))
        x = torch.zeros(150, 1, 50, dtype=torch.float64)
        group = slice(25 * cue, 25 * cue + 25)
        x[:100, :, group] = (torch.rand(100, 1, 25, generator=g) < 0.04).double()
        drive = 0.1 * x @ weight.t()
        z = (torch.rand(150, 1, 2, generator=g) < drive).double()
        counts = z.sum((0, 1))
        choice = int(counts.argmax()) if counts[0] != counts[1] else int(torch.randint(0, 2, (1,), generator=g))
        # Only the neuron that won keeps its spikes: the other is inhibited.
        z[..., 1 - choice] = 0
        error, expected = reward_error(torch.tensor([float(choice == cue)], dtype=torch.float64), expected)
        m = torch.zeros(150, 1, dtype=torch.float64)
        m[-1] = error
        weight = weight + rule.change(weight, Activity(x, drive, z, m))[0]
        right.append(choice == cue)
    assert sum(right[-100:]) >= 90
    assert sum(right[:50]) <= 45


def test_bad_values_are_named() -> None:
    with pytest.raises(InputError, match="tau_pre and tau_post must be 0 or positive"):
        TraceProduct(tau_pre=-1.0)
    with pytest.raises(InputError, match="rate must be above 0"):
        reward_error(torch.zeros(1), rate=0.0)
