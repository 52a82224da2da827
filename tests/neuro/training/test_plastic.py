"""Local rules beside a rule that follows an error: each writes its own part."""

from __future__ import annotations

import torch

import neuro
from neuro.plasticity import STDP, SoftHebb, TimingLaw, write_grad
from neuro.training.losses import max_membrane
from neuro.training.plastic import Plastic
from neuro.training.rules import BPTT


def network() -> tuple[neuro.Sequential, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.Linear(8, 6), neuro.LIF(6), neuro.Linear(6, 3), neuro.LI(3))
    torch.nn.init.uniform_(net.layers["0"].get_parameter("weight"), 0.5, 2.0)
    return net, (torch.rand(20, 4, 8) < 0.5).float(), torch.tensor([0, 1, 2, 0])


def grads(net: neuro.Sequential) -> dict[str, torch.Tensor | None]:
    return {name: None if p.grad is None else p.grad.clone() for name, p in net.named_parameters()}


def test_each_parameter_has_one_teacher() -> None:
    net, x, y = network()
    local = {"0": STDP(TimingLaw())}
    error = BPTT().backward(net, x, y, max_membrane)
    by_error = grads(net)
    net.zero_grad()
    write_grad(net, x, local)
    by_timing = grads(net)["0.weight"]
    assert by_timing is not None
    assert by_timing.abs().max() > 0
    net.zero_grad()
    rule = Plastic(local, others=BPTT())
    result = rule.backward(net, x, y, max_membrane)
    assert torch.equal(result.loss, error.loss)
    for name, found in grads(net).items():
        wanted = by_timing if name == "0.weight" else by_error[name]
        assert found is not None
        assert wanted is not None
        assert torch.equal(found, wanted), name
    rule.backward(net, x, y, max_membrane)  # adds to what is there
    twice = grads(net)["0.weight"]
    assert twice is not None
    assert torch.allclose(twice, 2 * by_timing)


def test_alone_it_touches_nothing_else() -> None:
    net, x, y = network()
    result = Plastic({"0": SoftHebb()}).backward(net, x, y, max_membrane)
    assert [name for name, grad in grads(net).items() if grad is not None] == ["0.weight"]
    output, _ = net(x)
    assert torch.equal(result.output, output)
    assert torch.equal(result.loss, max_membrane(output, y))
    assert not result.loss.requires_grad
