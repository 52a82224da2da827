"""What holds for every architecture."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor

import neuro


def stirred(net: neuro.Sequential, *, by: float = 0.1, lift: float = 1.0) -> neuro.Sequential:
    """In float64, off its initial values, some of which let nothing through; norms lifted so that all layers spike."""
    generator = torch.Generator().manual_seed(2)
    net = net.double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
        for layer in net.modules():
            if isinstance(layer, neuro.BatchNorm):
                layer.weight.add_(lift)
                layer.bias.add_(lift)
    return net


def parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def check(net: neuro.Sequential, x: Tensor, folder: Path, rules: tuple[str, ...] = ("bptt", "sltt")) -> Tensor:
    """All laws; returns the output in evaluation ``[T, B, ...]``."""
    check_training(net, x)
    check_rules(net, x, rules)
    net.eval()
    assert neuro.summary(net, tuple(x.shape[2:])).parameters == parameters(net)
    y, _ = net(x)
    assert bool(y.detach().any())
    check_steps(net, x, y)
    check_file(net, x, folder)
    rates = {name: float(made["z"].mean()) for name, made in neuro.record(net, x).items() if name in net.cells}
    assert all(rates.values()), rates
    evaluated: Tensor = y.detach()
    return evaluated


def check_training(net: neuro.Sequential, x: Tensor) -> None:
    """One pass in training mode: every parameter that trains has a gradient."""
    net.train()
    net.zero_grad()
    torch.manual_seed(0)
    y, _ = net(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    (y * weights).sum().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert not without, without


def check_rules(net: neuro.Sequential, x: Tensor, rules: tuple[str, ...]) -> None:
    """The rules take it as they take any network."""
    target = torch.arange(x.shape[1]) % 3
    for name in rules:
        net.zero_grad()
        neuro.rules.RULES[name]().backward(net, x, target, neuro.losses.mean_membrane)
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters()), name
        assert any(bool(p.grad.any()) for p in net.parameters() if p.grad is not None), name


def check_steps(net: neuro.Sequential, x: Tensor, y: Tensor) -> None:
    """The sequence is its steps, and its pieces with the state carried on."""
    state, steps = None, []
    for x_t in x:
        y_t, state = net.step(x_t, state)
        steps.append(y_t)
    assert torch.allclose(torch.stack(steps), y, rtol=1e-9, atol=1e-9)
    first, middle = net(x[:2])
    assert torch.allclose(torch.cat([first, net(x[2:], middle)[0]]), y, rtol=1e-9, atol=1e-9)


def check_file(net: neuro.Sequential, x: Tensor, folder: Path) -> None:
    """What is read from a file does what was written, and so does what its definition builds, given the values."""
    single = copy.deepcopy(net).float()
    x = x.float() if x.is_floating_point() else x
    read = neuro.load(neuro.save(single, folder / "net.safetensors")).eval()
    assert torch.equal(read(x)[0], single(x)[0])
    assert read.definition() == net.definition()


def check_fold(net: neuro.Sequential, x: Tensor) -> None:
    """The folded network has no normalisation and gives the same output."""
    folded = neuro.fold(net)
    assert not any(isinstance(m, neuro.BatchNorm) for m in folded.modules())
    assert torch.allclose(folded(x)[0], net.eval()(x)[0], rtol=1e-7, atol=1e-7)
