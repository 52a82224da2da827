"""Recurrent layers with inputs of their own obey the laws of a cell; the EGRU is what its paper says."""

from __future__ import annotations

import copy
import pickle  # noqa: TID251 - that layers pickle is the point
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import neuro
from neuro.errors import InputError
from neuro.layer import Population
from neuro.neurons import POPULATIONS
from neuro.neurons.gated import RecurrentLayer

MAKERS: tuple[Callable[[], RecurrentLayer], ...] = (
    lambda: neuro.EGRU(3, 6),
    lambda: neuro.EGRU(3, 6, threshold=0.1, dropconnect=0.4, surrogate=neuro.Surrogate("triangle", 0.28, 0.6)).eval(),
    lambda: neuro.ELSTM(3, 6, forget_bias=0.5, dt=2e-3),
    lambda: neuro.LeakyRNN(3, 6, tau=(2e-3, 9e-3)),
)
each = pytest.mark.parametrize("make", MAKERS, ids=("egru", "egru-options", "elstm", "leaky"))

X = 2 * torch.randn(12, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def seeded(make: Callable[[], Any]) -> Any:
    torch.manual_seed(3)
    return make().double()


@each
def test_shapes_and_repr(make: Callable[[], RecurrentLayer]) -> None:
    cell = seeded(make)
    y, state = cell(X)
    assert y.shape == (12, 5, 6)
    assert [s.shape for s in state] == [(5, 6)] * len(cell.states)
    assert isinstance(cell, Population)
    assert repr(cell) == f"{type(cell).__name__}(3, 6, dt={cell.dt:g})"
    assert bool(y.any())


@each
def test_splitting_time_and_single_steps_change_nothing(make: Callable[[], RecurrentLayer]) -> None:
    cell = seeded(make)
    whole, last = cell(X)
    for cut in (0, 1, 5, 12):
        first, middle = cell(X[:cut])
        second, end = cell(X[cut:], middle)
        assert torch.allclose(torch.cat([first, second]), whole, rtol=1e-13, atol=1e-14)
        assert all(torch.allclose(a, b, rtol=1e-13, atol=1e-14) for a, b in zip(end, last, strict=True))
    state = cell.initial_state(5, dtype=torch.float64)
    for x, wanted in zip(X, whole, strict=True):
        y, state = cell.step(x, state)
        assert torch.allclose(y, wanted, rtol=1e-13, atol=1e-14)


@each
def test_order_in_the_batch_does_not_matter(make: Callable[[], RecurrentLayer]) -> None:
    cell = seeded(make)
    y, _ = cell(X)
    for b in range(5):
        assert torch.allclose(cell(X[:, b : b + 1])[0], y[:, b : b + 1], rtol=1e-12, atol=1e-13)


@each
def test_equals_the_reference_in_both_precisions(make: Callable[[], RecurrentLayer]) -> None:
    cell = seeded(make)
    y, state = cell(X)
    wanted, last = cell(X, backend="reference")
    assert torch.allclose(y, wanted, rtol=1e-12, atol=1e-13)
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-13) for a, b in zip(state, last, strict=True))
    single = seeded(make).float()(X.float())[0]
    assert single.dtype == torch.float32
    assert float((single - y).detach().abs().mean()) < 1e-4


@each
@pytest.mark.parametrize("route", [neuro.Route(), neuro.Route(cut_time=True), neuro.Route(cut_reset=False)], ids=str)
def test_gradients_equal_the_reference_and_every_parameter_learns(
    make: Callable[[], RecurrentLayer], route: neuro.Route
) -> None:
    cell = seeded(make)
    generator = torch.Generator().manual_seed(5)
    found = []
    for backend in ("reference", "numba"):
        leaves = [X.clone(), *(torch.rand(5, 6, generator=generator.manual_seed(7)).double() for _ in cell.states)]
        leaves = [leaf.requires_grad_() for leaf in leaves]
        y, state = cell(leaves[0], tuple(leaves[1:]), route=route, backend=backend)
        weights = torch.randn(y.shape, generator=generator.manual_seed(8), dtype=y.dtype)
        loss = (y * weights).sum() + sum((s * weights[0]).sum() for s in state)
        leaves += cell.parameters()
        found.append(torch.autograd.grad(loss, leaves, materialize_grads=True))
    for wanted, ours in zip(*found, strict=True):
        assert float((wanted - ours).abs().max()) <= 1e-10 * (1 + float(wanted.abs().max()))
    learned = dict(zip((n for n, _ in cell.named_parameters()), found[1][-len(list(cell.parameters())) :], strict=True))
    assert [n for n, g in learned.items() if not bool(g.any())] == []


