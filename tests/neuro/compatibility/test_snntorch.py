"""snnTorch beside the network made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import snntorch as snn
import torch
from snntorch import surrogate as gradients
from torch import Tensor, nn

import neuro
from neuro.compatibility import CELLS, Loaded, snntorch
from neuro.errors import InputError

pytestmark = pytest.mark.peers
Check = Callable[..., Tensor]


def run(layers: list[nn.Module], x: Tensor, membranes: list[Tensor] | None = None) -> Tensor:
    """snnTorch's own loop over time, states passed by hand; keeps the last layer's membranes."""
    states: dict[int, tuple[Tensor, ...]] = {}
    outputs = []
    for step in x.unbind(0):
        for k, layer in enumerate(layers):
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.Flatten):
                step = layer(step)
                continue
            made = layer(step, *states.get(k, ()))
            states[k] = made if type(layer).__name__.startswith("R") else made[1:]
            step = made[0]
        outputs.append(step)
        if membranes is not None:
            membranes.append(states[len(layers) - 1][-1].detach())
    return torch.stack(outputs)


def run_fresh(layers: list[nn.Module]) -> Callable[[Tensor], Tensor]:
    """As ``run`` from empty states, whatever the layers still hold."""

    def fresh(x: Tensor) -> Tensor:
        for layer in layers:
            reset: Any = getattr(layer, "reset_mem", None)
            if reset is not None:
                reset()
        return run(layers, x)

    return fresh


def names(layer: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Its parameters by the names they have here."""
    ours = {"threshold": "v_threshold", "recurrent.weight": "weight", "recurrent.bias": "cell.bias"}
    recurrent = any(n.startswith("recurrent") for n, _ in layer.named_parameters())
    found: dict[str, Tensor] = {}
    for name, value in layer.named_parameters():
        new = ours.get(name, name)
        inside = recurrent and not name.startswith("recurrent")
        found[f"{prefix}.{'cell.' if inside else ''}{new}"] = value
    return found


def cell(kind: str, reset: str) -> Any:
    torch.manual_seed(2)
    options: dict[str, Any] = {"threshold": 0.8, "reset_mechanism": reset, "spike_grad": gradients.fast_sigmoid(7)}
    learned: dict[str, Any] = {"learn_threshold": True, "learn_beta": True}
    if kind == "Lapicque":
        return snn.Lapicque(R=5.1, C=1.3, time_step=1.7, **options)
    if kind in ("Synaptic", "RSynaptic"):
        learned |= {"learn_alpha": True, "alpha": torch.tensor(0.55)}
    if kind.startswith("R"):
        options["linear_features"] = 7
    return getattr(snn, kind)(beta=0.4 + 0.5 * torch.rand(7), **learned, **options)


@pytest.mark.parametrize(
    ("kind", "reset"),
    [
        *(("Leaky", reset) for reset in ("subtract", "zero", "none")),
        *((kind, reset) for kind in ("RLeaky", "Synaptic", "RSynaptic", "Lapicque") for reset in ("subtract", "zero")),
    ],
)
def test_each_cell(kind: str, reset: str, same: Check) -> None:
    theirs = cell(kind, reset)
    loaded = snntorch.load([theirs], input_size=7)
    spikes = same(loaded, run_fresh([theirs]), (7,), names(theirs, "0"))
    assert 0.02 < float(spikes.mean()) < 0.9


@pytest.mark.parametrize(
    ("kind", "reset"), [("Leaky", "subtract"), ("Leaky", "zero"), ("Synaptic", "zero"), ("Lapicque", "subtract")]
)
def test_membranes(kind: str, reset: str) -> None:
    theirs = cell(kind, reset)
    x = torch.randn(50, 3, 7, generator=torch.Generator().manual_seed(1))
    expected: list[Tensor] = []
    run([theirs], x, expected)
    made = neuro.record(snntorch.load([theirs], input_size=7).net, x)["0"]["v"]
    if kind in ("Leaky", "Synaptic"):
        assert torch.equal(made, torch.stack(expected))
    else:
        assert torch.allclose(made, torch.stack(expected), rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize(
    "spike_grad",
    [
        gradients.atan(3.0),
        gradients.fast_sigmoid(slope=11),
        gradients.sigmoid(slope=5),
        gradients.straight_through_estimator(),
        None,
    ],
    ids=["atan", "fast_sigmoid", "sigmoid", "straight_through", "default"],
)
def test_each_surrogate(spike_grad: Any, same: Check) -> None:
    theirs = snn.Leaky(beta=0.77, threshold=1.3, spike_grad=spike_grad)
    same(snntorch.load([theirs], input_size=5), run_fresh([theirs]), (5,), {})


def network() -> nn.Sequential:
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Linear(9, 12),
        snn.Leaky(beta=0.9, learn_beta=True, threshold=torch.rand(12) + 0.5, learn_threshold=True),
        nn.Linear(12, 8, bias=False),
        snn.RLeaky(beta=torch.rand(8), linear_features=8, reset_mechanism="zero"),
        nn.Sequential(nn.Linear(8, 5), snn.Synaptic(alpha=0.7, beta=0.6, reset_mechanism="none", learn_alpha=True)),
    )
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(4)
    return net


