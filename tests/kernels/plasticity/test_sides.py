"""Traces and amplitudes of one side, step by step; the cut of a job into chunks and blocks."""

from __future__ import annotations

import pytest
import torch

from neuro.kernels.plasticity.law import TimingLaw
from neuro.kernels.plasticity.sides import chunk_steps, listed, make_side, numbers, row_blocks
from neuro.kernels.propagation.spikes import EventList


@pytest.mark.parametrize("nearest", [False, True])
def test_trace_is_read_before_its_own_spike(nearest: bool) -> None:
    law = TimingLaw(a2_plus=2.0, a3_plus=3.0, tau_minus=4e-3, tau_y=9e-3)
    z = torch.tensor([1.0, 0, 1, 1, 0], dtype=torch.float64).view(5, 1, 1)
    side = make_side(listed(z, "z"), z.new_tensor([[[0.5]], [[0.25]]]), numbers(law), nearest, post=True)
    trace, amplitude = side.carry(side.buffers(5), 0, 5)
    fast, slow = law.post_decay()
    o1, o2 = 0.5, 0.25
    for t in range(5):
        o1, o2 = o1 * fast, o2 * slow
        assert trace[t].item() == pytest.approx(o1)
        assert amplitude[t].item() == pytest.approx((2.0 + 3.0 * o2) * float(z[t]))
        if z[t]:
            o1, o2 = (1.0, 1.0) if nearest else (o1 + 1, o2 + 1)
    assert side.state.flatten().tolist() == pytest.approx([o1, o2])


def test_a_list_is_taken_as_it_is() -> None:
    x = (torch.rand(4, 2, 9) < 0.3).float()
    events = EventList.of(x)
    dense, start, index = listed(events, "x")
    assert dense is None
    assert torch.equal(start, events.start)
    assert torch.equal(index, listed(x, "x")[2])


def test_traces_that_have_died_away_are_zero() -> None:
    law = TimingLaw(tau_plus=1e-3)
    x = torch.zeros(100, 1, 2)
    x[0] = 1
    side = make_side(listed(x, "x"), x.new_zeros(1, 1, 2), numbers(law), False, post=False)
    side.carry(side.buffers(100), 0, 100)
    assert side.state.abs().sum() == 0


def test_cuts_cover_everything_once() -> None:
    for time, batch, neurons in ((0, 1, 5), (1000, 64, 2000), (7, 0, 0), (500, 1, 300)):
        chunks = chunk_steps(time, batch, neurons)
        assert [t for a, b in chunks for t in range(a, b)] == list(range(time))
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            assert [r for a, b in row_blocks(65) for r in range(a, b)] == list(range(65))
    finally:
        torch.set_num_threads(before)
