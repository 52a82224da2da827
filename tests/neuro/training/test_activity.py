from __future__ import annotations

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.training.activity import ActivityCounter


def counted(net: neuro.Network, *batches: torch.Tensor) -> ActivityCounter:
    counter = ActivityCounter(net)
    with counter.watch():
        for x in batches:
            net(x)
    return counter


def dense() -> neuro.Sequential:
    torch.manual_seed(2)
    net = neuro.Sequential(
        neuro.Linear(6, 5), neuro.LIF(5, tau=4e-3, dt=2e-3), neuro.Linear(5, 3), neuro.LI(3, dt=2e-3)
    )
    return neuro.calibrate(net, spikes(20, 8))


def spikes(steps: int, samples: int, seed: int = 0) -> torch.Tensor:
    return (torch.rand(steps, samples, 6, generator=torch.Generator().manual_seed(seed)) < 0.3).float()


def test_a_dense_network_against_counting_by_hand() -> None:
    net, x = dense(), spikes(20, 8)
    counter = counted(net, x)
    z = neuro.record(net, x)["1"]["z"]
    assert z.sum() > 0
    hidden, output = counter.cells()
    assert (hidden.name, hidden.kind, hidden.neurons, hidden.spiking) == ("1", "LIF", 5, True)
    assert hidden.spikes == float(z.sum()) / 8
    assert hidden.rate == pytest.approx(float(z.mean()))
    assert hidden.rate_hz == pytest.approx(float(z.mean()) / 2e-3)
    assert hidden.active == float(z.any(0).double().mean())
    assert (output.spiking, output.spikes, output.rate, output.active) == (False, 0, 0, 0)
    first, second = counter.synapses()
    assert (first.events, first.synops, first.macs) == (float(x.sum()) / 8, float(x.sum()) / 8 * 5, 20 * 6 * 5)
    assert (second.events, second.synops, second.macs) == (hidden.spikes, hidden.spikes * 3, 20 * 5 * 3)


def test_batches_add_up() -> None:
    net, x = dense(), spikes(20, 9)
    assert counted(net, x[:, :7], x[:, 7:]).synapses() == pytest.approx(counted(net, x).synapses())
    assert counted(net, x[:, :2], x[:, 2:]).cells() == counted(net, x).cells()


def test_a_convolution_counts_borders_and_multiple_events() -> None:
    net = neuro.Sequential(
        neuro.Conv2d(1, 4, 3), neuro.IF((4, 3, 3)), neuro.SumPool2d(3), neuro.Flatten(), neuro.Linear(4, 2)
    )
    x = torch.zeros(2, 1, 1, 5, 5)
    x[0, 0, 0, 0, 0] = 1  # the corner is read by one kernel position
    x[1, 0, 0, 2, 2] = 3  # three events in the middle, by nine
    first, second = counted(net, x).synapses()
    assert (first.events, first.synops) == (4, 4 * (1 + 3 * 9))
    assert first.macs == 2 * 4 * 9 * 9
    z = neuro.record(net, x)["1"]["z"]
    assert second.events == pytest.approx(float(z.sum()))


def test_an_analogue_input_counts_where_it_is_not_zero() -> None:
    net = neuro.Sequential(neuro.Linear(3, 2))
    x = torch.tensor([[[0.5, 0.0, -2.0]]])
    (row,) = counted(net, x).synapses()
    assert (row.events, row.synops, row.macs) == (2, 4, 6)


def test_nothing_is_counted_outside_the_block() -> None:
    net = dense()
    counter = counted(net, spikes(4, 2))
    before = counter.synapses()
    net(spikes(4, 2, seed=1))
    assert counter.synapses() == before


def test_a_counter_that_saw_nothing_says_so() -> None:
    counter = ActivityCounter(dense())
    with pytest.raises(InputError, match=r"counter\.watch"):
        counter.cells()


def test_a_layer_on_a_cycle_counts_each_sample_once() -> None:
    torch.manual_seed(1)
    edges = [("input", "in"), ("in", "cell"), ("cell", "back", 2e-3), ("back", "cell"), ("cell", "output")]
    nodes = {"in": neuro.Linear(6, 5), "cell": neuro.LIF(5, tau=4e-3), "back": neuro.Linear(5, 5)}
    net = neuro.Graph(nodes, edges)
    net.layers["in"].get_parameter("weight").data.mul_(15)
    x = spikes(21, 8)
    counter = counted(net, x)
    z = neuro.record(net, x)["cell"]["z"]
    (cell,) = counter.cells()
    assert cell.spikes == float(z.sum()) / 8
    assert cell.active == float(z.any(0).float().mean())
    assert cell.rate == pytest.approx(float(z.mean()))
    assert [row.name for row in counter.synapses()] == ["in", "back"]
