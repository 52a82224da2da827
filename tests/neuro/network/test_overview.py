"""The summary against counts made by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import neuro
from neuro.errors import InputError


def test_counts_of_a_convolutional_block() -> None:
    net = neuro.Sequential(
        neuro.Conv2d(2, 4, 3, padding=1),
        neuro.BatchNorm(4),
        neuro.Residual(neuro.Sequential(neuro.LIF((4, 6, 6)), neuro.Conv2d(4, 4, 1, bias=False))),
        neuro.Flatten(),
        neuro.Linear(144, 10),
        neuro.Recurrent(neuro.LIF(10, learn=("tau",))),
    )
    before = {k: v.clone() for k, v in net.state_dict().items()}
    rows = {r.name: r for r in neuro.summary(net, (2, 6, 6)).rows}
    assert list(rows) == ["0", "1", "2.body.0", "2.body.1", "3", "4", "5"]
    assert [rows[n].output for n in ("0", "3", "5")] == [(4, 6, 6), (144,), (10,)]
    assert [rows[n].parameters for n in ("0", "1", "2.body.1", "4", "5")] == [4 * 18 + 4, 8, 16, 1450, 110]
    assert [rows[n].state for n in ("0", "2.body.0", "5")] == [0, 144, 20]
    inside = (3 * 6 - 2) ** 2  # kernel positions along a padded axis
    assert [rows[n].operations for n in ("0", "2.body.1", "4", "5")] == [2 * 4 * inside, 4 * 4 * 36, 1440, 100]
    assert neuro.summary(net, (2, 6, 6)).parameters == sum(p.numel() for p in net.parameters())
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_a_cycle_counts_each_node_once() -> None:
    edges = [("input", "c"), ("c", "w", 1e-3), ("w", "c"), ("c", "output")]
    made = neuro.summary(neuro.Graph({"c": neuro.LIF(3), "w": neuro.Linear(3, 3)}, edges), (3,))
    assert sorted(r.name for r in made.rows) == ["c", "w"]
    assert str(made).splitlines()[-1].split() == ["all", "15", "3", "9"]


def test_a_shape_that_is_open_is_asked_for() -> None:
    with pytest.raises(InputError, match=r"give summary\(net, shape\)"):
        neuro.summary(neuro.Sequential(neuro.Conv2d(1, 1, 3), neuro.Flatten()))
    assert neuro.summary(neuro.Sequential(neuro.Flatten(), neuro.Linear(4, 2))).rows[0].output == (4,)


@pytest.mark.parametrize("table", [neuro.Embedding, neuro.SpikingEmbedding])
def test_a_network_that_reads_tokens(table: Any) -> None:
    rows = neuro.summary(neuro.Sequential(table(9, 4), neuro.Linear(4, 3), neuro.LI(3))).rows
    assert [(r.kind, r.output, r.parameters) for r in rows[:2]] == [(table.__name__, (4,), 36), ("Linear", (3,), 15)]
