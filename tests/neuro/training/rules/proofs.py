"""Networks, batches and comparisons that the proofs of the rules share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import neuro
from neuro.kernels import Route
from neuro.training.rules import Rule

Loss = Callable[[Tensor, Tensor], Tensor]


def batch(steps: int = 30, inputs: int = 6) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(7)
    return (torch.rand(steps, 5, inputs, generator=g) < 0.3).double(), torch.randint(3, (5,), generator=g)


def network(*layers: torch.nn.Module, scale: float = 8.0) -> neuro.Sequential:
    net = neuro.Sequential(*layers).double()
    g = torch.Generator().manual_seed(3)
    for name, value in net.named_parameters():
        if name.endswith(("weight", "bias")):
            value.data = torch.randn(value.shape, generator=g, dtype=torch.float64) * scale / value.shape[-1] ** 0.5
    return net


def gradients(net: neuro.Network, backward: Callable[[], object]) -> dict[str, Tensor]:
    net.zero_grad()
    backward()
    return {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}


def by(rule: Rule, net: neuro.Network, loss: Loss, steps: int = 30) -> dict[str, Tensor]:
    x, y = batch(steps)
    return gradients(net, lambda: rule.backward(net, x, y, loss))


def by_graph(net: neuro.Network, loss: Loss, route: Route, steps: int = 30) -> dict[str, Tensor]:
    x, y = batch(steps)
    return gradients(net, lambda: loss(net(x, route=route)[0], y).backward())


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], only: str = "", rel: float = 1e-9) -> None:
    names = [n for n in theirs if only in n]
    assert names
    for name in names:
        size = float(theirs[name].abs().max())
        assert size > 0, name
        assert float((ours[name] - theirs[name]).abs().max()) <= rel * size, name
