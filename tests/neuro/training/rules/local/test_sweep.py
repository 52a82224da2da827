from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import neuro
from neuro.kernels import Route
from neuro.training.losses import Loss
from neuro.training.rules.local import DRTP

T, B, C = 13, 5, 4
TAU, WIDTH = 4e-3, 0.6


def lif(neurons: int) -> neuro.LIF:
    surrogate = neuro.Surrogate("triangle", width=WIDTH)
    return neuro.LIF(neurons, tau=TAU, reset="subtract", learn=(), surrogate=surrogate)


@pytest.mark.parametrize("kind", ["LIF", "CuBaLIF", "LI", "conv", "recurrent"])
def test_one_layer_learns_as_back_propagation_through_time_has_it(kind: str) -> None:
    """Where there is one layer whose reset is cut, the trace is all of BPTT."""
    torch.manual_seed(0)
    draw, y = torch.rand(T, B, 2, 6, 6, dtype=torch.float64), torch.arange(B) % C
    surrogate = neuro.Surrogate("triangle", width=WIDTH)
    cells: dict[str, Callable[[], torch.nn.Module]] = {
        "LIF": lambda: lif(C),
        "conv": lambda: lif(C),
        "LI": lambda: neuro.LI(C, tau=TAU, learn=()),
        "recurrent": lambda: neuro.Recurrent(lif(C), scale=3.0),
        "CuBaLIF": lambda: neuro.CuBaLIF(
            C, tau_mem=TAU, tau_syn=2e-3, method="exponential", reset="subtract", learn=(), surrogate=surrogate
        ),
    }
    if kind == "conv":
        layers = [neuro.Conv2d(2, 1, 3, mode="dense"), neuro.SumPool2d(2), neuro.Flatten(), cells[kind]()]
    else:
        layers, draw = [neuro.Linear(72, C), cells[kind]()], draw.flatten(2)
    net = neuro.Sequential(*layers).double()
    with torch.no_grad():  # excitatory, so that something spikes
        net.get_parameter("0.weight").abs_()
    neuro.calibrate(net, draw, drive=1.0)
    loss = Loss("sum", lambda output: output.sum(0))
    net.zero_grad()
    loss(net(draw, route=Route(cut_recurrence=True))[0], y).backward()
    expected = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    for rule in (DRTP(), DRTP(chunk=3)):
        net.zero_grad()
        rule.backward(net, draw, y, loss)
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None
            assert bool(expected[name].any()), f"a zero gradient of {name} proves nothing"
            assert torch.allclose(
                parameter.grad, expected[name], rtol=1e-9, atol=1e-9 * float(expected[name].abs().max())
            ), name