@each
def test_copies_and_files_keep_it(make: Callable[[], RecurrentLayer], tmp_path: Path) -> None:
    cell = seeded(make).float()
    x = X.float()
    wanted = cell(x)[0]
    for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert torch.equal(other(x)[0], wanted)
    net = neuro.Sequential(cell, neuro.Linear(6, 2))
    read = neuro.load(neuro.save(net, tmp_path / "net.safetensors")).eval()
    assert torch.equal(read(x)[0], net(x)[0])
    assert neuro.build(net.definition()).definition() == net.definition()
    assert POPULATIONS[type(cell).__name__] is type(cell)


@each
def test_a_network_takes_it(make: Callable[[], RecurrentLayer], tmp_path: Path) -> None:
    cell = seeded(make)
    net = neuro.Sequential(cell, neuro.Linear(6, 4), neuro.LIF(4, dt=cell.dt)).double().eval()
    out, state = net(X)
    recorded = neuro.record(net, X)
    assert torch.equal(recorded["0"]["z"], cell(X)[0])
    assert recorded["0"][cell.states[0]].shape == (12, 5, 6)
    assert torch.equal(recorded["2"]["z"], out)
    assert len(state) == 3
    neuro.calibrate(net, X)
    torch.compiler.reset()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(X)[0], net(X)[0])
    with pytest.raises(InputError, match=rf"layer '0' \({type(cell).__name__}\)"):
        neuro.hardware.export(net, tmp_path / "net.nir")


@each
def test_no_step_leaves_the_state_alone(make: Callable[[], RecurrentLayer]) -> None:
    cell = seeded(make)
    state = tuple(torch.rand(5, 6, dtype=torch.float64) for _ in cell.states)
    y, after = cell(X[:0], state)
    assert y.shape == (0, 5, 6)
    assert all(torch.equal(a, b) for a, b in zip(after, state, strict=True))


