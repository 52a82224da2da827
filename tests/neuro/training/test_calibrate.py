from __future__ import annotations

import logging
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError


def input_spikes(*shape: int, rate: float = 0.1) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(1)) < rate).float()


@torch.no_grad()
def fluctuation(net: neuro.Sequential, x: Tensor) -> list[float]:
    """What the weights do to a membrane that never resets, over its distance to threshold without them."""
    found = []
    for synapses, cell in pairwise(net.layers.values()):
        if isinstance(cell, neuro.Cell):
            assert isinstance(synapses, neuro.Linear)
            current = synapses(x)
            values: dict[str, Any] = cell.parameters_si()
            free = type(cell)(cell.size, dt=cell.dt, method=cell.method, reset="none", learn=(), **values)
            driven, idle = (free.trace(i)[2]["v"] for i in (current, synapses.bias.expand_as(current)))
            distance = (values["v_threshold"] - idle).mean()
            found.append(float((driven - idle).square().mean().sqrt() / distance))
            x, _ = cell(current)
    return found


def network(**options: Any) -> neuro.Sequential:
    torch.manual_seed(0)
    return neuro.Sequential(
        neuro.Linear(30, 40), neuro.LIF(40, **options), neuro.Linear(40, 6), neuro.LIF(6, **options)
    )


@pytest.mark.parametrize("drive", [0.5, 1.5])
@pytest.mark.parametrize(
    "options", [{}, {"tau": 5e-3, "reset": "subtract"}, {"method": "exponential", "v_leak": 0.2, "v_threshold": 0.7}]
)
def test_the_membrane_fluctuates_as_asked(options: dict[str, Any], drive: float) -> None:
    net, x = network(**options), input_spikes(60, 16, 30)
    assert neuro.calibrate(net, x, drive=drive) is net
    assert fluctuation(net, x) == pytest.approx([drive, drive], rel=1e-4)


@pytest.mark.parametrize(("drive", "low", "high"), [(0.5, 1e-3, 0.03), (1.0, 0.01, 0.1), (3.0, 0.05, 0.3)])
def test_hidden_and_output_neurons_spike_as_much_as_the_drive_says(drive: float, low: float, high: float) -> None:
    net, x = network(), input_spikes(60, 16, 30)
    silent = neuro.record(net, x)
    assert all(float(layer["z"].sum()) == 0 for layer in silent.values())
    alive = neuro.record(neuro.calibrate(net, x, drive=drive), x)
    for layer in alive.values():
        assert low < float(layer["z"].mean()) < high


def test_only_weights_change_and_only_by_a_factor() -> None:
    net, x = network(), input_spikes(60, 16, 30)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    neuro.calibrate(net, x)
    for name, value in net.state_dict().items():
        if name.endswith("weight"):
            factor = value.flatten()[0] / before[name].flatten()[0]
            assert factor != 1
            assert torch.allclose(value, before[name] * factor)
        else:
            assert torch.equal(value, before[name])


def test_the_same_batch_gives_the_same_weights_and_a_second_time_changes_nothing() -> None:
    x = input_spikes(60, 16, 30)
    first, second = neuro.calibrate(network(), x), neuro.calibrate(network(), x)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    neuro.calibrate(second, x)
    assert all(torch.allclose(a, b, rtol=1e-5) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_an_output_membrane_gets_a_spread_of_one_volt() -> None:
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.Linear(30, 6, bias=False), neuro.LI(6))
    x = input_spikes(60, 16, 30)
    out, _ = neuro.calibrate(net, x, drive=1.0)(x)
    assert float(out.detach().square().mean().sqrt()) == pytest.approx(1.0, rel=1e-4)


def test_a_convolution_with_pooling_between() -> None:
    torch.manual_seed(0)
    net = neuro.Sequential(
        neuro.Conv2d(2, 4, 3),
        neuro.SumPool2d(2),
        neuro.LIF((4, 3, 3)),
        neuro.Flatten(),
        neuro.Linear(36, 5),
        neuro.CuBaLIF(5),
    )
    x = input_spikes(50, 8, 2, 8, 8)
    activity = neuro.record(neuro.calibrate(net, x, drive=1.0), x)
    assert all(float(layer["z"].mean()) > 0.005 for layer in activity.values())


def test_a_silent_input_is_reported_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    net = network()
    before = [p.clone() for p in net.parameters()]
    with caplog.at_level(logging.WARNING):
        neuro.calibrate(net, torch.zeros(10, 3, 30))
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert caplog.records[0].getMessage().startswith("layer '1' is silent")


def test_a_saturated_layer_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    net = network(reset="subtract")
    with torch.no_grad():
        net.get_parameter("0.bias").fill_(100.0)
    with caplog.at_level(logging.WARNING):
        neuro.calibrate(net, input_spikes(60, 16, 30))
    assert "layer '1' spikes in 100 % of all steps" in caplog.text


@pytest.mark.parametrize("drive", [0, -1.0, float("nan")])
def test_drive_must_be_positive(drive: float) -> None:
    with pytest.raises(InputError, match="drive="):
        neuro.calibrate(network(), input_spikes(5, 2, 30), drive=drive)


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[5, 0, 30\]"):
        neuro.calibrate(network(), torch.zeros(5, 0, 30))


def test_layers_inside_networks_are_scaled_as_if_they_stood_alone() -> None:
    x = input_spikes(60, 16, 30)
    flat = neuro.calibrate(network(), x)
    parts = list(network().layers.values())
    nested = neuro.calibrate(neuro.Sequential(neuro.Sequential(*parts[:3]), parts[3]), x)
    for a, b in zip(flat.parameters(), nested.parameters(), strict=True):
        assert torch.equal(a, b)
    torch.manual_seed(0)
    body = neuro.Sequential(neuro.SparseLinear(40, 40, fan_in=10), neuro.LIF(40))
    block = neuro.Sequential(*parts[:2], neuro.Residual(body), neuro.Linear(40, 6), neuro.LIF(6))
    before = body.layers["0"].get_parameter("weight").detach().clone()
    z, _ = neuro.calibrate(block, x)(x)
    assert bool(z.any())
    assert not torch.equal(body.layers["0"].get_parameter("weight"), before)


def test_what_lies_on_a_cycle_stays_as_it_is() -> None:
    torch.manual_seed(0)
    nodes = {"in": neuro.Linear(30, 40), "first": neuro.LIF(40), "on": neuro.Linear(40, 20), "cell": neuro.LIF(20)}
    edges = [
        ("input", "in"),
        ("in", "first"),
        ("first", "on"),
        ("on", "cell"),
        ("cell", "back", 1e-3),
        ("back", "cell"),
    ]
    net = neuro.Graph({**nodes, "back": neuro.Linear(20, 20)}, [*edges, ("cell", "output")])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    neuro.calibrate(net, input_spikes(30, 8, 30))
    assert {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])} == {"in.weight"}
