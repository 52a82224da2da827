"""State dicts as another library writes them, without that library."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

import neuro
from neuro.compatibility import rockpool, snntorch
from neuro.errors import InputError


def state(**changes: Tensor) -> Mapping[str, Tensor]:
    """What snnTorch saves of a 3-2 layer and its Leaky neurons."""
    made = {
        "fc.weight": torch.arange(6.0).view(2, 3),
        "fc.bias": torch.tensor([0.5, -0.5]),
        "lif.threshold": torch.tensor(1.25),
        "lif.graded_spikes_factor": torch.tensor(1.0),
        "lif.reset_mechanism_val": torch.tensor(0),
        "lif.beta": torch.tensor([0.75]),
    }
    return made | {k.replace("__", "."): v for k, v in changes.items()}


def network(*names: str) -> neuro.Sequential:
    layers = (neuro.Linear(3, 2), snntorch.SnnTorchLeaky(2, learn=("beta",)))
    return neuro.Sequential(dict(zip(names, layers, strict=True)))


@pytest.mark.parametrize("names", [("fc", "lif"), ("a", "b")], ids=["by name", "in order"])
def test_filled(names: tuple[str, str]) -> None:
    net = network(*names)
    snntorch.load_state(net, state())
    first, second = net.layers.values()
    assert first.get_parameter("weight").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert first.get_parameter("bias").tolist() == [0.5, -0.5]
    assert second.get_parameter("beta").tolist() == [0.75, 0.75]  # one number for both
    assert second.get_buffer("v_threshold").item() == 1.25


def test_recurrent_layers() -> None:
    net = neuro.Sequential(neuro.Recurrent(snntorch.SnnTorchRLeaky(2, learn=("bias",))))
    values = {"recurrent.weight": torch.arange(4.0).view(2, 2), "recurrent.bias": torch.tensor([0.5, 1.0])}
    snntorch.load_state(net, {**values, "beta": torch.tensor(0.25)})
    assert net.get_parameter("0.weight").tolist() == [[0, 1], [2, 3]]
    assert net.get_parameter("0.cell.bias").tolist() == [0.5, 1.0]
    assert net.cells["0"].value("beta").item() == 0.25


def test_weights_the_other_way_round() -> None:
    net = neuro.Sequential(neuro.Linear(3, 2, bias=False))
    rockpool.load_state(net, {"0_LinearTorch.weight": torch.arange(6.0).view(3, 2)})
    assert net.get_parameter("0.weight").tolist() == [[0, 2, 4], [1, 3, 5]]


def test_that_does_not_fit() -> None:
    net = network("fc", "lif")
    with pytest.raises(InputError, match=r"does not fill lif\.beta"):
        snntorch.load_state(net, {k: v for k, v in state().items() if k != "lif.beta"})
    with pytest.raises(InputError, match=r"fc\.weight of shape \(2, 4\)"):
        snntorch.load_state(net, state(fc__weight=torch.zeros(2, 4)))
    with pytest.raises(InputError, match=r"lif\.alpha .* no such value"):
        snntorch.load_state(net, state(lif__alpha=torch.zeros(2)))
    with pytest.raises(InputError, match=r"reset_mechanism \['zero'\]"):
        snntorch.load_state(net, state(lif__reset_mechanism_val=torch.tensor(1)))
    with pytest.raises(InputError, match="graded_spikes_factor"):
        snntorch.load_state(net, state(lif__graded_spikes_factor=torch.tensor(2.0)))
    with pytest.raises(InputError, match="no layer of the network takes"):
        snntorch.load_state(net, state(last__weight=torch.zeros(2, 2)))
