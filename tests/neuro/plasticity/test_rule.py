"""The contract of local rules: what they read, what they write, how a network learns by them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.plasticity import (
    BCM,
    STDP,
    Activity,
    HomeostaticThreshold,
    KeepLength,
    LocalRule,
    ModulatedSTDP,
    Oja,
    Sanger,
    SoftHebb,
    TimingLaw,
    TraceProduct,
    WeightScaling,
    write_grad,
)

LAW = TimingLaw(0.03, 0.02, 17e-3, 34e-3, a3_plus=0.1, w_min=-50.0, w_max=50.0)
NEAREST = replace(LAW, a3_plus=0.0, nearest_pre=True, nearest_post=True)
WEIGHT_RULES: tuple[LocalRule, ...] = (
    Oja(),
    Sanger(),
    BCM(tau=5e-3),
    SoftHebb(beta=2.0),
    KeepLength(Sanger()),
    KeepLength(BCM(tau=5e-3)),
    STDP(LAW),
    STDP(NEAREST),
    ModulatedSTDP(LAW, tau=0.1),
    ModulatedSTDP(NEAREST, tau=0.3),
    TraceProduct(tau_pre=10e-3, tau_post=5e-3),
    WeightScaling(total=3.0, rate=0.5),
)
RULES = (*WEIGHT_RULES, HomeostaticThreshold(step=0.1, tau=0.2))
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)


def activity(time: int = 30, seed: int = 0) -> Activity:
    g = torch.Generator().manual_seed(seed)
    x, z = ((torch.rand(time, 3, n, generator=g) < 0.3).double() for n in (8, 5))
    m = torch.randn(time, 3, generator=g, dtype=torch.float64)
    return Activity(x, torch.randn(time, 3, 5, generator=g, dtype=torch.float64), z, m)


def parameter(rule: LocalRule) -> torch.Tensor:
    g = torch.Generator().manual_seed(7)
    shape = (5, 8) if rule.parameter == "weight" else (5,)
    return torch.rand(shape, generator=g, dtype=torch.float64)


@each_rule
def test_what_a_rule_does_not_read_does_not_change_a_bit(rule: LocalRule) -> None:
    value, seen, other = parameter(rule), activity(), activity(seed=1)
    before, _ = rule.change(value, seen)
    for name in (field.name for field in fields(Activity)):
        after, _ = rule.change(value, replace(seen, **{name: getattr(other, name)}))
        assert torch.equal(after, before) == (name not in rule.reads), name


@each_rule
def test_another_layer_does_not_change_a_bit(rule: LocalRule) -> None:
    """What comes after the layer, weights and neurons, is no factor of any rule."""
    found = []
    for seed in (1, 2):
        torch.manual_seed(0)
        first = neuro.LIF(5, learn=["v_threshold"], shared=[])
        net = neuro.Sequential(neuro.Linear(8, 5), first, neuro.Linear(5, 4), neuro.LIF(4))
        torch.manual_seed(seed)
        last, start = net.layers["2"], net.layers["0"].get_parameter("weight")
        torch.nn.init.uniform_(start, 0.5, 2.0, generator=torch.Generator().manual_seed(4))
        assert isinstance(last, neuro.Linear)
        torch.nn.init.normal_(last.weight)
        x = (torch.rand(30, 3, 8, generator=torch.Generator().manual_seed(3)) < 0.5).float()
        name = "0" if rule.parameter == "weight" else "1"
        write_grad(net, x, {name: rule}, modulator=torch.ones(30, 3))
        grad = net.layers[name].get_parameter(rule.parameter).grad
        assert grad is not None
        found.append(grad)
        assert last.weight.grad is None
    assert found[0].abs().max() > 0
    assert torch.equal(found[0], found[1])


def size(state: Any) -> int:
    if isinstance(state, torch.Tensor):
        return state.numel()
    return sum(size(part) for part in state) if isinstance(state, tuple) else 0


@each_rule
def test_memory_does_not_grow_with_time(rule: LocalRule) -> None:
    """What is carried on is of one size, and pieces with it are as good as the whole."""
    value, seen = parameter(rule), activity(200)
    sizes = {size(rule.change(value, activity(time))[1]) for time in (1, 30, 200)}
    assert len(sizes) == 1
    if isinstance(rule, WeightScaling):
        return  # reads no activity at all
    whole, _ = rule.change(value, seen)
    weight, state, total = value, None, torch.zeros_like(value)
    for t in range(0, 200, 25):
        part = Activity(*(getattr(seen, field.name)[t : t + 25] for field in fields(Activity)))
        delta, state = rule.change(weight, part, state)
        if isinstance(rule, STDP | ModulatedSTDP | HomeostaticThreshold):
            weight, total = weight + delta, total + delta
        else:
            total = total + delta / 8  # a mean over steps
    assert torch.allclose(total, whole, rtol=1e-9, atol=1e-12)


@each_rule
def test_the_same_twice(rule: LocalRule) -> None:
    first, second = (rule.change(parameter(rule), activity())[0] for _ in range(2))
    assert torch.equal(first, second)


def test_an_optimizer_spends_the_change() -> None:
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.Linear(8, 5, bias=False), neuro.LIF(5))
    x = (torch.rand(40, 2, 8) < 0.5).float()
    weight = net.layers["0"].get_parameter("weight")
    torch.nn.init.uniform_(weight, 0.5, 2.0)
    before = weight.detach().clone()
    rule = STDP(LAW)
    z, _ = net(x)
    expected, _ = rule.change(before, Activity(x, z.detach(), z.detach()))
    result = write_grad(net, x, {"0": rule})
    assert torch.equal(result.output, z)
    assert z.sum() > 0
    assert not result.output.requires_grad
    torch.optim.SGD([weight], lr=1.0).step()
    assert torch.allclose(weight, before + expected)
    assert expected.abs().max() > 0


def test_states_go_on() -> None:
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.Linear(8, 5), neuro.LIF(5))
    x = (torch.rand(40, 2, 8) < 0.5).float()
    rules = {"0": STDP(TimingLaw())}
    weight = net.layers["0"].get_parameter("weight")
    torch.nn.init.uniform_(weight, 0.5, 2.0)
    write_grad(net, x, rules)
    first = write_grad(net, x[:15], rules)  # adds to what is there
    write_grad(net, x[15:], rules, state=first.state, past=first.rules)
    twice = weight.grad
    assert twice is not None
    net.zero_grad()
    write_grad(net, x, rules)
    assert weight.grad is not None
    assert weight.grad.abs().max() > 0
    assert torch.allclose(twice, 2 * weight.grad, atol=1e-6)


def test_bad_input_is_named() -> None:
    net = neuro.Sequential(neuro.Linear(8, 5), neuro.LIF(5, shared=["v_threshold"], learn=["v_threshold"]))
    x = torch.ones(3, 2, 8)
    cases: list[tuple[str, dict[str, LocalRule]]] = [
        ("layer", {"7": Oja()}),
        ("layer '1' .LIF. does not learn weight", {"1": Oja()}),
        ("v_threshold must be .5., one for each neuron", {"1": HomeostaticThreshold()}),
        ("does not learn v_threshold", {"0": HomeostaticThreshold()}),
        ("needs a modulator", {"0": ModulatedSTDP()}),
    ]
    for message, rules in cases:
        with pytest.raises(InputError, match=message):
            write_grad(net, x, rules)
    with pytest.raises(InputError, match=r"modulator must be \[3, 2\]"):
        write_grad(net, x, {"0": Oja()}, modulator=torch.ones(3))
    conv = neuro.Sequential(neuro.Conv2d(1, 2, 3))
    with pytest.raises(InputError, match="of a Linear"):
        write_grad(conv, torch.ones(1, 1, 1, 4, 4), {"0": Oja()})
    assert not any(layer._forward_hooks for layer in net.layers.values())
