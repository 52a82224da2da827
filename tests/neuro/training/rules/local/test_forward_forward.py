from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import neuro
from neuro.errors import InputError
from neuro.training.losses import max_membrane, mean_membrane
from neuro.training.rules.local import ForwardForward, PhysicalForwardForward

T, B, I, C = 8, 6, 20, 3
TAU, WIDTH = 4e-3, 0.6


def lif(neurons: int) -> neuro.LIF:
    return neuro.LIF(neurons, tau=TAU, reset="subtract", learn=(), surrogate=neuro.Surrogate("triangle", width=WIDTH))


def network(hidden: int = 2) -> Any:
    torch.manual_seed(3)
    sizes = [I, 12, 9, 7][: hidden + 1]
    layers = [m for a, b in pairwise(sizes) for m in (neuro.Linear(a, b), lif(b))]
    net: Any = neuro.Sequential(*layers, neuro.Linear(sizes[-1], C), neuro.LI(C, tau=2e-3, learn=())).double()
    for cell in net.cells.values():
        cell.tau.fill_(TAU)
    return neuro.calibrate(net, batch()[0], drive=1.5)


def batch(steps: int = T) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    return torch.rand(steps, B, I, generator=draw).double(), torch.randint(C, (B,), generator=draw)


def gradients(rule: ForwardForward, net: Any, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    torch.manual_seed(7)  # the wrong labels
    rule.backward(net, x, y, mean_membrane)
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def filtered(x: Tensor) -> Tensor:
    made = [x[0]]
    for now in x[1:]:
        made.append((1 - 1e-3 / TAU) * made[-1] + now)
    return torch.stack(made)


def positive_and_negative(rule: ForwardForward, x: Tensor, y: Tensor) -> Tensor:
    torch.manual_seed(7)
    wrong = (y + torch.randint(1, C, y.shape)) % C
    both = torch.cat([x, x], 1)
    both[:, :, :C] = rule.label * functional.one_hot(torch.cat([y, wrong]), C)
    return both


def told(rule: ForwardForward, goodness: Tensor, counted: int) -> Tensor:
    positive = (torch.arange(2 * B) < B).double().expand(T, -1)
    logits = goodness - counted * rule.sharpness * rule.threshold
    return functional.binary_cross_entropy_with_logits(logits, positive)


@pytest.mark.parametrize("collaboration", ["none", "previous", "all"])
def test_closed_form_is_autograd_with_the_cuts_declared(collaboration: str) -> None:
    rule = ForwardForward(0.2, 5.0, collaboration, label=2.0)
    net, (x, y) = network(), batch()
    ours = gradients(rule, net, x, y)
    net.zero_grad()
    inputs, spikes, whole = [positive_and_negative(rule, x, y)], [], []
    steps = torch.arange(1, T + 1).view(-1, 1, 1)
    with torch.no_grad():
        for name in ("0", "2"):
            spikes.append(net.layers[str(int(name) + 1)].trace(net.layers[name](inputs[-1])))
            inputs.append(spikes[-1][0])
            whole.append(rule.sharpness * inputs[-1].mean(0).square().mean(1))
    earlier: list[Tensor] = []
    for k, name in enumerate(("0", "2")):
        layer, (z, _, states) = net.layers[name], spikes[k]
        moved = 1e-3 / TAU * (functional.linear(filtered(inputs[k]), layer.weight))
        moved = moved + 1e-3 / TAU * filtered(torch.ones(T, 1, 1).double()) * layer.bias
        slope = (1 - (states["v"] - 1).abs() / WIDTH).clamp_min(0)
        rates = z.cumsum(0) / steps + slope * (moved - moved.detach())
        goodness = rule.sharpness * rates.square().mean(2)
        others = {"none": [], "previous": earlier, "all": [whole[1 - k]]}[collaboration]
        told(rule, goodness + sum(others), 1 + len(others)).backward()
        earlier.append(goodness.detach())
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        expected = net.get_parameter(name).grad
        assert float(expected.abs().max()) > 0
        assert torch.allclose(ours[name], expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max())), name


