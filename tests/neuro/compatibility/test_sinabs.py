"""Sinabs beside the network made of it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neuro
from neuro.compatibility import Loaded, sinabs
from neuro.errors import InputError

pytestmark = [pytest.mark.peers, pytest.mark.elsewhere]
Check = Callable[..., Tensor]
Membranes = Callable[[neuro.Sequential, Tensor], Tensor]


class Theirs:
    """Its modules, by their short names."""

    layers: Any
    activation: Any

    def __init__(self, library: Callable[[str, str], ModuleType]) -> None:
        self.layers = library("sinabs", "sinabs.layers")
        self.activation = library("sinabs", "sinabs.activation")

    def spiking(self, kind: str, **options: Any) -> Any:
        options.setdefault("spike_threshold", torch.tensor(0.6))
        return getattr(self.layers, kind)(**{"spike_fn": self.activation.SingleSpike, **options})


def run(net: nn.Module) -> Callable[[Tensor], Tensor]:
    """Time second there, first here; from empty states."""

    def whole(x: Tensor) -> Tensor:
        for module in net.modules():
            reset: Any = getattr(module, "reset_states", None)
            if reset is not None:
                reset()
        made: Tensor = net(x.transpose(0, 1))
        return made.transpose(0, 1)

    return whole


@pytest.fixture
def theirs(library: Callable[[str, str], ModuleType]) -> Theirs:
    return Theirs(library)


def trained(cell: nn.Module, prefix: str = "0") -> dict[str, Tensor]:
    return {f"{prefix}.{n}": p for n, p in cell.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("reset", ["MembraneSubtract", "MembraneReset"])
@pytest.mark.parametrize("tau_syn", [None, 4.3])
@pytest.mark.parametrize("kind", ["IAF", "LIF"])
def test_each_cell(kind: str, tau_syn: float | None, reset: str, theirs: Theirs, same: Check) -> None:
    options: dict[str, Any] = {"tau_syn": tau_syn, "reset_fn": getattr(theirs.activation, reset)()}
    if kind == "LIF":
        options |= {"tau_mem": torch.linspace(3.0, 14.0, 6), "norm_input": tau_syn is not None}
    cell = theirs.spiking(kind, **options)
    loaded = sinabs.load([cell], input_size=6)
    spikes = same(loaded, run(cell), (6,), trained(cell))
    assert 0.01 < float(spikes.mean()) < 0.9
    assert loaded.route == neuro.Route(cut_reset=reset == "MembraneReset")


@pytest.mark.parametrize("most", [None, 3])
@pytest.mark.parametrize("reset", ["MembraneSubtract", "MembraneReset"])
@pytest.mark.parametrize("kind", ["IAF", "LIF"])
def test_several_spikes_in_a_step(kind: str, reset: str, most: int | None, theirs: Theirs, same: Check) -> None:
    options: dict[str, Any] = {"reset_fn": getattr(theirs.activation, reset)(), "spike_threshold": torch.tensor(0.35)}
    if most is not None:
        options["spike_fn"] = theirs.activation.MaxSpike(most)
    else:
        options["spike_fn"] = theirs.activation.MultiSpike
    if kind == "LIF":
        options |= {"tau_mem": 8.0, "norm_input": False, "min_v_mem": -0.8}
    cell = theirs.spiking(kind, **options)
    spikes = same(sinabs.load([cell], input_size=6), run(cell), (6,), trained(cell))
    assert float(spikes.max()) == most if most else float(spikes.max()) > 3


def test_the_lowest_membrane(theirs: Theirs, same: Check) -> None:
    cell = theirs.spiking("LIF", tau_mem=8.0, tau_syn=3.0, norm_input=False, min_v_mem=-0.3)
    same(sinabs.load([cell], input_size=6), run(cell), (6,), trained(cell))
    cell = theirs.layers.ExpLeak(tau_mem=7.3, min_v_mem=-0.3)
    same(sinabs.load([cell], input_size=6), run(cell), (6,), trained(cell), exact=False)


def test_a_reset_by_a_number(theirs: Theirs, same: Check) -> None:
    cell = theirs.spiking("IAF", reset_fn=theirs.activation.MembraneSubtract(subtract_value=0.25))
    same(sinabs.load([cell], input_size=6), run(cell), (6,), {})


@pytest.mark.parametrize("norm_input", [False, True])
def test_exp_leak(norm_input: bool, theirs: Theirs, same: Check) -> None:
    cell = theirs.layers.ExpLeak(tau_mem=7.3, norm_input=norm_input)
    same(sinabs.load([cell], input_size=6), run(cell), (6,), trained(cell), exact=False)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SingleExponential", {"grad_width": 0.3, "grad_scale": 1.4}),
        ("Heaviside", {"window": 0.4}),
        ("Gaussian", {"sigma": 0.7, "grad_scale": 0.6}),
        ("MultiGaussian", {"sigma": 0.4}),
    ],
)
def test_each_surrogate(name: str, options: dict[str, float], theirs: Theirs, same: Check) -> None:
    slope = getattr(theirs.activation, name)(**options)
    cell = theirs.spiking("LIF", tau_mem=5.0, norm_input=False, surrogate_grad_fn=slope)
    same(sinabs.load([cell], input_size=6), run(cell), (6,), trained(cell))


@pytest.mark.parametrize(
    ("kind", "options", "bits"),
    [
        ("IAF", {}, True),
        ("IAF", {"tau_syn": 4.3}, True),
        ("LIF", {"tau_mem": 7.3}, True),
        ("LIF", {"tau_mem": 7.3, "norm_input": False}, True),
        ("LIF", {"tau_mem": 7.3, "tau_syn": 3.1}, False),
    ],
)
def test_membranes(kind: str, options: dict[str, Any], bits: bool, theirs: Theirs, membranes: Membranes) -> None:
    cell = theirs.spiking(kind, record_states=True, **options)
    x = torch.randn(50, 3, 6, generator=torch.Generator().manual_seed(1))
    run(cell)(x)
    made, expected = membranes(sinabs.load([cell], input_size=6).net, x), cell.recordings["v_mem"].transpose(0, 1)
    if bits:
        assert torch.equal(made, expected)
    assert torch.allclose(made, expected, rtol=1e-6, atol=1e-6)


def network(theirs: Theirs) -> nn.Sequential:
    torch.manual_seed(7)
    net = nn.Sequential(
        nn.Linear(8, 10),
        theirs.spiking("LIF", tau_mem=6.0, tau_syn=3.0),
        nn.Linear(10, 6, bias=False),
        theirs.spiking("IAF"),
        nn.Linear(6, 3),
        theirs.layers.ExpLeak(tau_mem=20.0),
    )
    with torch.no_grad():
        for name in ("0.weight", "2.weight"):
            net.get_parameter(name).mul_(6)
    return net


def names(net: nn.Sequential) -> dict[str, Tensor]:
    return {n: p for n, p in net.named_parameters() if p.requires_grad}


def test_a_network_and_its_state_dict(theirs: Theirs, same: Check) -> None:
    net = network(theirs)
    loaded = sinabs.load(net)
    same(loaded, run(net), (8,), names(net), exact=False)
    x = torch.randn(50, 3, 8)
    assert float(neuro.record(loaded.net, x)["3"]["z"].mean()) > 0.01
    description = sinabs.load(network(theirs)).net
    with torch.no_grad():
        for value in description.parameters():
            value.zero_()
    sinabs.load_state(description, net.state_dict())
    same(Loaded(description, loaded.route), run(net), (8,), names(net), exact=False)


def test_refused(theirs: Theirs) -> None:
    make, kinds = theirs.spiking, theirs.activation
    for layers, reason in [
        ([make("LIF", tau_mem=3.0, train_alphas=True)], "train_alphas"),
        ([make("IAF", reset_fn=kinds.MembraneReset(0.1))], "reset_value"),
        ([make("IAF", surrogate_grad_fn=kinds.PeriodicExponential())], "PeriodicExponential"),
        ([make("IAF", spike_threshold=torch.tensor([1.0, 2.0]))], "differs from neuron to neuron"),
        ([make("IAF"), make("IAF", reset_fn=kinds.MembraneReset())], "make them alike"),
    ]:
        with pytest.raises(InputError, match=reason):
            sinabs.load(layers, input_size=2)
