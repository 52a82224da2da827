"""One step of event-based gated units, by hand, and any cut of the batch."""

from __future__ import annotations

import math

import pytest
import torch

from neuro.kernels.scans.egru_numba import forward_steps


def test_one_unit_by_hand_and_other_steps_left_alone() -> None:
    drive = torch.tensor([[[9.0, 9.0, 9.0]], [[0.5, -1.0, 2.0]]], dtype=torch.float64)
    back = torch.tensor([[0.25, 0.5, -1.0]], dtype=torch.float64)
    state, threshold = torch.tensor([[0.4]], dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64)
    seen, gates, out = (torch.zeros(2, 1, n, dtype=torch.float64) for n in (1, 4, 1))
    forward_steps(drive, threshold, state, seen, gates, out)(1, 0, back)
    r, z = (1 / (1 + math.exp(-a)) for a in (0.75, -0.5))
    n = math.tanh(2.0 - r)
    c = z * 0.4 + (1 - z) * n
    assert out.flatten().tolist() == pytest.approx([0.0, c], rel=1e-13)
    assert state.item() == pytest.approx(c - 0.3, rel=1e-13)
    assert gates[0].flatten().tolist() == pytest.approx([r, z, n, -1.0], rel=1e-13)
    assert not bool(gates[1].any())


def test_many_tasks_give_the_bits_of_one_row_after_the_other() -> None:
    g = torch.Generator().manual_seed(0)
    drive, back = torch.randn(1, 30, 3 * 600, generator=g), torch.randn(30, 3 * 600, generator=g)
    threshold, first = torch.full((600,), 0.3), torch.randn(30, 600, generator=g)

    def made(rows: slice) -> torch.Tensor:
        state = first[rows].clone()
        seen, gates, out = (torch.empty(1, len(state), n) for n in (600, 2400, 600))
        forward_steps(drive[:, rows].contiguous(), threshold, state, seen, gates, out)(0, 0, back[rows])
        return out[0]

    assert torch.equal(made(slice(0, 30)), torch.cat([made(slice(b, b + 1)) for b in range(30)]))