def flat(net: nn.Sequential) -> list[nn.Module]:
    return [inner for layer in net for inner in (layer if isinstance(layer, nn.Sequential) else [layer])]


def own_names(net: nn.Sequential) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for prefix, layer in zip(("0", "1", "2", "3", "4_0", "4_1"), flat(net), strict=True):
        found |= names(layer, prefix)
    return found


def test_a_network(same: Check) -> None:
    theirs = network()
    loaded = snntorch.load(theirs)
    spikes = same(loaded, run_fresh(flat(theirs)), (9,), own_names(theirs))
    assert 0.02 < float(spikes.mean()) < 0.9
    assert loaded.route == neuro.Route(cut_reset=True)


def test_a_convolution(same: Check) -> None:
    torch.manual_seed(4)
    layers = {
        "conv": nn.Conv2d(2, 3, 3, stride=2, padding=1),
        "lif": snn.Leaky(beta=0.8, threshold=0.3),
        "flat": nn.Flatten(),
        "fc": nn.Linear(48, 4),
        "out": snn.Leaky(beta=0.95, threshold=0.2),
    }
    parameters = {f"{n}.{p}": value for n, layer in layers.items() for p, value in layer.named_parameters()}
    loaded = snntorch.load(layers, input_size=(2, 8, 8))
    same(loaded, run_fresh(list(layers.values())), (2, 8, 8), parameters)
    assert list(loaded.net.layers) == list(layers)


def test_state_dict_by_name_and_in_order(same: Check) -> None:
    theirs = network()
    description = snntorch.load(network()).net
    with torch.no_grad():
        for value in description.parameters():
            value.zero_()
    snntorch.load_state(description, theirs.state_dict())
    route = neuro.Route()
    same(Loaded(description, route), run_fresh(flat(theirs)), (9,), own_names(theirs))

    renamed = neuro.Sequential({f"l{n}": layer for n, layer in snntorch.load(network()).net.layers.items()})
    snntorch.load_state(renamed, theirs.state_dict())
    x = torch.randn(10, 2, 9)
    assert torch.equal(renamed(x)[0], description(x)[0])


def test_saved_and_read_again(tmp_path: Path) -> None:
    net = snntorch.load(network()).net
    again = neuro.load(neuro.save(net, tmp_path / "net.safetensors"), cells=CELLS)
    x = torch.randn(20, 2, 9)
    assert torch.equal(again(x)[0], net(x)[0])


class Own(nn.Module):
    """A module with a forward of its own."""


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: snn.Leaky(beta=0.9, state_quant=lambda v: v), "state_quant"),
        (lambda: snn.Leaky(beta=0.9, reset_delay=False), "reset_delay"),
        (lambda: snn.Leaky(beta=0.9, graded_spikes_factor=2.0), "graded_spikes_factor"),
        (lambda: snn.Leaky(beta=0.9, surrogate_disable=True), "surrogate_disable"),
        (lambda: snn.Leaky(beta=0.9, spike_grad=gradients.triangular()), "triangular"),
        (lambda: snn.Leaky(beta=0.9, spike_grad=lambda v: v), "no surrogate here"),
        (lambda: snn.Leaky(beta=torch.rand(4, 1), learn_beta=True), "beta of shape"),
        (lambda: snn.RLeaky(beta=0.9, all_to_all=False, V=0.5), "all-to-all"),
        (lambda: snn.Alpha(alpha=0.9, beta=0.8), "none of Linear"),
        (Own, "as the list of its layers"),
    ],
)
def test_refused(layer: Callable[[], nn.Module], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        snntorch.load([layer()], input_size=4)


def test_a_surrogate_instead_of_one_without_an_equal() -> None:
    theirs = snn.Leaky(beta=0.8, spike_grad=gradients.triangular())
    instead = neuro.Surrogate("triangle", width=0.7)
    net, _ = snntorch.load([theirs], input_size=4, surrogate=instead)
    assert net.cells["0"].surrogate == instead
    x = torch.randn(30, 2, 4)
    assert torch.equal(net(x)[0], run_fresh([theirs])(x))


@pytest.mark.filterwarnings("ignore:Inhibition")
def test_inhibition_is_refused() -> None:
    with pytest.raises(InputError, match="inhibition"):
        snntorch.load([snn.Leaky(beta=0.9, inhibition=True)], input_size=4)


def test_a_size_that_is_not_said() -> None:
    with pytest.raises(InputError, match="give input_size="):
        snntorch.load([snn.Leaky(beta=0.9)])
    with pytest.raises(InputError, match="does not take an input of size"):
        snntorch.load([nn.Linear(3, 2)], input_size=4)
