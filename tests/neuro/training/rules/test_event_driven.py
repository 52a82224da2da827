from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neuro
from neuro.errors import InputError
from neuro.training.rules.event_driven import event_driven


def spikes(steps: int, rate: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return (torch.rand(steps, 4, 6, generator=torch.Generator().manual_seed(1)) < rate).to(dtype)


def network(dt: float, method: str, width: float = 1.0) -> neuro.Sequential:
    """Two spiking layers, the first recurrent, and an LI; the same in continuous time whatever ``dt`` seconds."""
    options: dict[str, Any] = {"dt": dt, "method": method, "learn": ()}
    hidden = neuro.CuBaLIF(5, tau_syn=8e-3, r=2.0, w_in=0.5, **options)
    net = neuro.Sequential(
        neuro.Linear(6, 5, bias=False),
        neuro.Recurrent(hidden),
        neuro.Linear(5, 4, bias=False),
        neuro.CuBaLIF(4, reset="subtract", **options),
        neuro.Linear(4, 3, bias=False),
        neuro.LI(3, **options),
    ).double()
    generator = torch.Generator().manual_seed(3)
    for name, parameter in net.named_parameters():
        gain = dt / (20e-3 if name.startswith("4") else 8e-3 if name[0] in "01" else 5e-3)
        size = 0.4 if name.startswith("1") else 2.0
        parameter.data = (torch.randn(parameter.shape, generator=generator).double() + 0.8) * size / gain
    return net


@pytest.mark.parametrize("method", ["euler", "exponential"])
def test_steps_come_nearer_in_proportion_to_dt(method: str) -> None:
    """The clocked network is away from this by about a step in time: its counts agree but for a few per cent."""
    steps, coarse, away = 60, 1e-3, []
    x = spikes(steps, 0.08)
    for fine in (4, 32):
        dt = coarse / fine
        grid = x.new_zeros(steps * fine, *x.shape[1:])
        grid[::fine] = x
        net = network(dt, method)
        run = event_driven(net, grid)
        assert run.spikes[1].time.numel() > 30
        clocked = net(grid)[0]
        away.append(float((run.output.detach() - clocked.detach()).mean(0).norm() / clocked.detach().mean(0).norm()))
    assert away[1] < 0.03
    assert away[1] < 0.5 * away[0]


def test_delays_are_not_rounded_and_of_every_kind() -> None:
    for kind, delay in (
        ("axon", torch.full((1,), 2.3e-3)),
        ("dendrite", torch.full((2,), 2.3e-3)),
        ("synapse", 2.3e-3),
    ):
        synapse = neuro.DelayedLinear(1, 2, 10e-3, kind=kind, delay=delay, bias=False)
        synapse.weight.data.fill_(40.0)
        net = neuro.Sequential(synapse, neuro.CuBaLIF(2, learn=()))
        x = torch.zeros(50, 1, 1)
        x[5] = 1
        run = event_driven(net, x)
        straight = neuro.Sequential(neuro.Linear(1, 2, bias=False), neuro.CuBaLIF(2, learn=()))
        straight.layers["0"].weight.data.fill_(40.0)  # type: ignore[operator]
        expected = event_driven(straight, x).spikes[0].time + 2.3e-3
        assert expected.numel() >= 2
        torch.testing.assert_close(run.spikes[0].time, expected, rtol=0, atol=1e-8)
        run.spikes[0].time.sum().backward()
        assert synapse.position.grad is not None
        assert float(synapse.position.grad.sum()) == pytest.approx(1e-3 * expected.numel(), rel=1e-5)


def test_a_synapse_before_the_readout_makes_two_exponentials() -> None:
    net = neuro.Sequential(
        neuro.Linear(6, 3, bias=False), neuro.ExponentialSynapse(3, tau=4e-3, learn=()), neuro.LI(3, learn=())
    ).double()
    x = spikes(40, 0.1)
    fine = torch.zeros(40 * 50, 4, 6, dtype=torch.float64)
    fine[::50] = x
    same = neuro.Sequential(
        neuro.Linear(6, 3, bias=False),
        neuro.ExponentialSynapse(3, tau=4e-3, dt=2e-5, learn=()),
        neuro.LI(3, dt=2e-5, learn=()),
    ).double()
    same.load_state_dict(net.state_dict())
    clocked = same(fine)[0].view(40, 50, 4, 3).mean(1)
    torch.testing.assert_close(
        event_driven(net, x).output, clocked, rtol=0, atol=5e-3 * float(clocked.detach().abs().max())
    )


GOOD = neuro.CuBaLIF(3, learn=())


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((neuro.Linear(6, 3), GOOD), "has a bias"),
        ((neuro.Linear(6, 3, bias=False), neuro.LIF(3, learn=())), r"is LIF; EventProp takes CuBaLIF.*use BPTT"),
        ((neuro.Linear(6, 3, bias=False), neuro.Recurrent(neuro.LIF(3))), r"is Recurrent\(LIF\)"),
        ((neuro.Linear(6, 3, bias=False), neuro.AdEx(3)), "is AdEx"),
        ((neuro.Linear(6, 3, bias=False), neuro.CuBaLIF(3)), r"give the cell learn=\(\)"),
        ((neuro.Linear(6, 3, bias=False), neuro.CuBaLIF(3, learn=(), reset="none")), "no reset"),
        ((neuro.Linear(6, 3, bias=False), neuro.CuBaLIF(3, learn=(), refractory=2e-3)), "refractory"),
        ((neuro.Linear(6, 3, bias=False), neuro.CuBaLIF(3, learn=(), v_leak=0.1)), "v_leak"),
        (
            (neuro.Linear(6, 3, bias=False), neuro.CuBaLIF(3, learn=(), tau_mem=torch.tensor([0.01, 0.02, 0.02]))),
            "one tau_mem",
        ),
        (
            (neuro.Linear(6, 3, bias=False), neuro.LI(3, learn=()), neuro.Linear(3, 3, bias=False), GOOD),
            "must be the last",
        ),
        ((neuro.Linear(6, 3, bias=False),), "ends the network"),
        ((neuro.Flatten(), GOOD), "takes synapses"),
        ((neuro.Linear(6, 3, bias=False), GOOD, neuro.Linear(4, 3, bias=False), GOOD), "do not fit"),
    ],
)
def test_what_has_no_closed_form_is_refused(layers: tuple[nn.Module, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        event_driven(neuro.Sequential(*layers), spikes(5, 0.2, torch.float32))


def test_input_that_is_no_spikes_is_refused() -> None:
    net = neuro.Sequential(neuro.Linear(6, 3, bias=False), GOOD)
    for x in (torch.full((5, 2, 6), 0.5), torch.zeros(5, 2, 7), torch.zeros(0, 2, 6)):
        with pytest.raises(InputError, match="x must be"):
            event_driven(net, x)
