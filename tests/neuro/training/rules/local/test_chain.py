from __future__ import annotations

import pytest
import torch
from torch import nn

import neuro
from neuro.errors import InputError
from neuro.training.losses import mean_membrane
from neuro.training.rules.local import DECOLLE, DRTP
from neuro.training.rules.local.chain import chain


def test_blocks_end_at_neurons_and_nested_sequences_are_one_chain() -> None:
    inner = neuro.Sequential(neuro.Linear(8, 5), neuro.Recurrent(neuro.LIF(5)))
    net = neuro.Sequential(neuro.Conv2d(1, 2, 3), neuro.LIF((2, 2, 2)), neuro.Flatten(), inner, neuro.Linear(5, 3))
    blocks = chain(net, "DRTP")
    assert [b.name for b in blocks] == ["1", "3.1", "4"]
    assert [len(b.synapses) for b in blocks] == [1, 2, 1]
    assert blocks[1].recurrent is inner.layers["1"].weight
    assert blocks[1].cell is inner.layers["1"].cell
    assert blocks[2].cell is None


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ([neuro.Linear(4, 3), nn.ReLU(), neuro.Linear(3, 2)], r"layer '1' \(ReLU\) is not an affine synapse.*'sltt'"),
        ([neuro.Linear(4, 3), neuro.LTC(3, 3), neuro.Linear(3, 2)], r"'1' \(LTC\) has a state whose trace.*'sltt'"),
        ([neuro.DelayedLinear(4, 3, max_delay=3e-3)], r"'0' \(DelayedLinear\) has a state"),
        ([neuro.Linear(4, 3), neuro.Linear(3, 2), neuro.LIF(2)], "2 layers of weights come before '2'; put neurons"),
        ([neuro.Linear(4, 3), neuro.Residual(neuro.Linear(3, 3)), neuro.LIF(3)], r"'1' \(Residual\)"),
    ],
)
def test_what_is_no_chain_is_refused_with_what_works(layers: list[nn.Module], told: str) -> None:
    with pytest.raises(InputError, match=told):
        chain(neuro.Sequential(*layers), "DRTP")


def test_a_current_that_comes_late_has_no_trace() -> None:
    net = neuro.Sequential(neuro.Linear(4, 3), neuro.CuBaLIF(3), neuro.Linear(3, 2), neuro.LI(2))
    x, y = torch.ones(5, 2, 4), torch.tensor([0, 1])
    with pytest.raises(InputError, match="CuBaLIF within its step; declare the cell with method='exponential'"):
        DECOLLE().backward(net, x, y, mean_membrane)


def test_frozen_weights_get_no_gradient() -> None:
    net = neuro.Sequential(neuro.Linear(4, 3), neuro.Recurrent(neuro.LIF(3)), neuro.Linear(3, 2), neuro.LI(2))
    net.layers["0"].weight.requires_grad_(False)
    net.layers["1"].weight.requires_grad_(False)
    DRTP().backward(net, torch.ones(5, 2, 4), torch.tensor([0, 1]), mean_membrane)
    assert net.layers["0"].weight.grad is None
    assert net.layers["1"].weight.grad is None
    assert net.layers["0"].bias.grad is not None
