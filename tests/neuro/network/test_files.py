"""Definitions and files; what a sequential network read back does."""

from __future__ import annotations

import copy
import json
import pickle  # noqa: TID251 - of our own making, in memory
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import neuro
from neuro.errors import FileFormatError, InputError
from neuro.network import build


def network() -> neuro.Sequential:
    torch.manual_seed(1)
    net = neuro.Sequential(
        {
            "conv": neuro.Conv2d(2, 4, 3),
            "cell": neuro.CuBaLIF((4, 6, 6), tau_mem=torch.full((4, 6, 6), 0.01), w_in=2.0),
            "pool": neuro.SumPool2d(2),
            "flat": neuro.Flatten(),
            "dense": neuro.Linear(36, 5),
            "out": neuro.LIF(5, tau=5e-3, learn=("tau", "v_threshold")),
        }
    )
    with torch.no_grad():
        net.layers["conv"].weight.mul_(40)  # type: ignore[operator]
        net.layers["dense"].weight.mul_(40)  # type: ignore[operator]
    return net


X = (torch.rand(15, 3, 2, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.2).float()


def test_splitting_time_and_carrying_state_changes_nothing() -> None:
    net = network()
    whole, last = net(X)
    assert bool(whole.any())
    first, middle = net(X[:4])
    second, end = net(X[4:], middle)
    assert torch.equal(torch.cat([first, second]), whole)
    assert [s is None for s in end] == [True, False, True, True, True, False]
    assert torch.equal(end[-1][0], last[-1][0])
    y, _ = net.step(X[0], net.initial_state(3))
    assert torch.equal(y, whole[0])


def test_compiled_as_one_graph_gives_the_same_spikes_and_gradients() -> None:
    net = network()
    net.layers["cell"].requires_grad_(True)
    expected, _ = net(X)
    expected.sum().backward()
    wanted = {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    torch.compiler.reset()
    actual, _ = torch.compile(net, fullgraph=True, backend="aot_eager")(X)
    assert torch.equal(actual, expected)
    actual.sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, wanted[name], rtol=1e-4, atol=1e-4), name


def test_record_sees_what_runs() -> None:
    net = network()
    recorded = neuro.record(net, X)
    assert list(recorded) == ["cell", "out"]
    assert set(recorded["cell"]) == {"z", "i", "v"}
    assert torch.equal(recorded["out"]["z"], net(X)[0])
    assert recorded["cell"]["v"].shape == (15, 3, 4, 6, 6)
    assert torch.equal(recorded["cell"]["v"] > 1, recorded["cell"]["z"] > 0)


def test_file_round_trip_is_exact(tmp_path: Path) -> None:
    net = network()
    path = neuro.save(net, tmp_path / "net.safetensors")
    assert neuro.save(net, tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    again = neuro.load(path)
    assert again.definition() == net.definition()
    assert torch.equal(again(X)[0], net(X)[0])
    assert json.loads(json.dumps(net.definition())) == net.definition()


class Own(neuro.Cell):
    """A cell that the library does not know."""

    equations = neuro.Equations("Own", "dv/dt = (x - v)/tau\noutput v", {"tau": neuro.Parameter(0.02, "s", True)})


def test_a_cell_of_ones_own_is_read_back_when_named(tmp_path: Path) -> None:
    net = neuro.Sequential(neuro.Linear(3, 2), Own(2))
    path = neuro.save(net, tmp_path / "own.safetensors")
    with pytest.raises(InputError, match="unknown layer type 'Own'"):
        neuro.load(path)
    x = torch.ones(4, 1, 3)
    assert torch.equal(neuro.load(path, cells=[Own])(x)[0], net(x)[0])


@pytest.mark.parametrize("keep", [0, 1, 7, 100, 0.5, 0.99])
def test_truncated_files_are_refused(tmp_path: Path, keep: float) -> None:
    path = neuro.save(network(), tmp_path / "net.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(FileFormatError, match=r"net\.safetensors"):
        neuro.load(path)


def test_foreign_and_missing_files_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(FileFormatError, match="not written by"):
        neuro.load(tmp_path / "other.safetensors")
    with pytest.raises(FileFormatError, match="no such file"):
        neuro.load(tmp_path / "none.safetensors")
    save_file(
        {"a": torch.ones(2)}, tmp_path / "odd.safetensors", metadata={"neuro": json.dumps(network().definition())}
    )
    with pytest.raises(FileFormatError, match="does not fit"):
        neuro.load(tmp_path / "odd.safetensors")


def test_unknown_layers_are_named() -> None:
    with pytest.raises(InputError, match=r"has no definition\(\)"):
        neuro.Sequential(torch.nn.ReLU()).definition()
    with pytest.raises(InputError, match="did you mean 'Linear'"):
        build({"layers": [{"name": "0", "type": "Liner"}]})
    with pytest.raises(InputError, match="is no network"):
        build({"type": "LIF", "layers": []})


def test_networks_of_networks_are_written_whole(tmp_path: Path) -> None:
    torch.manual_seed(2)
    body = neuro.Sequential(neuro.Linear(4, 4), neuro.LIF(4, tau=3e-3), neuro.binarise(neuro.Linear(4, 4)))
    nodes = {
        "a": neuro.Residual(body, neuro.Linear(4, 4), mode="iand"),
        "b": neuro.Recurrent(neuro.LIF(4, tau=2e-3)),
        "both": neuro.Concatenate(2),
        "back": neuro.Linear(4, 4),
    }
    edges = [("input", "a"), ("a", "b"), ("b", "back", 3e-3), ("back", "b", 2e-3), ("a", "both"), ("b", "both", 1e-3)]
    net = neuro.Graph(nodes, [*edges, ("both", "output")])
    for parameter in net.parameters():
        parameter.data.mul_(20)
    x = torch.rand(11, 2, 4)
    again = neuro.load(neuro.save(net, tmp_path / "net.safetensors"))
    assert again.definition() == net.definition()
    assert torch.equal(again(x)[0], net(x)[0])
    assert bool(net(x)[0].any())
    assert torch.equal(copy.deepcopy(net)(x)[0], net(x)[0])


def test_networks_pickle() -> None:
    graph = neuro.Graph({"c": neuro.LI(5)}, [("input", "c"), ("c", "output")])
    net = neuro.Sequential(graph, neuro.Residual(neuro.Sequential(neuro.Linear(5, 5), neuro.LIF(5))))
    x = torch.rand(6, 2, 5)
    assert torch.equal(pickle.loads(pickle.dumps(net))(x)[0], net(x)[0])
