from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import neuro
from neuro.errors import InputError
from neuro.kernels import Route
from neuro.training.losses import Loss, max_membrane, mean_membrane
from neuro.training.rules.local import MAN

T, B, I, H, C = 11, 5, 9, 14, 4
SPATIAL = Route(cut_time=True, cut_recurrence=True)


def lif(neurons: int | tuple[int, ...]) -> neuro.LIF:
    surrogate = neuro.Surrogate("triangle", width=0.6)
    return neuro.LIF(neurons, tau=4e-3, reset="subtract", learn=(), surrogate=surrogate)


def network(hidden: int = 2) -> Any:
    torch.manual_seed(3)
    layers: list[nn.Module] = []
    for k in range(hidden):
        layers += [neuro.Linear(H if k else I, H), lif(H)]
    net = neuro.Sequential(*layers, neuro.Linear(H, C), neuro.LI(C, tau=3e-3, learn=())).double()
    return neuro.calibrate(net, batch()[0], drive=1.0)


def batch(steps: int = T) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    x = (torch.rand(steps, B, I, generator=draw) < 0.4).double()
    return x, torch.randint(C, (B,), generator=draw)


def prepared(rule: MAN, net: Any) -> MAN:
    """The rule with its learned bias away from zero."""
    made = rule.prepare(net)
    draw = torch.Generator().manual_seed(1)
    assert made.auxiliary is not None
    for name, parameter in made.auxiliary.named_parameters():
        if "classifier.weight" not in name:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
    return made


def gradients(rule: MAN, net: Any, x: Tensor, y: Tensor, loss: Any = mean_membrane) -> dict[str, Tensor]:
    net.zero_grad()
    assert rule.auxiliary is not None
    rule.auxiliary.zero_grad()
    rule.backward(net, x, y, loss)
    made = [*net.named_parameters(), *rule.auxiliary.named_parameters()]
    return {name: p.grad.clone() for name, p in made if p.grad is not None}


def head(rule: MAN, key: str, following: list[nn.Module], x: Tensor) -> Tensor:
    """The auxiliary written out for a Linear and a cell."""
    held: Any = rule.auxiliary
    held = held[key]
    weight, bias = (average + own for average, own in zip(held.averages, held.bias, strict=True))
    cell: Any = following[1]
    made = cell(functional.linear(x, weight, bias), None, route=SPATIAL)[0]
    return made if held.classifier is None else functional.linear(made, held.classifier.weight, held.classifier.bias)


@pytest.mark.parametrize("layers", [1, 2])
def test_closed_form_is_autograd_with_the_cuts_declared(layers: int) -> None:
    net, (x, y) = network(3), batch()
    rule = prepared(MAN(layers, momentum=0.9), net)
    ours = gradients(rule, net, x, y)
    net.zero_grad()
    rule.auxiliary.zero_grad()  # type: ignore[union-attr]
    modules = list(net.layers.values())
    for start in range(0, 8, 2 * layers):
        for k in range(start, start + 2 * layers, 2):
            x = modules[k + 1](modules[k](x), None, route=SPATIAL)[0]
        if start + 2 * layers == len(modules):
            mean_membrane(x, y).backward()
        else:
            logits = head(rule, f"layer_{start + 2 * layers - 1}", modules[start + 2 * layers :], x)
            functional.cross_entropy(logits.flatten(0, 1), y.repeat(T)).backward()
        x = x.detach()
    theirs = {n: p.grad for n, p in [*net.named_parameters(), *rule.auxiliary.named_parameters()]}  # type: ignore[union-attr]
    assert ours.keys() == {n for n, grad in theirs.items() if grad is not None}
    for name, grad in ours.items():
        scale = float(grad.abs().max())
        assert scale > 0, name
        assert float((grad - theirs[name]).abs().max()) <= 1e-9 * scale, name


