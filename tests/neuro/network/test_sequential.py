"""Layers one after the other are functions applied one after the other."""

from __future__ import annotations

import torch

import neuro


def test_names_come_from_a_mapping_or_from_the_order() -> None:
    torch.manual_seed(0)
    dense, cell = neuro.Linear(3, 2), neuro.LI(2)
    numbered, named = neuro.Sequential(dense, cell), neuro.Sequential({"in": dense, "out": cell})
    assert list(numbered.layers) == ["0", "1"]
    assert list(named.layers) == ["in", "out"]
    x = torch.rand(7, 2, 3)
    y, state = cell(dense(x))
    for net in (numbered, named):
        made, (nothing, after) = net(x)
        assert nothing is None
        assert torch.equal(made, y)
        assert torch.equal(after[0], state[0])
