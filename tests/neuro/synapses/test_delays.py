"""Layers with learnable delays: what they compute, their state, their range, and that they learn."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.synapses.delays import KINDS, DelayedLinear, sigma_schedule
from neuro.training.activity import ActivityCounter
from neuro.training.optimizer import parameter_groups

SHAPES = {"synapse": (3, 5), "axon": (5,), "dendrite": (3,)}
X = (torch.rand(30, 4, 5, generator=torch.Generator().manual_seed(0)) < 0.3).float()


def layer(kind: str, **options: Any) -> DelayedLinear:
    torch.manual_seed(2)
    return DelayedLinear(5, 3, 14e-3, kind=kind, dt=2e-3, sigma=3e-3, **options)


def as_synapses(of: DelayedLinear) -> DelayedLinear:
    """The same connections with a delay for each synapse."""
    delay = of.delay.detach()
    each = delay.expand(3, 5) if of.kind == "axon" else delay.unsqueeze(1).expand(3, 5)
    made = layer("synapse", delay=each)
    with torch.no_grad():
        made.weight.copy_(of.weight)
        made.bias.copy_(of.bias)
    return made.train(of.training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["axon", "dendrite"])
def test_axons_and_dendrites_are_synapses_that_share_a_delay(kind: str, training: bool) -> None:
    shared = layer(kind).train(training)
    each = as_synapses(shared)
    y, expected = shared(X)[0], each(X)[0]
    assert torch.allclose(y, expected, atol=1e-5)
    if not training:
        return
    y.square().sum().backward()
    expected.square().sum().backward()
    assert shared.position.grad is not None
    assert each.position.grad is not None
    total = each.position.grad.sum(0 if kind == "axon" else 1)
    assert torch.allclose(shared.position.grad, total, rtol=1e-3, atol=1e-3)
    assert torch.allclose(shared.weight.grad, each.weight.grad, rtol=1e-3, atol=1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_training_form_tends_to_the_rounded_one(kind: str) -> None:
    made = layer(kind).round_()
    assert torch.equal(made.steps, made.steps.round())
    rounded = made.eval()(X)[0]
    gaps = []
    for sigma in (2e-3, 0.8e-3, 0.2e-3):
        made.sigma = sigma
        gaps.append(float((made.train()(X)[0] - rounded).detach().abs().max()))
    assert gaps[0] > gaps[1] > 100 * gaps[2]
    assert gaps[2] < 1e-4


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_pieces_of_time_equal_the_whole(kind: str, training: bool) -> None:
    made = layer(kind, mode="event").train(training)
    whole, end = made(X)
    state, parts = made.initial_state(4), []
    for piece in X.split([1, 3, 0, 15, 11]):
        y, state = made(piece, state)
        parts.append(y)
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(state[0], end[0])
    y, _ = made.step(X[0], made.initial_state(4))
    assert torch.equal(y, whole[0])
    assert torch.equal(made(X.flip(1))[0], whole.flip(1))


@pytest.mark.parametrize("kind", KINDS)
def test_everything_learns_in_double_too(kind: str) -> None:
    made = layer(kind).double()
    x = X.double().requires_grad_()
    y, _ = made(x)
    y.square().sum().backward()
    for value in (x, made.weight, made.position, made.bias):
        assert value.grad is not None
        assert bool(value.grad.any())
    assert made.position.shape == SHAPES[kind]
    made.zero_grad()
    made.eval()(x)[0].square().sum().backward()
    assert made.position.grad is None  # a rounded delay has no derivative
    assert made.weight.grad is not None


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_compiles_without_a_break(kind: str, training: bool) -> None:
    made = layer(kind).train(training)
    expected, state = made(X)
    compiled = torch.compile(made, fullgraph=True, backend="aot_eager")
    y, after = compiled(X)
    assert torch.allclose(y, expected, atol=1e-5)
    assert torch.equal(after[0], state[0])


def test_positions_turn_back_at_both_ends() -> None:
    made = DelayedLinear(6, 1, 4e-3, kind="axon")
    with torch.no_grad():
        made.position.copy_(torch.tensor([-1.5, 0.0, 2.25, 4.0, 5.0, 9.0]))
    assert made.steps.tolist() == [1.5, 0.0, 2.25, 4.0, 3.0, 1.0]
    assert torch.allclose(made.delay, made.steps * 1e-3)
    made.steps.sum().backward()
    assert made.position.grad is not None
    assert made.position.grad.tolist() == [-1.0, 1.0, 1.0, 1.0, -1.0, 1.0]  # nowhere 0: no delay is stuck


def test_a_network_with_delays_lives_like_any_other(tmp_path: Path) -> None:
    torch.manual_seed(3)
    net = neuro.Sequential(
        neuro.DelayedLinear(5, 8, 6e-3, sigma=1e-3, bias=False, mode="event"),
        neuro.LIF(8),
        neuro.DelayedLinear(8, 2, 3e-3, kind="axon"),
        neuro.LI(2),
    )
    with torch.no_grad():
        for name in ("0", "2"):
            net.layers[name].weight.mul_(60)  # type: ignore[operator]
    whole, end = net(X)
    assert bool(whole.any())
    first, middle = net(X[:7])
    second, last = net(X[7:], middle)
    assert torch.allclose(torch.cat([first, second]), whole, atol=1e-5)
    assert torch.allclose(last[3][0], end[3][0], atol=1e-5)
    assert [s is None for s in net.initial_state(4)] == [False] * 4
    assert torch.equal(neuro.record(net, X)["3"]["z"], whole)
    assert list(net.cells) == ["1", "3"]
    for twin in (neuro.load(neuro.save(net, tmp_path / "net.safetensors")), copy.deepcopy(net)):
        assert twin.layers["0"].sigma == 1e-3
        assert twin.definition() == net.definition()
        assert torch.equal(twin(X)[0], whole)
    assert not torch.equal(net.eval()(X)[0], whole)
    with pytest.raises(InputError, match="share one dt"):
        neuro.Sequential(neuro.DelayedLinear(5, 3, 4e-3, dt=2e-3), neuro.LIF(3))


def test_a_rule_that_cuts_time_cuts_delays() -> None:
    made = layer("synapse")
    x = X.clone().requires_grad_()
    whole = torch.autograd.grad(made(x)[0][-1].sum(), (x, made.weight, made.position))
    y, _ = made(x, route=neuro.Route(cut_time=True))
    assert torch.equal(y, made(x)[0])
    cut = torch.autograd.grad(y[-1].sum(), (x, made.weight, made.position))
    assert torch.allclose(cut[0][-1], whole[0][-1], atol=1e-6)
    assert bool(whole[0][:-1].any())
    assert not bool(cut[0][:-1].any())
    assert all(torch.equal(a, b) for a, b in zip(cut[1:], whole[1:], strict=True))
    for training in (True, False):
        axon = layer("axon").train(training)
        each = as_synapses(axon)
        route = neuro.Route(cut_time=True)
        first, second = (torch.autograd.grad(m(x, route=route)[0].sum(), x)[0] for m in (axon, each))
        assert torch.allclose(first, second, atol=1e-5)
    with pytest.raises(InputError, match="kind 'dendrite'"):
        layer("dendrite")(x, route=neuro.Route(cut_time=True))


def test_spatial_learning_does_not_depend_on_its_chunks() -> None:
    torch.manual_seed(4)
    net = neuro.Sequential(
        neuro.Linear(5, 6), neuro.LIF(6), neuro.DelayedLinear(6, 2, 5e-3, sigma=2e-3, mode="event"), neuro.LI(2)
    )
    neuro.calibrate(net, X)
    found = []
    for chunk in (7, 64):
        net.zero_grad()
        neuro.rules.SLTT(chunk).backward(net, X, torch.tensor([0, 1, 1, 0]), neuro.losses.max_membrane)
        found.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert len(found[0]) == len(list(net.parameters()))
    for one, other in zip(*found, strict=True):
        assert bool(one.any())
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def test_delays_are_counted_calibrated_and_given_their_own_rate() -> None:
    torch.manual_seed(5)
    net = neuro.Sequential(neuro.DelayedLinear(5, 8, 6e-3), neuro.LIF(8))
    assert not bool(net(X)[0].any())
    neuro.calibrate(net, X)
    counter = ActivityCounter(net)
    with counter.watch():
        assert bool(net(X)[0].any())
    (row,) = counter.synapses()
    assert (row.events, row.synops) == (float(X.sum()) / 4, 8 * float(X.sum()) / 4)
    groups = {g["name"]: g for g in parameter_groups(net, lr=0.01, cell_lr=0.2, weight_decay=0.3)}
    assert [id(p) for p in groups["delays"]["params"]] == [id(net.get_parameter("0.position"))]
    assert (groups["delays"]["lr"], groups["delays"]["weight_decay"]) == (1.0, 0.0)
    assert len(groups["weights"]["params"]) == 1


def test_nir_refuses_it_by_name(tmp_path: Path) -> None:
    net = neuro.Sequential(neuro.Linear(5, 5), neuro.DelayedLinear(5, 3, 4e-3), neuro.LIF(3))
    with pytest.raises(InputError, match=r"layer '1' \(DelayedLinear\) has no node in NIR"):
        neuro.hardware.export(net, tmp_path / "net.nir")


def test_parameters_of_the_delay_network_of_the_paper() -> None:
    sizes = (140, 256, 256, 20)
    layers = [DelayedLinear(a, b, 0.24, dt=0.01, bias=False) for a, b in itertools.pairwise(sizes)]
    norms = [torch.nn.BatchNorm1d(256), torch.nn.BatchNorm1d(256)]
    assert layers[0].taps == 25
    assert sum(p.numel() for module in (*layers, *norms) for p in module.parameters()) == 214_016


def test_sigma_falls_for_a_quarter_of_the_epochs() -> None:
    sigmas = [sigma_schedule(e, 150, 0.24, dt=0.01) for e in range(150)]
    assert sigmas[0] == pytest.approx(0.1227)
    ratios = [(b - 2.7e-3) / (a - 2.7e-3) for a, b in itertools.pairwise(sigmas[:38])]
    assert ratios == pytest.approx([0.8987] * 37, abs=1e-4)
    assert sigmas[37:] == pytest.approx([0.005] * 113)
    assert sigma_schedule(0, 1, 1e-3) == pytest.approx(1.27e-3)


OFFSET = 7


def pairs(offsets: list[int]) -> torch.Tensor:
    """One sample for each offset: input 0 spikes in step 25, input 1 so many steps later."""
    x = torch.zeros(80, len(offsets), 2)
    for b, offset in enumerate(offsets):
        x[25, b, 0] = x[25 + offset, b, 1] = 1.0
    return x


def test_a_delay_finds_an_offset_from_any_start() -> None:
    """Outputs start at 49 pairs of delays; each learns to tell an offset of 7 steps from others."""
    x = pairs([OFFSET, -20, -11, -3, 0, 3, 13, 18, 25])
    starts = 1e-3 * torch.cartesian_prod(torch.arange(0.0, 25.0, 4.0), torch.arange(0.0, 25.0, 4.0))
    made = DelayedLinear(2, len(starts), 24e-3, delay=starts, bias=False)
    made.weight.requires_grad_(False).fill_(0.7)
    optimizer = torch.optim.Adam([made.position], lr=0.6)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 160)
    for step in range(160):
        made.sigma = sigma_schedule(step, 320, 24e-3)
        energy = made(x)[0].square().sum(0)
        optimizer.zero_grad()
        (energy[1:].mean(0) - energy[0]).sum().backward()
        optimizer.step()
        rate.step()
    steps = made.eval().steps.round()
    assert (steps[:, 0] - steps[:, 1]).tolist() == [OFFSET] * len(starts)
    made.weight.fill_(1.4)  # one spike takes a neuron to 0.7 of its threshold
    probes = pairs([OFFSET, 0, -OFFSET, OFFSET - 3, OFFSET + 3])
    with torch.no_grad():
        spikes = neuro.LIF(len(starts), tau=2e-3)(made(probes)[0])[0].sum(0)
    assert bool((spikes[0] == 1).all())
    assert not bool(spikes[1:].any())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "axn"}, "did you mean 'axon'"),
        ({"mode": "evnt"}, "did you mean 'event'"),
        ({"delay": 15e-3}, r"delay must be in 0\.\.0\.014 s, the longest that is held.*larger max_delay"),
        ({"delay": -1e-3}, r"delay must be in 0\.\.0\.014 s"),
        ({"delay": float("nan")}, "delay must be in"),
        ({"delay": torch.zeros(5, 3)}, r"delay of kind 'synapse' must be \[3, 5\]"),
        ({"sigma": 0.0}, "sigma must be a finite number of seconds above 0"),
        ({"dt": 0.0}, "dt must be"),
        ({"dt": 4e-3}, "max_delay must be a whole number of steps"),
    ],
)
def test_bad_arguments_are_named(options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"dt": 2e-3} | options
    with pytest.raises(InputError, match=message):
        DelayedLinear(5, 3, 14e-3, **given)


def test_bad_input_is_named() -> None:
    made = layer("synapse")
    with pytest.raises(InputError, match=r"takes \[T, B, 5\]"):
        made(X[..., :4])
    with pytest.raises(InputError, match=r"must be one tensor \(4, 7, 5\)"):
        made(X, made.initial_state(3))
    with pytest.raises(InputError, match="epochs at least 1"):
        sigma_schedule(0, 0, 1e-3)
