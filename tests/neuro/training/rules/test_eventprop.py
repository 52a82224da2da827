from __future__ import annotations

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError
from neuro.training.losses import Loss, max_membrane, mean_membrane, softmax_sum, spike_count
from neuro.training.rules import RULES
from neuro.training.rules.event_driven import event_driven
from neuro.training.rules.eventprop import EventProp, first_spike

BATCH, INPUTS = 5, 6


def network(*, spiking: bool, seed: int = 0) -> neuro.Sequential:
    """A delayed recurrent layer and a delayed readout."""
    torch.manual_seed(seed)
    last = neuro.CuBaLIF(3, tau_syn=10e-3, learn=()) if spiking else neuro.LI(3, learn=())
    net = neuro.Sequential(
        neuro.DelayedLinear(INPUTS, 5, 6e-3, bias=False),
        neuro.Recurrent(neuro.CuBaLIF(5, learn=())),
        neuro.DelayedLinear(5, 3, 4e-3, kind="axon", bias=False),
        last,
    ).double()
    with torch.no_grad():
        net.get_parameter("0.weight").normal_(8, 6)
        net.get_parameter("1.weight").normal_(0, 2)
        net.get_parameter("2.weight").normal_(10, 6)
    return net


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = (torch.rand(50, BATCH, INPUTS, generator=generator) < 0.08).double()
    return x, torch.arange(BATCH) % 3


@pytest.mark.parametrize(
    "loss", [mean_membrane, max_membrane, softmax_sum, first_spike(3e-3)], ids=lambda loss: loss.name
)
def test_gradients_are_finite_differences(loss: Loss) -> None:
    """Weights, recurrent weights and delays of two layers, against the exact simulation run again."""
    net = network(spiking=loss.name == "first_spike")
    x, y = batch()
    EventProp().backward(net, x, y, loss)
    generator = torch.Generator().manual_seed(4)
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        here, values = parameter.detach().clone(), []
        for shift in (1e-5, -1e-5):
            parameter.data.copy_(here + shift * direction)
            values.append(float(EventProp().backward(network_copy(net), x, y, loss).loss))
        parameter.data.copy_(here)
        found = float((parameter.grad * direction).sum())
        assert found == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6, abs=1e-8), name


def network_copy(net: neuro.Sequential) -> neuro.Sequential:
    """The same network, its gradients apart."""
    copy = network(spiking=not isinstance(net.layers["3"], neuro.LI))
    copy.load_state_dict(net.state_dict())
    return copy


def test_a_count_is_raised_by_what_stands_in_for_its_gradient() -> None:
    net = network(spiking=True)
    x, y = batch()
    losses = []
    optimizer = torch.optim.Adam(net.parameters(), lr=0.2)
    for _ in range(40):
        optimizer.zero_grad()
        losses.append(float(EventProp().backward(net, x, y, spike_count).loss))
        optimizer.step()
    assert min(losses[-5:]) < 0.7 * losses[0]


def test_the_rate_is_drawn_to_its_target() -> None:
    net = network(spiking=False)
    x, y = batch()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    counts = []
    for _ in range(60):
        optimizer.zero_grad()
        EventProp(rate=2.0, strength=10.0).backward(net, x, y, mean_membrane)
        optimizer.step()
        counts.append(_rate(net, x))
    assert abs(counts[-1] - 2.0) < 0.5 * abs(counts[0] - 2.0)


def _rate(net: neuro.Sequential, x: Tensor) -> float:
    return event_driven(net, x).spikes[0].time.numel() / (BATCH * 5)


def test_a_loss_on_times_needs_spikes_at_the_end() -> None:
    with pytest.raises(InputError, match="make the last layer a CuBaLIF"):
        EventProp().backward(network(spiking=False), *batch(), first_spike())


@pytest.mark.parametrize("options", [{"rate": -1.0}, {"rate": float("nan")}, {"strength": -1.0}])
def test_bad_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="at least 0"):
        EventProp(**options)
    with pytest.raises(InputError, match="above 0 s"):
        first_spike(tau=0.0)


def test_the_loss_by_steps_agrees_with_that_by_times() -> None:
    z = torch.zeros(10, 1, 2)
    z[3, 0, 0] = z[7, 0, 1] = 1
    loss = first_spike(tau=2e-3, dt=1e-3)
    torch.testing.assert_close(loss.logits(z), loss.time_logits(torch.tensor([[3e-3, 7e-3]])))


def test_the_rule_is_in_the_table() -> None:
    assert RULES["eventprop"] is EventProp
