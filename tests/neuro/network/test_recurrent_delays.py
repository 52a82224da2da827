"""Recurrent connections with learnable delays: a cell, and a DelayedLinear on the way back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import neuro


def recurrent(size: int, kind: str, *, max_delay: float, tau: float = 3e-3, delay: float | None = None) -> neuro.Graph:
    back = neuro.DelayedLinear(size, size, max_delay, kind=kind, bias=False, delay=delay)
    nodes = {"cell": neuro.LIF(size, tau=tau), "back": back}
    return neuro.Graph(nodes, [("input", "cell"), ("cell", "back", 1e-3), ("back", "cell"), ("cell", "output")])


def spikes(steps: int = 30, size: int = 5) -> Tensor:
    return 4 * (torch.rand(steps, 2, size, generator=torch.Generator().manual_seed(3)) < 0.3).double()


@pytest.mark.parametrize("kind", ["synapse", "axon", "dendrite"])
def test_rounded_delays_are_the_recursion(kind: str) -> None:
    torch.manual_seed(1)
    net = recurrent(5, kind, max_delay=6e-3).double().eval()
    back = net.layers["back"]
    assert isinstance(back, neuro.DelayedLinear)
    back.weight.data.mul_(20)
    steps = back.steps.detach().round().int()
    delays = (steps.view(5, 1) if kind == "dendrite" else steps).expand(5, 5)
    cell, z = net.layers["cell"], torch.zeros(30, 2, 5, dtype=torch.float64)
    assert isinstance(cell, neuro.LIF)
    state = cell.initial_state(2, dtype=torch.float64)
    for t, now in enumerate(spikes()):
        current = now.clone()
        for post in range(5):
            for pre in range(5):
                if (s := t - 1 - int(delays[post, pre])) >= 0:
                    current[:, post] += back.weight[post, pre].detach() * z[s, :, pre]
        with torch.no_grad():
            z[t], state = cell.step(current, state)
    assert 0.02 < float(z.mean()) < 0.8
    made, _ = net(spikes())
    torch.testing.assert_close(made.detach(), z, rtol=0, atol=1e-12)
    first, middle = net(spikes()[:11])
    torch.testing.assert_close(torch.cat([first, net(spikes()[11:], middle)[0]]).detach(), z, rtol=0, atol=1e-12)


@pytest.mark.parametrize("start", [0.0, pytest.param(14e-3, marks=pytest.mark.slow)])
def test_a_neuron_learns_when_to_hear_itself_again(start: float) -> None:
    """It is driven once and is to spike again nine steps later: one of travel, eight of delay."""
    torch.manual_seed(0)
    net = recurrent(1, "synapse", max_delay=14e-3, delay=start, tau=1e-3)
    back, cell = net.layers["back"], net.layers["cell"]
    assert isinstance(back, neuro.DelayedLinear)
    cell.requires_grad_(False)
    back.weight.requires_grad_(False).fill_(2.3)
    x, wanted = torch.zeros(16, 1, 1), torch.zeros(16, 1, 1)
    x[0], wanted[[0, 9]] = 6.0, 1.0
    optimizer = torch.optim.Adam([back.position], lr=0.4)
    for k in range(120):
        back.sigma = neuro.synapses.sigma_schedule(k, 120, 14e-3)
        optimizer.zero_grad()
        # What is compared is smooth in time, so that a spike that comes too late is pulled the right way.
        filtered = neuro.ExponentialSynapse(1, tau=3e-3, learn=())
        error = filtered(net(x)[0])[0] - filtered(wanted)[0]
        error.square().sum().backward()
        optimizer.step()
    z, _ = net.eval()(x)
    assert z[:, 0, 0].nonzero().flatten().tolist()[:2] == [0, 9]