def test_only_the_layer_after_a_part_counts_and_only_by_its_average() -> None:
    net, (x, y) = network(3), batch()
    rule = prepared(MAN(momentum=0.5), net)
    rule.backward(net, x, y, mean_membrane)  # the averages start
    before = gradients(rule, net, x, y)
    with torch.no_grad():
        net.layers["4"].weight.mul_(-1.7)
        net.layers["6"].weight.mul_(-2)
    after = gradients(rule, net, x, y, max_membrane)
    for name in ("0.weight", "0.bias"):
        assert torch.equal(before[name], after[name])
    assert not torch.equal(before["2.weight"], after["2.weight"])
    own: Any = rule.auxiliary
    assert torch.allclose(own["layer_3"].averages[0], net.layers["4"].weight * (0.5 - 0.5 / 1.7))


def test_without_momentum_the_average_is_the_next_layer() -> None:
    net, (x, y) = network(), batch()
    rule = MAN(momentum=0.0).prepare(net)
    own: Any = rule.auxiliary
    for factor in (1.0, 3.0):
        with torch.no_grad():
            net.layers["2"].weight.mul_(factor)
        rule.backward(net, x, y, mean_membrane)
        assert torch.equal(own["layer_1"].averages[0], net.layers["2"].weight)
    assert own["layer_3"].classifier is None
    kept = MAN().prepare(network())
    assert kept.auxiliary is not None
    kept.auxiliary.load_state_dict(own.state_dict())
    assert bool(kept.auxiliary.get_submodule("layer_1").get_buffer("started"))


def test_the_chunk_changes_nothing_and_saved_memory_is_that_of_one() -> None:
    net, (x, y) = network(), batch(60)
    whole = gradients(prepared(MAN(chunk=60), net), net, x, y)
    saved, quiet = [], Loss("last", lambda output: output[-1])
    for steps in (10, 60):
        sizes: list[int] = []

        def keep(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept):
            gradients(prepared(MAN(chunk=5), net), net, x[:steps], y, quiet)
        saved.append(max(sizes))
    assert saved[0] == saved[1]
    pieces = gradients(prepared(MAN(chunk=5), net), net, x, y)
    for name, grad in whole.items():
        assert torch.allclose(pieces[name], grad, rtol=1e-9, atol=1e-12), name


def test_convolutions_and_recurrent_layers_learn() -> None:
    torch.manual_seed(1)
    net = neuro.Sequential(
        neuro.Conv2d(1, 3, 3, mode="dense"), lif((3, 4, 4)), neuro.Flatten(),
        neuro.Linear(48, 12), neuro.Recurrent(lif(12)), neuro.Linear(12, C), neuro.LI(C, tau=3e-3, learn=()),
    ).double()  # fmt: skip
    x, y = (torch.rand(10, B, 1, 6, 6) < 0.4).double(), torch.arange(B) % C
    neuro.calibrate(net, x, drive=1.0)
    for name, grad in gradients(MAN().prepare(net), net, x, y).items():
        assert bool(grad.isfinite().all()), name
        assert bool(grad.any()), name


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: MAN(layers=0), "layers=0 must be a whole number"),
        (lambda: MAN(momentum=1.0), r"momentum=1.0 must be at least 0, below 1"),
        (lambda: MAN(layers=2).prepare(network()), "parts of 2 layers of weights .* has 3 in all"),
        (lambda: MAN().backward(network(), *batch(), mean_membrane), r"rule\.prepare"),
    ],
)
def test_what_it_refuses(make: Callable[[], object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        make()


def test_cells_that_learn_their_time_constants() -> None:
    """Through the copy of the next layer, whose parameters are not those of a module."""
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.Linear(20, 30), neuro.LIF(30), neuro.Linear(30, 5), neuro.LIF(5))
    x, y = (torch.rand(40, 6, 20) < 0.3).float(), torch.arange(6) % 5
    neuro.calibrate(net, x)
    rule = MAN().prepare(net)
    rule.backward(net, x, y, neuro.losses.spike_count)
    gradients = {name: p.grad for name, p in net.named_parameters()}
    assert all(g is not None and bool(g.any()) for g in gradients.values()), gradients.keys()
