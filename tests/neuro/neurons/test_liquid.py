"""Liquid cells obey the laws of a cell; time that passes between steps counts; bounds of the papers hold."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import neuro
from neuro.errors import InputError
from neuro.layer import Population
from neuro.network import build
from neuro.neurons.liquid import LIQUID, Liquid

MAKERS: tuple[Callable[[], Liquid], ...] = (
    lambda: neuro.LTC(3, 6, unfolds=3),
    lambda: neuro.LTC(3, neuro.AutoNCP(11, 2, seed=4), dt=0.4),
    lambda: neuro.CfC(3, 6, hidden=10),
    lambda: neuro.CfC(3, 6, hidden=10, mode="no_gate", dt=0.3),
    lambda: neuro.CfC(3, 6, hidden=10, mode="pure"),
)
IDS = ("ltc", "ltc-ncp", "cfc", "cfc-no_gate", "cfc-pure")
each = pytest.mark.parametrize("make", MAKERS, ids=IDS)

X = torch.randn(12, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TIMES = torch.rand(12, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2


def seeded(make: Callable[[], Liquid]) -> Liquid:
    torch.manual_seed(3)
    return make().double()


@each
def test_shapes_and_repr(make: Callable[[], Liquid]) -> None:
    cell = seeded(make)
    y, (v,) = cell(X)
    assert y.shape == (12, 5, 2 if cell.units == 11 else 6)
    assert v.shape == (5, *cell.size)
    assert isinstance(cell, Population)
    assert repr(cell).startswith(f"{type(cell).__name__}(3, {cell.units}, dt=")


@each
def test_splitting_time_and_single_steps_change_nothing(make: Callable[[], Liquid]) -> None:
    cell = seeded(make)
    whole, (last,) = cell(X, None, TIMES)
    first, middle = cell(X[:5], None, TIMES[:5])
    second, (end,) = cell(X[5:], middle, TIMES[5:])
    assert torch.allclose(torch.cat([first, second]), whole, rtol=1e-13, atol=1e-14)
    assert torch.allclose(end, last, rtol=1e-13, atol=1e-14)
    state = cell.initial_state(5, dtype=torch.float64)
    for x, dt, wanted in zip(X, TIMES, whole, strict=True):
        y, state = cell.step(x, state, dt)
        assert torch.allclose(y, wanted, rtol=1e-13, atol=1e-14)


@each
def test_order_in_the_batch_does_not_matter_even_where_batch_and_units_agree(make: Callable[[], Liquid]) -> None:
    cell = seeded(make)
    batch = cell.units  # where timespans that lost their axis would broadcast over the wrong one
    x = torch.randn(4, batch, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    times = torch.rand(4, batch, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y, _ = cell(x, None, times)
    for b in range(batch):
        alone, _ = cell(x[:, b : b + 1], None, times[:, b : b + 1])
        assert torch.allclose(alone, y[:, b : b + 1], rtol=1e-12, atol=1e-13)


@each
def test_equals_the_reference_and_timespans_count(make: Callable[[], Liquid]) -> None:
    cell = seeded(make)
    y, _ = cell(X, None, TIMES)
    assert torch.allclose(y, cell(X, None, TIMES, backend="reference")[0], rtol=1e-12, atol=1e-13)
    assert not torch.allclose(y, cell(X)[0], atol=1e-3)
    constant = torch.full((12,), cell.dt, dtype=torch.float64)
    assert torch.equal(cell(X)[0], cell(X, None, constant)[0])
    assert torch.allclose(seeded(make).float()(X.float(), None, TIMES.float())[0].double(), y, atol=1e-5)


@each
def test_every_parameter_learns(make: Callable[[], Liquid]) -> None:
    cell = seeded(make)
    state = (torch.rand(5, cell.units, dtype=torch.float64).requires_grad_(),)
    x = X.clone().requires_grad_()
    cell(x, state, TIMES)[0].square().sum().backward()
    learned = {"x": x, "state": state[0], **dict(cell.named_parameters())}
    without = [n for n, p in learned.items() if p.grad is None or not bool(p.grad.any())]
    assert without == []
    assert all(bool(torch.isfinite(p.grad).all()) for p in learned.values() if p.grad is not None)


@each
def test_copies_and_files_keep_it(make: Callable[[], Liquid], tmp_path: Path) -> None:
    cell = seeded(make).float()
    x = X.float()
    wanted = cell(x)[0]
    assert torch.equal(copy.deepcopy(cell)(x)[0], wanted)
    net = neuro.Sequential(cell, neuro.Linear(wanted.shape[2], 2))
    read = neuro.load(neuro.save(net, tmp_path / "net.safetensors"))
    assert torch.equal(read(x)[0], net(x)[0])
    assert build(net.definition()).definition() == net.definition()
    assert type(cell).__name__ in LIQUID


@each
def test_a_network_takes_it(make: Callable[[], Liquid]) -> None:
    cell = seeded(make)
    net = neuro.Sequential(
        cell, neuro.Linear(2 if cell.units == 11 else 6, 4), neuro.LIF(4, tau=20 * cell.dt, dt=cell.dt)
    ).double()
    out, state = net(X)
    assert [s is None for s in state] == [False, True, False]
    assert list(net.cells) == ["2"]
    recorded = neuro.record(net, X)
    assert torch.equal(recorded["0"]["z"], cell(X)[0])
    assert torch.equal(recorded["0"]["state"][-1], state[0][0])
    assert torch.equal(recorded["2"]["z"], out)
    neuro.calibrate(net, X)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(X)[0], net(X)[0])


@each
def test_a_network_hands_on_the_time_that_passed(make: Callable[[], Liquid]) -> None:
    cell = seeded(make)
    outputs = 2 if cell.units == 11 else 6
    net = neuro.Sequential(cell, neuro.Linear(outputs, 4)).double()
    out, _ = net(X, timespans=TIMES)
    assert torch.equal(out, net.layers["1"](cell(X, None, TIMES)[0]))
    assert not torch.allclose(out, net(X)[0], atol=1e-4)
    with pytest.raises(InputError, match=r"for liquid cells, but layers \['1'\] go by steps"):
        neuro.Sequential(cell, neuro.LI(outputs, tau=9.0, dt=cell.dt))(X, timespans=TIMES)
    with pytest.raises(InputError, match="recompute and timespans do not go together"):
        net(X, timespans=TIMES, recompute=3)


@each
def test_no_step_leaves_the_state_alone(make: Callable[[], Liquid]) -> None:
    cell = seeded(make)
    state = (torch.rand(5, cell.units, dtype=torch.float64),)
    y, (after,) = cell(X[:0], state)
    assert y.shape[:2] == (0, 5)
    assert torch.equal(after, state[0])


@each
def test_training_keeps_it_finite_and_lowers_the_loss(make: Callable[[], Liquid]) -> None:
    cell = seeded(make)
    target = 0.6 + 0.3 * torch.sin(X.cumsum(0)[:, :, :1])
    optimizer = torch.optim.Adam(cell.parameters(), 0.02)
    losses = []
    for _ in range(30):
        loss = F.mse_loss(cell(X, None, TIMES)[0][:, :, :1], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_time_constants_stay_in_the_bounds_of_the_paper() -> None:
    torch.manual_seed(0)
    cell = neuro.LTC(4, neuro.AutoNCP(16, 3)).double()
    low, high = cell.time_constants()
    c, leak = F.softplus(cell.get_parameter("capacitance")), F.softplus(cell.get_parameter("leak"))
    assert torch.allclose(high, c / leak)
    assert bool((low > 0).all())
    assert bool((low < high).all())
    # The same bounds, measured: one long step pulls a state by its conductance, which tau = C / conductance limits.
    # With a step h much shorter than tau, v' - v = h / tau (target - v): two starts a distance apart give tau.
    single = neuro.LTC(4, neuro.AutoNCP(16, 3), unfolds=1).double()
    single.load_state_dict(cell.state_dict())
    h = 1e-7
    x = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 100
    v = torch.rand(6, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    times = torch.full((1, 6), h, dtype=torch.float64)
    with torch.no_grad():
        for neuron in (0, 5, 15):  # moved alone: none of these synapses onto itself is in an NCP's motor or inter layer
            moved = v.clone()
            moved[:, neuron] += 0.5
            gap = single(x, (moved,), times)[1][0][:, neuron] - single(x, (v,), times)[1][0][:, neuron]
            tau = h / (1 - gap / 0.5)
            if single.wiring.internal()[neuron, neuron] == 0:
                assert bool((tau > low[neuron] * 0.999).all())
                assert bool((tau < high[neuron] * 1.001).all())


def test_state_stays_between_leak_and_reversal_whatever_the_input() -> None:
    torch.manual_seed(0)
    cell = neuro.LTC(4, 10).double()
    x = torch.randn(50, 7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1e6
    with torch.no_grad():
        _, _, traced = cell.trace(x, None, torch.full((50,), 40.0, dtype=torch.float64))
    ends = torch.cat([cell.v_leak, cell.get_parameter("reversal"), cell.get_parameter("sensory_reversal")]).detach()
    assert float(ends.min()) <= float(traced["state"].min()) <= float(traced["state"].max()) <= float(ends.max())


def test_parameters_stay_positive_by_construction() -> None:
    torch.manual_seed(0)
    cell = neuro.LTC(3, 5)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.sub_(8.0)  # what a step much too long would do
    low, high = cell.time_constants()
    assert bool((low > 0).all())
    assert bool(torch.isfinite(high).all())
    assert bool(torch.isfinite(cell(X.float())[0]).all())


def test_only_synapses_that_exist_have_parameters() -> None:
    cell = neuro.LTC(20, neuro.AutoNCP(28, 4))
    internal, sensory = cell.synapses
    assert sensory == 140
    assert sum(p.numel() for p in cell.parameters()) == 4 * (internal + sensory) + 3 * 28 + 2 * 20 + 2 * 4


def test_initial_values_are_those_of_the_papers() -> None:
    cell = neuro.LTC(8, 40)
    c, leak = F.softplus(cell.get_parameter("capacitance").detach()), F.softplus(cell.get_parameter("leak").detach())
    assert 0.3999 <= float(c.min()) <= float(c.max()) <= 0.6001
    assert 0.0009 <= float(leak.min()) <= float(leak.max()) <= 1.0001
    sigma = cell.get_parameter("sigma").detach()
    assert 3 <= float(sigma.min()) <= float(sigma.max()) <= 8
    assert set(cell.get_parameter("reversal").unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: neuro.LTC(0, 4), "LTC inputs must be an integer from 1 on, got 0"),
        (lambda: neuro.LTC(3, 0), "units must be an integer from 1 on"),
        (lambda: neuro.LTC(3, 4, unfolds=0), "LTC unfolds must be"),
        (lambda: neuro.CfC(3, 4, dt=0.0), "CfC dt must be a finite time above 0 s, got 0.0"),
        (lambda: neuro.CfC(3, 4, dt=float("nan")), "CfC dt must be"),
        (lambda: neuro.CfC(3, 4, hidden=0), "CfC hidden must be"),
        (lambda: neuro.CfC(3, 4, mode="gate"), "unknown mode 'gate'; did you mean 'no_gate'"),
    ],
)
def test_bad_options_are_named(make: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"x": X[0]}, r"takes \[T, B, 3\] \(time first\), got \(5, 3\)"),
        ({"x": X[:, :, :2]}, r"takes \[T, B, 3\]"),
        ({"state": (torch.zeros(4, 6),)}, r"state must be one \[B, N\] = \(5, 6\), got \[\(4, 6\)\]"),
        ({"state": ()}, "state must be one"),
        ({"timespans": torch.ones(5, 12)}, r"timespans must be \[T\] or \[T, B\] = \(12, 5\), got \(5, 12\)"),
        ({"timespans": -torch.ones(12)}, "from 0 on, got a smallest of -1.0"),
        ({"route": neuro.Route(cut_time=True)}, "learns through time; use a rule that cuts no edge"),
        ({"backend": "cuda"}, "does not run on cpu"),
    ],
)
@pytest.mark.parametrize("make", [MAKERS[0], MAKERS[2]], ids=["ltc", "cfc"])
def test_bad_sequences_are_named(make: Callable[[], Liquid], given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        seeded(make)(**({"x": X} | given))


@pytest.mark.peers
def test_ltc_equals_ncps_with_its_weights() -> None:
    ncps = pytest.importorskip("ncps.torch", reason="ncps is not installed")
    wirings = pytest.importorskip("ncps.wirings")
    theirs = ncps.LTC(3, wirings.AutoNCP(13, 2)).double()
    there = theirs.rnn_cell
    cell = neuro.LTC(3, neuro.AutoNCP(13, 2)).double()
    adjacency = (
        torch.from_numpy(there._wiring.adjacency_matrix),
        torch.from_numpy(there._wiring.sensory_adjacency_matrix),
    )
    cell._connect("", adjacency[0])
    cell._connect("sensory_", adjacency[1])
    cell.double()

    with torch.no_grad():
        for kind, origin in (("", adjacency[0]), ("sensory_", adjacency[1])):
            post, pre = origin.t().nonzero().unbind(1)
            for name, ours in (("mu", "mu"), ("sigma", "sigma"), ("w", "weight"), ("erev", "reversal")):
                cell.get_parameter(kind + ours).copy_(there._params[kind + name][pre, post])
        for name, ours in (("cm", "capacitance"), ("gleak", "leak"), ("vleak", "v_leak")):
            cell.get_parameter(ours).copy_(there._params[name])  # positive by softplus, there too
        wanted = theirs(X.transpose(0, 1))[0].transpose(0, 1)
        assert torch.allclose(cell(X)[0], wanted, atol=1e-6)
        for b in range(2):  # elapsed times: one sample at a time, where its timespans are applied as documented
            one = theirs(X[:, b : b + 1].transpose(0, 1), timespans=TIMES[:, b].unsqueeze(0))[0].transpose(0, 1)
            assert torch.allclose(cell(X[:, b : b + 1], None, TIMES[:, b])[0], one, atol=1e-6)


@pytest.mark.peers
@pytest.mark.parametrize("mode", ["default", "no_gate", "pure"])
def test_cfc_equals_ncps_with_its_weights(mode: str) -> None:
    ncps = pytest.importorskip("ncps.torch", reason="ncps is not installed")
    theirs = ncps.CfC(3, 7, mode=mode, backbone_units=11).double()
    there, cell = theirs.rnn_cell, neuro.CfC(3, 7, mode=mode, hidden=11).double()
    heads = [there.ff1] if mode == "pure" else [there.ff1, there.ff2, there.time_a, there.time_b]
    with torch.no_grad():
        cell.input_weight.copy_(there.backbone[0].weight[:, :3])
        cell.state_weight.copy_(there.backbone[0].weight[:, 3:])
        cell.hidden_bias.copy_(there.backbone[0].bias)
        cell.head_weight.copy_(torch.cat([head.weight for head in heads]))
        cell.head_bias.copy_(torch.cat([head.bias for head in heads]))
        if mode == "pure":
            cell.get_parameter("constants").copy_(torch.cat([there.w_tau, there.A]))
        wanted = theirs(X.transpose(0, 1))[0].transpose(0, 1)
        assert torch.allclose(cell(X)[0], wanted, rtol=1e-12, atol=1e-13)
        for b in range(2):
            one = theirs(X[:, b : b + 1].transpose(0, 1), timespans=TIMES[:, b].unsqueeze(0))[0].transpose(0, 1)
            assert torch.allclose(cell(X[:, b : b + 1], None, TIMES[:, b])[0], one, rtol=1e-12, atol=1e-13)
