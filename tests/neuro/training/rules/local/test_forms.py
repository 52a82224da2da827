"""DRTP and tpSGD on feed-forward, convolutional and recurrent networks, on handwritten digits of 8 x 8 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional

import neuro
from neuro.kernels import Route
from neuro.training.losses import mean_membrane
from neuro.training.rules.local import DRTP, TPSGD
from neuro.training.rules.local.fixed_random import uniform
from neuro.training.rules.local.three_factor import ThreeFactor

C = 10
FORMS = ("forward", "convolution", "recurrent")
RULES = {
    "drtp": DRTP(),
    "dfa": DRTP("error"),
    "fa": DRTP("layers"),
    "tpsgd-l1": TPSGD(rate=0.6, active=0.3),
    "tpsgd-l2": TPSGD("l2", rate=0.6, active=0.3),
}


def lif(size: int | tuple[int, ...]) -> neuro.LIF:
    return neuro.LIF(size, tau=2e-3, reset="subtract", learn=())


def network(form: str) -> Any:
    torch.manual_seed(0)
    hidden: list[torch.nn.Module]
    match form:
        case "forward":
            hidden, width = [neuro.Linear(64, 60), lif(60)], 60
        case "convolution":
            hidden = [neuro.Conv2d(1, 6, 3, mode="dense"), lif((6, 6, 6)), neuro.SumPool2d(2), neuro.Flatten()]
            width = 54
        case _:
            hidden, width = [neuro.Linear(8, 60), neuro.Recurrent(lif(60))], 60
    return neuro.Sequential(*hidden, neuro.Linear(width, C), neuro.LI(C, tau=5e-3, learn=()))


@dataclass(frozen=True)
class Digits:
    """Pictures ``[S, 8, 8]`` and labels."""

    pictures: Tensor
    y: Tensor

    def shown(self, form: str, steps: int = 6) -> Tensor:
        """``[T, S, ...]``; a recurrent network reads row after row."""
        if form == "recurrent":
            return self.pictures.transpose(0, 1)
        flat = self.pictures.flatten(1) if form == "forward" else self.pictures.unsqueeze(1)
        return flat.expand(steps, *flat.shape)


@cache
def digits() -> tuple[Digits, Digits]:
    """To learn from, and to be judged by."""
    loaded = load_digits()
    order = torch.randperm(len(loaded.target), generator=torch.Generator().manual_seed(0))
    pictures, y = torch.from_numpy(loaded.images).float()[order] / 16, torch.from_numpy(loaded.target)[order].long()
    return Digits(pictures[:1000], y[:1000]), Digits(pictures[1000:], y[1000:])


def accuracy(rule: ThreeFactor, form: str, epochs: int = 8) -> float:
    net, (train, test) = network(form), digits()
    x = train.shown(form)
    neuro.calibrate(net, x, drive=1.0)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    draw = torch.Generator().manual_seed(1)
    for _ in range(epochs):
        for some in torch.randperm(1000, generator=draw).split(50):
            optimizer.zero_grad()
            rule.backward(net, x[:, some], train.y[some], mean_membrane)
            optimizer.step()
    made = mean_membrane.logits(net(test.shown(form))[0]).argmax(1)
    return float((made == test.y).float().mean())


@pytest.mark.parametrize(("name", "form"), [("drtp", "forward"), ("tpsgd-l1", "forward"), ("drtp", "convolution")])
def test_digits_are_learned(name: str, form: str) -> None:
    assert accuracy(RULES[name], form) > (0.85 if form == "forward" else 0.75)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_the_hidden_layer_follows_its_signal_as_autograd_has_it(rule: ThreeFactor, form: str) -> None:
    """One hidden layer whose resets and recurrent spikes are cut: the gradient of ``sum_t M s`` through all of time."""
    net, (train, _) = network(form).double(), digits()
    x, y = train.shown(form)[:, :7].double(), train.y[:7]
    neuro.calibrate(net, x, drive=1.0)
    rule.backward(net, x, y, mean_membrane)
    ours = {name: p.grad.clone() for name, p in net.named_parameters()}
    net.zero_grad()
    layers = list(net.layers.values())
    spikes = layers[1](layers[0](x), None, route=Route(cut_recurrence=True))[0]
    (spikes * signal(rule, net, spikes.detach(), y)).sum().backward()
    for name, parameter in net.named_parameters():
        if name.startswith(("0", "1")):
            scale = float(parameter.grad.abs().max())
            assert scale > 0, name
            assert float((ours[name] - parameter.grad).abs().max()) <= 1e-9 * scale, name


def signal(rule: ThreeFactor, net: Any, spikes: Tensor, y: Tensor) -> Tensor:
    """``dL/ds`` of the rule, shaped as ``spikes [T, B, ...]``."""
    steps, samples, *_ = spikes.shape
    rest = list(net.layers.items())[2:]
    out = spikes
    for _, layer in rest[:-1]:
        out = layer(out)
    out = out.detach().requires_grad_()
    output = rest[-1][1](out)[0]
    (held,) = torch.autograd.grad(mean_membrane(output, y), output, retain_graph=True)
    if rule == RULES["fa"]:
        weight, tau = rest[-2][1].weight, rest[-1][1].tau
        random = uniform(0, f"{rest[-1][0]}.weight", weight.shape[0], weight.shape[1], weight)
        down: Tensor = held * (1e-3 / tau) @ random
        if len(rest) == 2:
            return down
        pooled = spikes.clone().requires_grad_()
        made = rest[1][1](rest[0][1](pooled))
        return torch.autograd.grad(made, pooled, down)[0]
    matrix = uniform(0, "1", C, spikes[0, 0].numel(), spikes)
    label = functional.one_hot(y, C).double()
    if isinstance(rule, DRTP):
        source = label.expand(steps, -1, -1) / (steps * samples) if rule.feedback == "target" else held
        projected: Tensor = source @ matrix
        return projected.view_as(spikes)
    assert isinstance(rule, TPSGD)
    rates = spikes.flatten(2).cumsum(0) / torch.arange(1, steps + 1).view(-1, 1, 1)
    aim = rule.rate * (label @ matrix > (1 - 2 * rule.active) * (6 / matrix.shape[1]) ** 0.5).double()
    distance: Tensor = rates - aim
    return ((distance.sign() if rule.norm == "l1" else distance) / (steps * samples)).view_as(spikes)
