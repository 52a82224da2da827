"""What is recorded is what runs."""

from __future__ import annotations

import pytest
import torch

import neuro
from neuro.errors import InputError


def network() -> neuro.Sequential:
    torch.manual_seed(1)
    inner = neuro.Sequential(neuro.Linear(3, 4), neuro.LIF(4, tau=2e-3))
    inner.layers["0"].get_parameter("weight").data.mul_(20)
    return neuro.Sequential(
        {"first": inner, "skip": neuro.Residual(neuro.Sequential(neuro.Linear(4, 4), neuro.ALIF(4)))}
    )


def test_chosen_layers_by_dotted_name() -> None:
    net, x = network(), torch.rand(8, 2, 3)
    everything = neuro.record(net, x)
    assert list(everything) == ["first.1", "skip.body.1"]
    chosen = neuro.record(net, x, layers=["skip.body.1"])
    assert list(chosen) == ["skip.body.1"]
    for key, value in chosen["skip.body.1"].items():
        assert torch.equal(value, everything["skip.body.1"][key])
    z = everything["first.1"]["z"]
    assert bool(z.any())
    assert torch.equal(net(x)[0], z + everything["skip.body.1"]["z"])
    with pytest.raises(InputError, match=r"did you mean 'first\.1'"):
        neuro.record(net, x, layers=["first.2"])


def test_recording_goes_on_from_a_state() -> None:
    net, x = network(), torch.rand(8, 2, 3)
    _, state = net(x[:5])
    later, whole = neuro.record(net, x[5:], state), neuro.record(net, x)
    assert torch.equal(later["first.1"]["v"], whole["first.1"]["v"][5:])
