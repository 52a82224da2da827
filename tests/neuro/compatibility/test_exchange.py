"""Layers that come from torch itself, sizes, types and names."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

import neuro
from neuro.compatibility import sinabs, snntorch
from neuro.errors import InputError


def test_layers_of_torch() -> None:
    torch.manual_seed(1)
    theirs = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0), bias=False), nn.Identity()),
        nn.Flatten(),
        nn.Dropout(0.5).eval(),
        nn.Linear(36, 4),
    ).double()
    net, route = snntorch.load(theirs, input_size=(2, 5, 5))
    assert list(net.layers) == ["0_0", "1", "3"]
    assert route == neuro.Route()
    x = torch.randn(6, 2, 2, 5, 5, dtype=torch.float64)
    made, _ = net(x)
    assert torch.allclose(made, torch.stack([theirs(step) for step in x]))
    assert made.dtype == torch.float64


def test_values_are_copies_that_keep_what_trains() -> None:
    theirs = nn.Linear(3, 2)
    theirs.bias.requires_grad_(False)
    net, _ = sinabs.load(theirs)
    assert [(n, p.requires_grad) for n, p in net.named_parameters()] == [
        ("layer.weight", True),
        ("layer.bias", False),
    ]
    with torch.no_grad():
        theirs.weight.zero_()
    assert bool(net.get_parameter("layer.weight").any())


def test_type() -> None:
    assert snntorch.load([nn.Linear(3, 2)]).net.get_parameter("0.weight").dtype == torch.float32
    made = snntorch.load([nn.Linear(3, 2)], dtype=torch.float64).net
    assert made.get_parameter("0.weight").dtype == torch.float64


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Flatten(0), "other axes"),
        (nn.Conv2d(2, 2, 3, dilation=2), "dilation"),
        (nn.Conv2d(2, 2, 3, groups=2), "groups"),
        (nn.Conv2d(2, 2, 3, padding="same"), "named padding"),
        (nn.Conv2d(2, 2, 3, padding_mode="circular"), "named padding"),
        (nn.Dropout(0.5), r"call \.eval\(\)"),
        (nn.BatchNorm2d(2), "none of Linear, Conv2d, Flatten"),
        (nn.Conv2d(2, 2, 9), "does not take an input of size"),
    ],
)
def test_refused(layer: nn.Module, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        snntorch.load([layer], input_size=(2, 5, 5))


def test_no_other_library_is_imported() -> None:
    command = "import sys, neuro.compatibility as c; names = {n.split('.')[0] for n in sys.modules}\n"
    command += "assert not names & {'snntorch', 'norse', 'spikingjelly', 'sinabs', 'rockpool', 'numba'}, names"
    subprocess.run([sys.executable, "-P", "-c", command], check=True)
