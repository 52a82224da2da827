"""A recurrent layer obeys the laws of a cell, inside a network too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.layer import Population
from neuro.network import build

X = torch.randn(12, 3, 4, 2, generator=torch.Generator().manual_seed(2)) * 15 + 6


def layer() -> neuro.Recurrent:
    torch.manual_seed(0)
    return neuro.Recurrent(neuro.CuBaLIF((4, 2), tau_mem=8e-3, reset="subtract"), scale=60.0)


def network() -> neuro.Sequential:
    torch.manual_seed(1)
    net = neuro.Sequential(neuro.Linear(6, 20), neuro.Recurrent(neuro.LIF(20), scale=30.0), neuro.Linear(20, 2))
    with torch.no_grad():
        net.layers["0"].weight.mul_(60)  # type: ignore[operator]
    return net


EVENTS = (torch.rand(15, 3, 6, generator=torch.Generator().manual_seed(0)) < 0.3).float()


def test_splitting_time_and_single_steps_change_nothing() -> None:
    population = layer()
    whole, last = population(X)
    assert 0 < float(whole.detach().mean()) < 1
    first, middle = population(X[:5])
    second, end = population(X[5:], middle)
    assert torch.equal(torch.cat([first, second]), whole)
    assert all(torch.equal(a, b) for a, b in zip(end, last, strict=True))
    state = population.initial_state(3)
    for x, wanted in zip(X, whole, strict=True):
        z, state = population.step(x, state)
        assert torch.equal(z, wanted)


def test_no_step_leaves_the_state_alone() -> None:
    state = tuple(torch.rand(3, 4, 2) for _ in range(3))
    z, after = layer()(X[:0], state)
    assert z.shape == (0, 3, 4, 2)
    assert all(torch.equal(a, b) for a, b in zip(state, after, strict=True))


def test_the_weight_matters_with_one_step_of_delay() -> None:
    population = layer()
    other = neuro.Recurrent(population.cell, weight=torch.zeros(8, 8))
    connected, alone = population(X)[0], other(X)[0]
    first = int(alone.flatten(1).any(1).nonzero()[0])
    assert torch.equal(connected[: first + 1], alone[: first + 1])
    assert not torch.equal(connected, alone)
    assert torch.equal(alone, population.cell(X)[0])


def test_split_gradients_equal_whole_gradients() -> None:
    population = layer().double()
    (population(X.double())[0].sum()).backward()
    assert population.weight.grad is not None
    wanted = population.weight.grad.clone()
    population.zero_grad()
    first, state = population(X[:5].double())
    second, _ = population(X[5:].double(), state)
    (first.sum() + second.sum()).backward()
    assert torch.allclose(population.weight.grad, wanted, rtol=1e-10)
    assert bool(wanted.any())


def test_a_network_takes_it_and_the_file_keeps_it(tmp_path: Path) -> None:
    net = network()
    out, state = net(EVENTS)
    assert isinstance(net.layers["1"], Population)
    assert net.cells["1"] is net.layers["1"].cell
    assert [s is None for s in state] == [True, False, True]
    recorded = neuro.record(net, EVENTS)
    assert bool(recorded["1"]["z"].any())
    assert torch.equal(recorded["1"]["v"] > 1, recorded["1"]["z"] > 0)
    read = neuro.load(neuro.save(net, tmp_path / "net.safetensors"))
    assert torch.equal(read(EVENTS)[0], out)
    assert build(net.definition()).definition() == net.definition()


def test_a_cell_of_ones_own_is_read_back_inside() -> None:
    class Mine(neuro.Cell):
        equations = neuro.LIF.equations

    net = neuro.Sequential(neuro.Recurrent(Mine(3)))
    assert isinstance(build(net.definition(), cells=[Mine]).cells["0"], Mine)
    with pytest.raises(InputError, match="Mine"):
        build(net.definition())


def test_compiled_as_one_graph_gives_the_same_spikes_and_gradients() -> None:
    net = network()
    expected, _ = net(EVENTS)
    expected.sum().backward()
    wanted = {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
    assert "1.weight" in wanted
    net.zero_grad()
    torch.compiler.reset()
    actual, _ = torch.compile(net, fullgraph=True, backend="aot_eager")(EVENTS)
    assert torch.allclose(actual, expected, rtol=1e-5, atol=1e-5)
    actual.sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, wanted[name], rtol=1e-4, atol=1e-4), name


def test_calibration_scales_the_synapses_in_front_and_the_optimizer_sees_a_weight() -> None:
    from neuro.training.optimizer import parameter_groups

    net = neuro.calibrate(neuro.Sequential(neuro.Linear(6, 20), neuro.Recurrent(neuro.LIF(20))), EVENTS)
    assert bool(neuro.record(net, EVENTS)["1"]["z"].any())
    groups = {g["name"]: g["params"] for g in parameter_groups(net, lr=1e-3, cell_lr=1e-2, weight_decay=0.1)}
    assert any(p is net.layers["1"].weight for p in groups["weights"])
    assert [tuple(p.shape) for p in groups["cells"]] == [(20,)]


def test_nir_refuses_it_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"layer '1' \(Recurrent\)"):
        neuro.hardware.export(network(), tmp_path / "net.nir")
    assert not (tmp_path / "net.nir").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cell": neuro.Linear(2, 2)}, "takes a cell such as neuro.LIF"),
        ({"scale": -1.0}, "scale must be a finite number from 0 on"),
        ({"scale": float("nan")}, "scale must be"),
        ({"weight": torch.zeros(8, 2)}, r"\[N, N\] = \(8, 8\) \(post, pre\), got \(8, 2\)"),
        ({"weight": torch.full((8, 8), float("inf"))}, "must be finite"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        neuro.Recurrent(**({"cell": neuro.LIF((4, 2))} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("x", "state", "says"),
    [
        (X.flatten(2), None, r"takes \[T, B, 4, 2\]"),
        (X, (), "the last output"),
        (X, (torch.zeros(3, 4, 2),) * 2, "state must be 2 tensors"),
        (X, (torch.zeros(1, 4, 2),) * 3, "the last output"),
    ],
)
def test_bad_sequences_are_named(x: torch.Tensor, state: tuple[torch.Tensor, ...] | None, says: str) -> None:
    with pytest.raises(InputError, match=says):
        layer()(x, state)