def test_the_readout_learns_from_the_loss_without_a_label() -> None:
    rule, net, (x, y) = ForwardForward(), network(1), batch()
    ours = gradients(rule, net, x, y)
    net.zero_grad()
    last = neuro.Sequential(net.layers["2"], net.layers["3"])
    output, _ = last(net.layers["1"](net.layers["0"](x))[0].detach())
    mean_membrane(output, y).backward()
    for name in ("2.weight", "2.bias"):
        assert torch.allclose(ours[name], net.get_parameter(name).grad, rtol=1e-9, atol=1e-14)
    torch.manual_seed(7)
    result = rule.backward(net, x, y, mean_membrane)
    assert torch.equal(result.output, net(x)[0])


@pytest.mark.parametrize("rule", [ForwardForward(), PhysicalForwardForward()], ids=["cells", "physical"])
def test_layers_above_and_the_loss_do_not_count(rule: ForwardForward) -> None:
    net, (x, y) = network(3), batch()
    before = gradients(rule, net, x, y)
    with torch.no_grad():
        net.layers["4"].weight.mul_(-1.3)
        net.layers["6"].weight.mul_(2)
    net.zero_grad()
    torch.manual_seed(7)
    rule.backward(net, x, y, max_membrane)
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        assert torch.equal(before[name], net.get_parameter(name).grad)


@pytest.mark.parametrize("collaboration", ["none", "previous", "all"])
@pytest.mark.parametrize("kind", [ForwardForward, PhysicalForwardForward])
def test_the_chunk_changes_nothing(kind: type[ForwardForward], collaboration: str) -> None:
    net, (x, y) = network(), batch()
    whole = gradients(kind(collaboration=collaboration), net, x, y)
    pieces = gradients(kind(collaboration=collaboration, chunk=3), net, x, y)
    for name, value in whole.items():
        assert torch.allclose(pieces[name], value, rtol=1e-9, atol=1e-12), name


def clusters(samples: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(samples)
    y = torch.randint(C, (samples,), generator=draw)
    centres = torch.rand(C, I, generator=torch.Generator().manual_seed(0))
    pictures = (centres[y] + 0.2 * torch.randn(samples, I, generator=draw)).clamp(0, 1)
    pictures[:, :C] = 0
    return pictures.expand(T, samples, I), y


def train(rule: ForwardForward, net: Any, rounds: int = 150) -> tuple[float, float]:
    """Accuracy of the readout and of the goodness on samples not learned from."""
    x, y = clusters(120)
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(rounds):
        optimizer.zero_grad()
        rule.backward(net, x, y, mean_membrane)
        optimizer.step()
    x, y = clusters(200)
    head = mean_membrane.logits(net(x)[0]).argmax(1)
    return float((head == y).float().mean()), float((rule.predict(net, x) == y).float().mean())


@pytest.mark.parametrize("collaboration", ["none", "previous", "all"])
def test_it_learns(collaboration: str) -> None:
    torch.manual_seed(1)
    net = neuro.Sequential(neuro.Linear(I, 40), lif(40), neuro.Linear(40, 40), lif(40), neuro.Linear(40, C))
    neuro.calibrate(net, clusters(50)[0], drive=1.5)
    head, goodness = train(ForwardForward(0.1, 20.0, collaboration, label=2.0), net)
    assert head > 0.85
    assert goodness > 0.8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ForwardForward(0.0), "threshold=0.0 must be above 0"),
        (lambda: ForwardForward(collaboration="some"), "unknown collaboration"),
        (lambda: ForwardForward(chunk=0), "chunk=0"),
    ],
)
def test_options_out_of_range(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


def test_networks_it_cannot_train() -> None:
    x, y = batch()
    alone = neuro.Sequential(neuro.Linear(I, C)).double()
    for rule in (ForwardForward(), PhysicalForwardForward()):
        with pytest.raises(InputError, match=r"hidden layers, and this network has none.*sltt"):
            rule.backward(alone, x, y, mean_membrane)
    narrow = neuro.Sequential(neuro.Linear(2, 4), lif(4), neuro.Linear(4, C)).double()
    with pytest.raises(InputError, match="3 classes do not fit into 2 inputs"):
        ForwardForward().backward(narrow, x[:, :, :2], y, mean_membrane)
    assert math.isfinite(float(ForwardForward().backward(network(), x, y, mean_membrane).loss))
