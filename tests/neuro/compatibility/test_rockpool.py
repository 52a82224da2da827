"""Rockpool beside the network made of it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import neuro
from neuro.compatibility import Loaded, rockpool
from neuro.errors import InputError

pytestmark = [pytest.mark.peers, pytest.mark.elsewhere]
Check = Callable[..., Tensor]


class Theirs:
    """Its modules, by their short names."""

    modules: Any
    combinators: Any
    exponential: Any

    def __init__(self, library: Callable[[str, str], ModuleType]) -> None:
        self.modules = library("rockpool", "rockpool.nn.modules")
        self.combinators = library("rockpool", "rockpool.nn.combinators")
        self.exponential = library("rockpool", "rockpool.nn.modules.torch.lif_torch").PeriodicExponential

    def lif(self, neurons: int, **options: Any) -> Any:
        return self.modules.LIFTorch((neurons,), **{"threshold": 0.7, **options})


def run(net: Any) -> Callable[[Tensor], Tensor]:
    """Time second there, first here; from empty states."""

    def whole(x: Tensor) -> Tensor:
        net.reset_state()
        made: Tensor = net(x.transpose(0, 1))[0]
        return made.transpose(0, 1)

    return whole


@pytest.fixture
def theirs(library: Callable[[str, str], ModuleType]) -> Theirs:
    torch.manual_seed(2)
    return Theirs(library)


def trained(cell: Any, *names: str, prefix: str = "0") -> dict[str, Tensor]:
    return {f"{prefix}.{n}": getattr(cell, n.rpartition(".")[2]) for n in names}


@pytest.mark.parametrize("kind", ["any number", "three", "one", "one, exponential"])
def test_lif(kind: str, theirs: Theirs, same: Check) -> None:
    options: dict[str, Any] = {"three": {"max_spikes_per_dt": 3.0}, "any number": {"learning_window": 0.3}}.get(
        kind, {"max_spikes_per_dt": 1.0}
    )
    options |= {"spike_generation_fn": theirs.exponential} if "exponential" in kind else {}
    times = {"tau_mem": torch.linspace(3e-3, 9e-3, 6), "tau_syn": torch.linspace(2e-3, 6e-3, 6)[:, None]}
    cell = theirs.lif(6, bias=torch.linspace(-0.1, 0.1, 6), dt=2e-3, **times, **options)
    loaded = rockpool.load([cell], input_size=6)
    parameters = trained(cell, "tau_syn", "tau_mem", "bias")
    spikes = same(loaded, run(cell), (6,), parameters)
    most = float(spikes.max())
    assert {"any number": most > 3, "three": most == 3}.get(kind, most == 1)
    assert float(spikes.mean()) > 0.02
    assert loaded.net.dt == 2e-3
    assert loaded.route == neuro.Route(cut_reset=False)


def test_recurrent(theirs: Theirs, same: Check) -> None:
    cell = theirs.lif(6, tau_mem=5e-3, tau_syn=3e-3, bias=0.02, has_rec=True)
    with torch.no_grad():
        cell.w_rec.mul_(0.3)
    loaded = rockpool.load([cell], input_size=6)
    x = torch.randn(50, 3, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
    expected, (made, _) = run(cell)(x), loaded.net(x, route=loaded.route)
    assert torch.equal(made, expected)
    weights = torch.randn(made.shape, generator=torch.Generator().manual_seed(2))
    (wanted,) = torch.autograd.grad((expected * weights).sum(), [cell.w_rec])
    (found,) = torch.autograd.grad((made * weights).sum(), [loaded.net.get_parameter("0.weight")])
    assert float((found.t() - wanted).norm() / wanted.norm()) < 1e-5


def network(theirs: Theirs) -> Any:
    torch.manual_seed(7)
    return theirs.combinators.Sequential(
        theirs.modules.LinearTorch((8, 10), has_bias=True),
        theirs.lif(10, tau_mem=6e-3, tau_syn=4e-3, bias=0.01),
        theirs.modules.LinearTorch((10, 4)),
        theirs.lif(4, tau_mem=12e-3, tau_syn=2e-3),
    )


def test_a_network_and_its_state_dict(theirs: Theirs) -> None:
    net = network(theirs)
    loaded = rockpool.load(net)
    x = torch.randn(50, 3, 8, generator=torch.Generator().manual_seed(1))
    expected, (made, _) = run(net)(x), loaded.net(x, route=loaded.route)
    assert torch.equal(made, expected)
    assert 0.01 < float(made.detach().mean()) < 0.9
    weights = torch.randn(made.shape, generator=torch.Generator().manual_seed(2))
    first = next(p for n, p in net.named_parameters() if n.endswith("weight"))
    (wanted,) = torch.autograd.grad((expected * weights).sum(), [first])
    ours = next(p for n, p in loaded.net.named_parameters() if n.endswith("weight"))
    (found,) = torch.autograd.grad((made * weights).sum(), [ours])
    assert float((found.t() - wanted).norm() / wanted.norm()) < 1e-5

    description = rockpool.load(network(theirs)).net
    with torch.no_grad():
        for value in description.parameters():
            value.zero_()
    rockpool.load_state(description, net.state_dict())
    assert torch.equal(Loaded(description, loaded.route).net(x)[0], expected)


def test_refused(theirs: Theirs) -> None:
    for layer, reason in [
        (theirs.lif(4, max_spikes_per_dt=8.0, spike_generation_fn=theirs.exponential), "max_spikes_per_dt=8"),
        (theirs.lif(4, leak_mode="decays"), "leak_mode"),
        (theirs.lif(4, noise_std=0.1), "noise_std"),
        (theirs.lif(4, threshold=torch.tensor([1.0, 2.0, 1.0, 1.0])), "differs from neuron to neuron"),
        (theirs.modules.ExpSynTorch((4,)), "none of Linear"),
    ]:
        with pytest.raises(InputError, match=reason):
            rockpool.load([layer], input_size=4)
