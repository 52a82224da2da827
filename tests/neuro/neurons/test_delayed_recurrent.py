"""A recurrent layer with learned delays obeys the laws of every layer with state, and finds a delay."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError
from neuro.network import build
from neuro.training.optimizer import parameter_groups
from neuro.training.rules import choose_rule

X = torch.randn(14, 3, 4, 2, generator=torch.Generator().manual_seed(2)) * 15 + 6
kinds = pytest.mark.parametrize("kind", ["synapse", "axon", "dendrite"])
modes = pytest.mark.parametrize("training", [True, False], ids=["taps", "rounded"])


def layer(kind: str = "synapse", training: bool = True) -> neuro.DelayedRecurrent:
    torch.manual_seed(0)
    cell = neuro.CuBaLIF((4, 2), tau_mem=8e-3, reset="subtract")
    return neuro.DelayedRecurrent(cell, 5e-3, kind=kind, scale=60.0, sigma=1.2e-3).train(training)


def by_hand(made: neuro.DelayedRecurrent, x: Tensor) -> Tensor:
    """Whole delays, synapse by synapse, the cell one step at a time."""
    shape = {"synapse": (8, 8), "axon": (1, 8), "dendrite": (8, 1)}[made.kind]
    delays = made.steps.detach().round().int().reshape(shape).expand(8, 8)
    state, outputs = made.cell.initial_state(x.shape[1], dtype=x.dtype), list[Tensor]()
    for t in range(x.shape[0]):
        current = x[t].flatten(1).clone()
        for post in range(8):
            for pre in range(8):
                if (s := t - int(delays[post, pre])) >= 0:
                    current[:, post] += made.weight[post, pre] * outputs[s].flatten(1)[:, pre]
        z, state = made.cell.step(current.view_as(x[t]), state)
        outputs.append(z)
    return torch.stack(outputs)


@kinds
def test_rounded_delays_are_the_recursion(kind: str) -> None:
    made = layer(kind, False).double()
    z, _ = made(X.double())
    assert 0.02 < float(z.detach().mean()) < 0.8
    with torch.no_grad():
        assert torch.equal(by_hand(made, X.double()), z)
    assert not torch.equal(z, made.cell(X.double())[0])


@kinds
@modes
def test_splitting_time_single_steps_and_order_change_nothing(kind: str, training: bool) -> None:
    made = layer(kind, training)
    whole, last = made(X)
    for cut in (1, 5, 13):
        first, middle = made(X[:cut])
        second, end = made(X[cut:], middle)
        assert torch.equal(torch.cat([first, second]), whole)
        assert all(torch.equal(a, b) for a, b in zip(end, last, strict=True))
    state = made.initial_state(3)
    for x, wanted in zip(X, whole, strict=True):
        z, state = made.step(x, state)
        assert torch.equal(z, wanted)
    order = torch.tensor([2, 0, 1])
    assert torch.equal(made(X[:, order])[0], whole[:, order])
    z, after = made(X[:0], last)
    assert z.shape == (0, 3, 4, 2)
    assert all(torch.equal(a, b) for a, b in zip(after, last, strict=True))


@kinds
@modes
def test_equals_the_reference_and_what_learns_gets_a_gradient(kind: str, training: bool) -> None:
    made = layer(kind, training).double()
    for route in (None, neuro.Route(cut_recurrence=True)):
        grads = []
        for backend in ("auto", "reference"):
            x = X.double().requires_grad_()
            learned = [p for n, p in made.named_parameters() if training or n != "position"]
            z, _ = made(x, route=route, backend=backend)
            grads.append((z.detach(), *torch.autograd.grad(z.square().sum() + z[-2:].sum(), [x, *learned])))
        assert torch.equal(grads[0][0], grads[1][0])
        for got, wanted in zip(*grads, strict=True):
            assert bool(wanted.any())
            assert torch.allclose(got, wanted, rtol=1e-10, atol=1e-11)


@kinds
def test_gradients_by_finite_differences_where_nothing_spikes(kind: str) -> None:
    torch.manual_seed(1)
    made = neuro.DelayedRecurrent(neuro.LI(3), 4e-3, kind=kind, sigma=0.9e-3).double()
    names = ("weight", "position")
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    held = tuple(torch.randn_like(s) for s in made.initial_state(2, dtype=torch.float64))

    def run(x: Tensor, held: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        given = (x, (start, held))
        y, after = torch.func.functional_call(made, dict(zip(names, values, strict=True)), given)
        return (y, *after)

    start = held[0]
    leaves = [t.clone().detach().requires_grad_() for t in (x, held[1], made.weight, made.position)]
    assert torch.autograd.gradcheck(run, leaves, atol=1e-7)


@kinds
def test_saved_copied_built_and_compiled(kind: str, tmp_path: Path) -> None:
    net = neuro.Sequential(layer(kind))
    x = X
    out, _ = net(x)
    net.layers["0"].sigma = 0.7e-3  # type: ignore[assignment]
    changed, _ = net(x)
    read = neuro.load(neuro.save(net, tmp_path / "net.safetensors")).train()
    rounded = net.eval()(x)[0]
    assert torch.equal(read.eval()(x)[0], rounded)
    assert torch.equal(copy.deepcopy(net)(x)[0], rounded)
    assert build(net.definition()).definition() == net.definition()
    fresh = neuro.Sequential(layer(kind))
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(fresh.train()(x)[0], changed)
    assert out.shape == changed.shape
    torch.compiler.reset()
    assert torch.equal(torch.compile(net, fullgraph=True, backend="aot_eager")(x)[0], rounded)
    torch.compiler.reset()
    net.train()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")(x)[0]
    assert torch.equal(compiled, changed)
    assert net.cells["0"] is net.layers["0"].cell
    recorded = neuro.record(net, x)["0"]
    assert torch.equal(recorded["z"], changed)
    assert repr(net.layers["0"]).startswith("DelayedRecurrent")
    with pytest.raises(InputError, match=r"layer '0' \(DelayedRecurrent\)"):
        neuro.hardware.export(net, tmp_path / "net.nir")


@kinds
def test_delays_learn_in_a_group_of_their_own_and_stay_in_range(kind: str) -> None:
    made = neuro.DelayedRecurrent(neuro.LIF(8), 5e-3, kind=kind)
    net = neuro.Sequential(made)
    groups = {g["name"]: g["params"] for g in parameter_groups(net, lr=1e-3, cell_lr=1e-2, weight_decay=0.1)}
    assert [id(p) for p in groups["delays"]] == [id(made.position)]
    assert [id(p) for p in groups["weights"]] == [id(made.weight)]
    assert all(p is not made.position for p in groups["cells"])
    with torch.no_grad():
        made.position.add_(torch.randn_like(made.position) * 1e3)
    steps = made.steps.detach()
    assert float(steps.min()) >= 1
    assert float(steps.max()) <= 5
    assert torch.equal(made.delay.detach(), steps * 1e-3)
    assert bool(torch.isfinite(made(X.flatten(2))[0]).all())
    assert torch.equal(made.round_().steps, made.steps.round())


@pytest.mark.parametrize("start", [1e-3, 5e-3, 12e-3, 15e-3])
def test_a_neuron_learns_when_to_hear_itself_again(start: float) -> None:
    """It is driven once and is to spike again nine steps later."""
    torch.manual_seed(0)
    made = neuro.DelayedRecurrent(neuro.LIF(1, tau=3e-3), 15e-3, delay=start, weight=torch.tensor([[9.0]]))
    made.cell.requires_grad_(False)
    made.weight.requires_grad_(False)
    x, wanted = torch.zeros(16, 1, 1), torch.zeros(16, 1, 1)
    x[0], wanted[[0, 9]] = 6.0, 1.0
    optimizer = torch.optim.Adam([made.position], lr=0.2)
    # What is compared is smooth in time, so that a spike that comes too late is pulled the right way.
    filtered = neuro.ExponentialSynapse(1, tau=2e-3, learn=())
    for k in range(200):
        made.sigma = 6e-3 * 0.05 ** min(1, k / 160)
        optimizer.zero_grad()
        error = filtered(made(x)[0])[0] - filtered(wanted)[0]
        error.square().sum().backward()
        optimizer.step()
    z, _ = made.eval()(x)
    assert z[:, 0, 0].nonzero().flatten().tolist() == [0, 9]


@pytest.mark.parametrize(("rule", "says"), [("eprop", "is a DelayedRecurrent"), ("eventprop", "is DelayedRecurrent")])
def test_rules_that_know_one_step_of_delay_only_refuse_it(rule: str, says: str) -> None:
    cell = neuro.CuBaLIF(5, learn=())
    net = neuro.Sequential(
        neuro.Linear(4, 5, bias=False), neuro.DelayedRecurrent(cell, 4e-3), neuro.Linear(5, 2, bias=False)
    )
    chosen = choose_rule(rule)
    with pytest.raises(InputError, match=says):
        chosen.backward(net, torch.ones(6, 2, 4), torch.tensor([0, 1]), lambda y, _: y.sum())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kind": "soma"}, "unknown kind 'soma'"),
        ({"max_delay": 1e-3}, "max_delay must be at least 2 steps of dt=0.001 s"),
        ({"max_delay": 2.5e-3}, "whole number of steps"),
        ({"delay": 6e-3}, r"delay must be in 0.001..0.005 s, the longest that is held, got 0.006..0.006 s"),
        ({"delay": 0.0}, "got 0..0 s"),
        ({"delay": torch.ones(3)}, r"delay of kind 'synapse' must be \[8, 8\], got \[3\]"),
        ({"sigma": 0.0}, "sigma must be a finite number of seconds above 0"),
        ({"weight": torch.zeros(8, 2)}, r"\[N, N\] = \(8, 8\)"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        neuro.DelayedRecurrent(**({"cell": neuro.LIF((4, 2)), "max_delay": 5e-3} | options))  # type: ignore[arg-type]


def test_bad_input_is_named() -> None:
    made = layer()
    with pytest.raises(InputError, match=r"DelayedRecurrent takes \[T, B, 4, 2\] \(time first\)"):
        made(X[..., :1])
    with pytest.raises(InputError, match=r"the outputs held \(3, 5, 4, 2\)"):
        made(X, made.cell.initial_state(3))
