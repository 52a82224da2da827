"""Connections are what their dense matrix says, and what could lead a loop astray is refused."""

from __future__ import annotations

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.propagation.csr import CSR

INT = torch.int32


def test_dense_there_and_back() -> None:
    weight = torch.randn(7, 5) * (torch.rand(7, 5, generator=torch.Generator().manual_seed(0)) < 0.4)
    connections, values = CSR.of(weight)
    assert (connections.pre, connections.post, connections.synapses) == (7, 5, int(weight.count_nonzero()))
    assert torch.equal(connections.dense(values), weight)
    assert connections.rows().tolist() == weight.nonzero()[:, 0].tolist()
    empty, none = CSR.of(torch.zeros(3, 4))
    assert torch.equal(empty.dense(none), torch.zeros(3, 4))
    assert empty.max_delay == 0


def test_fixed_number_of_targets() -> None:
    targets = torch.tensor([[0, 2], [1, 1], [2, 0]], dtype=INT)
    connections = CSR.fixed_number(targets, 3)
    assert connections.indptr.tolist() == [0, 2, 4, 6]
    assert connections.dense(torch.tensor([1.0, 2, 3, 4, 5, 6])).tolist() == [[1, 0, 2], [0, 7, 0], [6, 0, 5]]
    delayed = CSR.fixed_number(targets, 3, delay=torch.tensor([[0, 1], [2, 0], [1, 1]], dtype=INT), max_delay=4)
    matrices = delayed.dense_delays(torch.ones(()))
    assert matrices.shape == (5, 3, 3)
    assert torch.equal(matrices.sum(0), connections.dense(torch.ones(())))
    assert matrices[2].nonzero().tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("indptr", "indices", "delay", "message"),
    [
        ([0, 2, 1, 3], [0, 1, 2], 0, "indptr must not fall, got 2 then 1 at 1"),
        ([0, 1, 2, 4], [0, 1, 2], 0, r"from 0 to 3, the number of indices, got 0..4"),
        ([1, 1, 2, 3], [0, 1, 2], 0, r"got 1..3"),
        ([0, 1, 2, 3], [0, 1, 4], 0, r"indices must be in 0..3, got 0..4"),
        ([0, 1, 2, 3], [-1, 1, 3], 0, r"indices must be in 0..3, got -1..3"),
        ([0, 1, 2, 3], [0, 1, 2], -2, r"delay must be in 0..5 steps, got -2..-2"),
        ([0, 1, 2, 3], [0, 1, 2], 6, r"delay must be in 0..5 steps, got 6..6"),
        ([0, 1, 2, 3], [0, 1, 2], [0, 1, 9], r"delay must be in 0..5 steps, got 0..9"),
        ([0, 1, 2, 3], [0, 1, 2], [-1, 1, 5], r"got -1..5"),
        ([0, 1, 2, 3], [0, 1, 2], [1, 1], "like indices"),
        ([], [], 0, "indptr must be"),
    ],
)
def test_bad_connections(indptr: list[int], indices: list[int], delay: int | list[int], message: str) -> None:
    steps = torch.tensor(delay, dtype=INT) if isinstance(delay, list) else delay
    with pytest.raises(InputError, match=message):
        CSR(torch.tensor(indptr, dtype=torch.int64), torch.tensor(indices, dtype=INT), 4, steps, 5)


def test_bad_types() -> None:
    with pytest.raises(InputError, match=r"indices must be .* int32"):
        CSR(torch.tensor([0, 1]), torch.tensor([0]), 2)
    with pytest.raises(InputError, match=r"indptr must be .* int64"):
        CSR(torch.tensor([0, 1], dtype=INT), torch.tensor([0], dtype=INT), 2)
    with pytest.raises(InputError, match="delay must be an integer or"):
        CSR(torch.tensor([0, 1]), torch.tensor([0], dtype=INT), 2, torch.tensor([0]))
    with pytest.raises(InputError, match="delay must be in"):
        CSR(torch.tensor([0, 1]), torch.tensor([0], dtype=INT), 2, -3)
    with pytest.raises(InputError, match=r"targets must be \[I, K\]"):
        CSR.fixed_number(torch.zeros(3, dtype=INT), 2)
    with pytest.raises(InputError, match="like targets"):
        CSR.fixed_number(torch.zeros(3, 2, dtype=INT), 2, delay=torch.zeros(6, dtype=INT))
    with pytest.raises(InputError, match=r"weight must be \[I, O\]"):
        CSR.of(torch.zeros(3))
