"""SpikingJelly beside the network made of it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neuro
from neuro.compatibility import Loaded, spikingjelly
from neuro.errors import InputError

pytestmark = [pytest.mark.peers, pytest.mark.elsewhere]
Check = Callable[..., Tensor]
Membranes = Callable[[neuro.Sequential, Tensor], Tensor]
ROOM = "spikingjelly.activation_based"


class Theirs:
    """Its modules, by their short names."""

    def __init__(self, library: Callable[[str, str], ModuleType]) -> None:
        for part in ("neuron", "surrogate", "functional", "layer"):
            setattr(self, part, library("spikingjelly", f"{ROOM}.{part}"))

    neuron: Any
    surrogate: Any
    functional: Any
    layer: Any

    def run(self, net: nn.Module) -> Callable[[Tensor], Tensor]:
        self.functional.set_step_mode(net, "m")

        def whole(x: Tensor) -> Tensor:
            self.functional.reset_net(net)
            made: Tensor = net(x)
            return made

        return whole


@pytest.fixture
def theirs(library: Callable[[str, str], ModuleType]) -> Theirs:
    return Theirs(library)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("v_reset", [None, 0.0, -0.25])
def test_if(v_reset: float | None, detach: bool, dtype: torch.dtype, theirs: Theirs, same: Check) -> None:
    cell = theirs.neuron.IFNode(v_threshold=0.9, v_reset=v_reset, detach_reset=detach)
    loaded = spikingjelly.load([cell], input_size=6, dtype=dtype)
    spikes = same(loaded, theirs.run(cell), (6,), {}, dtype=dtype)
    assert 0.02 < float(spikes.mean()) < 0.9
    assert loaded.route == neuro.Route(cut_reset=detach)


@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize(("v_reset", "detach"), [(None, False), (0.0, True), (-0.3, False)])
def test_lif(v_reset: float | None, detach: bool, decay_input: bool, theirs: Theirs, same: Check) -> None:
    options = {"v_threshold": 0.3, "v_reset": v_reset, "detach_reset": detach, "decay_input": decay_input}
    cell = theirs.neuron.LIFNode(tau=3.7, **options)
    spikes = same(spikingjelly.load([cell], input_size=6), theirs.run(cell), (6,), {})
    assert 0.02 < float(spikes.mean()) < 0.9


@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize(("v_reset", "detach"), [(None, True), (-0.3, False)])
def test_parametric_lif(v_reset: float | None, detach: bool, decay_input: bool, theirs: Theirs, same: Check) -> None:
    options = {"v_threshold": 0.3, "v_reset": v_reset, "detach_reset": detach, "decay_input": decay_input}
    cell = theirs.neuron.ParametricLIFNode(init_tau=3.7, **options)
    same(spikingjelly.load([cell], input_size=6), theirs.run(cell), (6,), {"0.w": cell.w})


@pytest.mark.parametrize(
    ("kind", "options", "bits"),
    [
        ("IFNode", {"v_reset": -0.3}, True),
        ("IFNode", {"v_reset": None}, True),
        ("ParametricLIFNode", {"init_tau": 3.7, "v_threshold": 0.3}, True),
        ("LIFNode", {"tau": 3.7, "v_threshold": 0.3, "v_reset": -0.2}, False),
        ("LIFNode", {"tau": 3.7, "decay_input": False}, False),
    ],
)
def test_membranes(kind: str, options: dict[str, Any], bits: bool, theirs: Theirs, membranes: Membranes) -> None:
    cell = getattr(theirs.neuron, kind)(store_v_seq=True, **options)
    x = torch.randn(50, 3, 6, generator=torch.Generator().manual_seed(1))
    theirs.run(cell)(x)
    made = membranes(spikingjelly.load([cell], input_size=6).net, x)
    if bits:
        assert torch.equal(made, cell.v_seq)
    assert torch.allclose(made, cell.v_seq, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    ["ATan", "Sigmoid", "SoftSign", "SuperSpike", "PiecewiseQuadratic", "PiecewiseExp", "Erf", "Rect"],
)
def test_each_surrogate(name: str, theirs: Theirs, same: Check) -> None:
    slope = getattr(theirs.surrogate, name)(alpha=1.7)
    cell = theirs.neuron.LIFNode(tau=1.9, v_threshold=0.6, surrogate_function=slope)
    same(spikingjelly.load([cell], input_size=6), theirs.run(cell), (6,), {})


@pytest.mark.parametrize("name", ["QPseudoSpike", "DeterministicPass", "FakeNumericalGradient"])
def test_surrogates_without_a_free_alpha(name: str, theirs: Theirs, same: Check) -> None:
    cell = theirs.neuron.LIFNode(tau=1.9, v_threshold=0.6, surrogate_function=getattr(theirs.surrogate, name)())
    same(spikingjelly.load([cell], input_size=6), theirs.run(cell), (6,), {})


def test_a_membrane_that_meets_the_threshold(theirs: Theirs) -> None:
    cell = theirs.neuron.IFNode(v_threshold=1.0, v_reset=None)
    x = torch.full((6, 1, 2), 0.5)
    made, _ = spikingjelly.load([cell], input_size=2).net(x)
    assert torch.equal(made, theirs.run(cell)(x))
    assert made[:, 0, 0].tolist() == [0, 1, 0, 1, 0, 1]


def network(theirs: Theirs) -> nn.Sequential:
    torch.manual_seed(7)
    slope = theirs.surrogate.ATan(alpha=3.0)
    return nn.Sequential(
        theirs.layer.Conv2d(2, 4, 3, padding=1, bias=False),
        theirs.neuron.ParametricLIFNode(init_tau=1.8, v_threshold=0.3, surrogate_function=slope),
        theirs.layer.Flatten(),
        nn.Sequential(theirs.layer.Linear(100, 10), theirs.neuron.LIFNode(tau=4.0, v_threshold=0.1, v_reset=None)),
        theirs.layer.Linear(10, 5),
        theirs.neuron.IFNode(surrogate_function=slope),
    )


def names(net: nn.Module) -> dict[str, Tensor]:
    return {f"{p.replace('.', '_')}.{n}": v for k, v in net.named_parameters() for p, _, n in [k.rpartition(".")]}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_and_its_state_dict(dtype: torch.dtype, theirs: Theirs, same: Check) -> None:
    net = network(theirs).to(dtype)
    loaded = spikingjelly.load(net, input_size=(2, 5, 5))
    spikes = same(loaded, theirs.run(net), (2, 5, 5), names(net), dtype=dtype)
    assert 0.01 < float(spikes.mean()) < 0.9
    description = spikingjelly.load(network(theirs), input_size=(2, 5, 5), dtype=dtype).net
    with torch.no_grad():
        for value in description.parameters():
            value.zero_()
    spikingjelly.load_state(description, net.state_dict())
    same(Loaded(description, loaded.route), theirs.run(net), (2, 5, 5), names(net), dtype=dtype)


def test_refused(theirs: Theirs) -> None:
    make = theirs.neuron.IFNode
    for layers, reason in [
        ([make(surrogate_function=theirs.surrogate.NonzeroSignLogAbs())], "NonzeroSignLogAbs"),
        ([make(surrogate_function=theirs.surrogate.QPseudoSpike(alpha=3.0))], "QPseudoSpike"),
        ([make(surrogate_function=theirs.surrogate.LeakyKReLU())], "LeakyKReLU"),
        ([make(surrogate_function=theirs.surrogate.Sigmoid(spiking=False))], "spiking=False"),
        ([make(), make(detach_reset=True)], "make them alike"),
        ([theirs.neuron.QIFNode()], "none of Linear"),
    ]:
        with pytest.raises(InputError, match=reason):
            spikingjelly.load(layers, input_size=4)
