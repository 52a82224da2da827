"""Presynaptic traces against the graph whose gradient they claim."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

import neuro
from neuro.training.losses import Loss, mean_membrane, spike_count
from neuro.training.rules import BPTT, OTTT, SLTT


@pytest.mark.parametrize("chunk", [1, 7, 30, 100])
@pytest.mark.parametrize("loss", [spike_count, mean_membrane], ids=["count", "mean"])
def test_ottt_is_bptt_for_one_spiking_layer(proofs: ModuleType, chunk: int, loss: Loss) -> None:
    net = proofs.network(neuro.Linear(6, 3), neuro.LIF(3, reset="subtract", tau=4e-3, learn=()))
    proofs.assert_same(proofs.by(OTTT(chunk), net, loss), proofs.by(BPTT(), net, loss))


def test_ottt_of_a_convolution_is_bptt_too(proofs: ModuleType) -> None:
    net = proofs.network(neuro.Conv1d(2, 3, 2), neuro.Flatten(), neuro.LIF(6, reset="subtract", tau=4e-3, learn=()))
    x, y = proofs.batch()
    x = x.view(30, 5, 2, 3)
    ours = proofs.gradients(net, lambda: OTTT(9).backward(net, x, y, spike_count))
    proofs.assert_same(ours, proofs.gradients(net, lambda: BPTT().backward(net, x, y, spike_count)))


def test_ottt_of_two_layers_is_sltt_with_traces(proofs: ModuleType) -> None:
    """Where membranes forget at once the traces are the spikes themselves, and the rule is SLTT."""
    step = torch.tensor(1e-3, dtype=torch.float64)
    cells = [neuro.LIF(n, tau=step, learn=()) for n in (5, 3)]
    net = proofs.network(neuro.Linear(6, 5), cells[0], neuro.Linear(5, 3), cells[1])
    proofs.assert_same(proofs.by(OTTT(8), net, spike_count), proofs.by(SLTT(), net, spike_count))
    keeps = proofs.network(neuro.Linear(6, 5), neuro.LIF(5), neuro.Linear(5, 3), neuro.LI(3))
    ours, theirs = proofs.by(OTTT(8), keeps, mean_membrane), proofs.by(SLTT(), keeps, mean_membrane)
    assert float((ours["0.weight"] - theirs["0.weight"]).abs().max()) > 0.1 * float(theirs["0.weight"].abs().max())
    assert set(ours) == set(theirs)