@each
def test_training_keeps_it_finite_and_lowers_the_loss(make: Callable[[], RecurrentLayer]) -> None:
    cell = seeded(make)
    target = 0.4 + 0.3 * torch.sin(X.cumsum(0)[:, :, :1])
    optimizer = torch.optim.Adam(cell.parameters(), 0.02)
    losses = []
    for _ in range(40):
        loss = F.mse_loss(cell(X)[0].sum(2, keepdim=True), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


# --- the EGRU itself ------------------------------------------------------------------------------------


def test_an_egru_takes_the_weights_of_a_gru_row_for_row() -> None:
    gru = torch.nn.GRU(3, 6).double()
    cell = seeded(MAKERS[0])
    with torch.no_grad():
        for ours, theirs in (
            ("input_weight", gru.weight_ih_l0),
            ("weight", gru.weight_hh_l0),
            ("input_bias", gru.bias_ih_l0),
            ("bias", gru.bias_hh_l0),
        ):
            cell.get_parameter(ours).copy_(theirs)
        cell.v_threshold.fill_(0.0)
        one, (c, _) = cell(X[:1])  # before anything negative is fed back, a GRU
        assert torch.allclose(c, gru(X[:1])[1][0], rtol=1e-12, atol=1e-14)
        assert torch.equal(one[0], c.relu())


def test_initial_values_are_those_of_the_paper() -> None:
    torch.manual_seed(0)
    cell = neuro.EGRU(40, 4000, threshold=0.3)
    assert 0.29 < float(cell.v_threshold.detach().mean()) < 0.31
    a, b = 3 * 0.3 / 0.7, 3.0
    assert float(cell.v_threshold.detach().var()) == pytest.approx(a * b / ((a + b) ** 2 * (a + b + 1)), rel=0.1)
    assert float(cell.input_weight.detach().std()) == pytest.approx((2 / (40 + 12000)) ** 0.5, rel=0.05)
    assert not bool(cell.bias.any() or cell.input_bias.any())
    assert (cell.surrogate.family, cell.surrogate.width, cell.surrogate.peak) == ("triangle", 1.0, 0.7)


def test_an_egru_has_the_parameters_of_a_gru_and_its_thresholds() -> None:
    made, gru = (sum(p.numel() for p in m.parameters()) for m in (neuro.EGRU(5, 7), torch.nn.GRU(5, 7)))
    assert made == gru + 7


def test_connections_are_dropped_in_training_only_and_drawn_for_the_sequence() -> None:
    cell = seeded(lambda: neuro.EGRU(3, 6, threshold=0.05, dropconnect=0.5))
    torch.manual_seed(1)
    first = cell(X)[0]
    torch.manual_seed(1)
    assert torch.equal(cell(X)[0], first)
    assert not torch.allclose(cell(X)[0], first)
    cell.eval()
    assert torch.equal(cell(X)[0], cell(X)[0])
    plain = neuro.EGRU(3, 6).double()
    plain.load_state_dict(cell.state_dict())
    assert torch.equal(plain(X)[0], cell(X)[0])


def test_a_layer_in_evaluation_and_one_of_many_units_read_only_what_was_sent() -> None:
    torch.manual_seed(0)
    cell = neuro.EGRU(20, 300, threshold=0.3)
    x = 3 * torch.randn(6, 16, 20)
    y, (_, last) = cell(x)
    assert 0.01 < float((y != 0).float().mean()) < 0.2
    assert torch.equal(last, y[-1])
    with torch.no_grad():
        assert torch.allclose(cell(x, backend="reference")[0], y, atol=1e-5)
    _, _, states = cell.trace(x)
    assert torch.equal(torch.where(states["c"] > cell.v_threshold, states["c"], 0.0), y)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: neuro.EGRU(0, 4), "EGRU inputs must be an integer from 1 on, got 0"),
        (lambda: neuro.EGRU(3, True), "units must be an integer from 1 on"),
        (lambda: neuro.EGRU(3, 4, dt=-1.0), "EGRU dt must be a positive number of seconds, got -1.0"),
        (lambda: neuro.EGRU(3, 4, threshold=1.0), "threshold is the mean of values between 0 and 1, got 1.0"),
        (lambda: neuro.EGRU(3, 4, dropconnect=1.0), "EGRU dropconnect must be a share from 0 on and below 1"),
        (
            lambda: neuro.EGRU(3, 4, surrogate="triangle"),  # type: ignore[arg-type]
            "surrogate must be a neuro.Surrogate, got 'triangle'",
        ),
        (lambda: neuro.ELSTM(3, 4, forget_bias=float("nan")), "forget_bias must be a finite number"),
        (lambda: neuro.LeakyRNN(3, 4, tau=(1e-4, 1e-3)), "tau must be two times in seconds, from dt = 0.001 on"),
        (lambda: neuro.LeakyRNN(3, 4, tau=(5e-3, 2e-3)), "and rising"),
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
        ({"x": 3.0}, r"takes \[T, B, 3\] \(time first\), got float"),
        ({"state": (torch.zeros(4, 6),)}, "state must be"),
        ({"state": ()}, "state must be"),
        ({"backend": "cuda"}, "does not run on cpu"),
    ],
)
@each
def test_bad_sequences_are_named(make: Callable[[], RecurrentLayer], given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        seeded(make)(**({"x": X} | given))
