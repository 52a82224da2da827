from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neuro
from neuro.errors import FileFormatError, InputError
from neuro.hardware.nir_read import READERS, read
from neuro.hardware.nir_write import write
from neuro.neurons import Cell


def facts(net: neuro.Sequential) -> dict[str, object]:
    """All that decides what ``net`` does, with the bits of every number."""
    found: dict[str, object] = {"order": list(net.layers)}
    for name, layer in net.layers.items():
        values = layer.parameters_si() if isinstance(layer, Cell) else dict(layer.named_parameters())
        found |= {f"{name}.{k}": (v.dtype, tuple(v.shape), v.detach().numpy().tobytes()) for k, v in values.items()}
        if isinstance(layer, Cell):
            found[name] = (type(layer).__name__, layer.size, layer.dt, layer.method, layer.reset)
        else:
            found[name] = (type(layer).__name__, layer.definition())  # type: ignore[operator]
    return found


def outcome(path: Path, **given: Any) -> dict[str, object] | str:
    """What reading a file gives: the facts, or the text of the refusal."""
    try:
        return facts(read(path, **given))
    except InputError as error:
        return str(error)


def edit(path: Path, change: Callable[[h5py.File], None]) -> Path:
    changed = path.with_name("changed.nir")
    shutil.copy(path, changed)
    with h5py.File(changed, "r+") as file:
        change(file)
    return changed


def replace(file: h5py.File, name: str, value: object) -> None:
    del file[name]
    file[name] = value


def perturbed(value: object) -> object:
    """Something else of the same type and shape."""
    if isinstance(value, bytes):
        return value.decode() + "x"
    if isinstance(value, np.ndarray):
        changed = value.copy()
        changed.flat[0] += 1
        return changed
    return value + 1  # type: ignore[operator]


def fields(path: Path) -> list[str]:
    """Paths of all data sets below the nodes of a file."""
    found: list[str] = []
    with h5py.File(path) as file:
        file["node/nodes"].visititems(
            lambda name, item: found.append(f"node/nodes/{name}") if isinstance(item, h5py.Dataset) else None
        )
    return found


def test_the_round_trip_keeps_everything(
    every_kind: neuro.Sequential, every_kind_file: Path, poisson: Callable[..., torch.Tensor]
) -> None:
    twin = read(every_kind_file)
    assert facts(twin) == facts(every_kind)
    x = poisson(40, 3, 2, 8, 11) * 8
    out, _ = every_kind(x)
    assert torch.equal(twin(x)[0], out)
    assert all(bool(traces["z"].any()) for traces in neuro.record(every_kind, x).values())


def test_every_field_of_every_node_matters(every_kind: neuro.Sequential, every_kind_file: Path) -> None:
    original = facts(every_kind)
    names = fields(every_kind_file)
    assert len(names) > 50
    for name in names:
        changed = edit(every_kind_file, lambda file, name=name: replace(file, name, perturbed(file[name][()])))  # type: ignore[misc]
        seen = outcome(changed)
        assert seen != original, f"{name} was changed without effect"
        if isinstance(seen, str):
            assert seen.startswith(f"{changed}: node "), (name, seen)
            assert "\n" not in seen


def test_every_field_left_out_is_missed_or_has_the_default_of_nir(
    every_kind: neuro.Sequential, every_kind_file: Path
) -> None:
    original = facts(every_kind)
    checks_only = {"node/nodes/conv/input_shape", "node/nodes/flat/input_type", "node/nodes/output/shape"}
    checks_only |= {"node/nodes/flat/end_dim"}  # NIR's default is what we write
    checks_only |= {f"node/nodes/{n}/metadata/neuro/reset" for n in ("lif", "cuba", "if")}  # as is "value"
    checks_only |= {f"node/nodes/{n}/metadata/neuro/mode" for n in ("dense", "last")}  # "auto"
    for name in fields(every_kind_file):
        changed = edit(every_kind_file, lambda file, name=name: file.__delitem__(name))  # type: ignore[misc]
        seen = outcome(changed)
        assert (seen == original) == (name in checks_only), (name, seen)
        assert isinstance(seen, dict) or "\n" not in seen


def test_a_field_more_stops_the_import(every_kind: neuro.Sequential, every_kind_file: Path) -> None:
    for name in [*every_kind.layers, "input", "output"]:
        changed = edit(every_kind_file, lambda file, name=name: file.__setitem__(f"node/nodes/{name}/bits", 8))  # type: ignore[misc]
        with pytest.raises(InputError, match=rf"node '{name}' \(\w+\): field 'bits' = 8 is not understood"):
            read(changed)
        assert facts(read(changed, allow=("bits",))) == facts(every_kind)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("conv/dilation", [2, 2], "field 'dilation' = (2, 2) is not 1"),
        ("conv/groups", 2, "field 'groups' = 2 is not 1"),
        ("conv/padding", "same", "field 'padding' = 'same' with a kernel of (3, 4)"),
        ("conv/bias", np.zeros(4, "f4"), "'weight' and 'bias' have the shapes (3, 2, 3, 4) and (4,)"),
        ("conv/weight", np.zeros((3, 2), "f4"), "not (out, in, height, width)"),
        ("pool/stride", [1, 1], "field 'stride' = (1, 1) is not the kernel size (2, 4)"),
        ("pool/padding", [1, 0], "field 'padding' = (1, 0) is not 0"),
        ("flat/start_dim", 1, "field 'start_dim' = 1 leaves axes of (3, 4, 2) as they are"),
        ("flat/end_dim", 1, "field 'end_dim' = 1 leaves axes"),
        ("dense/weight", np.zeros(5, "f4"), "not (out, in)"),
        ("affine/bias", np.zeros((5, 1), "f4"), "not (out, in) and (out,)"),
        ("lif/tau", np.zeros((3, 8, 8), "f4"), "tau must be positive"),
        ("lif/tau", np.ones((8, 8), "f4"), "field 'tau' has the shape (8, 8), but (3, 8, 8) comes in"),
        ("li/metadata/neuro/dt", -1.0, "dt = -1.0 is not a positive number of seconds"),
        ("li/metadata/neuro/dt", "1 ms", "dt = '1 ms' is not a positive"),
        ("li/metadata/neuro/method", "heun", "unknown method 'heun'"),
        ("lif/metadata/neuro/reset", "soft", "unknown reset 'soft'"),
    ],
)
def test_what_a_sequence_cannot_express_is_named(field: str, value: object, says: str, every_kind_file: Path) -> None:
    changed = edit(every_kind_file, lambda file: replace(file, f"node/nodes/{field}", value))
    with pytest.raises(InputError) as caught:
        read(changed)
    assert says in str(caught.value)
    assert f"node {field.split('/')[0]!r}" in str(caught.value)


def test_padding_in_words(tmp_path: Path) -> None:
    net = neuro.Sequential(neuro.Conv2d(1, 2, (3, 5), padding=(1, 2)))
    write(net, tmp_path / "a.nir", shape=(1, 6, 6))
    same = edit(tmp_path / "a.nir", lambda file: replace(file, "node/nodes/0/padding", "same"))
    assert facts(read(same)) == facts(net)
    net = neuro.Sequential(neuro.Conv2d(1, 2, (3, 5)))
    write(net, tmp_path / "a.nir", shape=(1, 6, 6))
    valid = edit(tmp_path / "a.nir", lambda file: replace(file, "node/nodes/0/padding", "valid"))
    assert facts(read(valid)) == facts(net)


@pytest.mark.parametrize("kind", ["Threshold", "I", "Delay", "NIRGraph", "Nonsense"])
def test_a_node_of_another_type_is_refused(kind: str, every_kind_file: Path) -> None:
    changed = edit(every_kind_file, lambda file: replace(file, "node/nodes/affine/type", kind))
    with pytest.raises(InputError, match=rf"node 'affine' \({kind}\): this type of node is not in neuro.Sequential"):
        read(changed)


def test_edges_are_the_order(every_kind: neuro.Sequential, every_kind_file: Path) -> None:
    def shuffle(file: h5py.File) -> None:
        edges = file["node/edges"][()]
        replace(file, "node/edges", edges[np.random.default_rng(0).permutation(len(edges))])

    assert facts(read(edit(every_kind_file, shuffle))) == facts(every_kind)
    with pytest.raises(InputError, match="have no input"):
        read(edit(every_kind_file, lambda file: replace(file, "node/edges", file["node/edges"][()][:-2])))


def graph_file(path: Path, **nodes: nir.NIRNode) -> Path:
    names = list(nodes)
    nir.write(path, nir.NIRGraph(nodes, list(pairwise(names)), type_check=False))
    return path


def lif_file(path: Path, size: int = 3, **changed: np.ndarray) -> Path:
    """A file as another library writes it: no metadata."""
    values = {"tau": 0.01, "r": 2.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.5}
    arrays = {k: np.full(size, v, np.float32) for k, v in values.items()} | changed
    shape = np.array([size])
    ends = (nir.Input(input_type={"input": shape}), nir.Output(output_type={"output": shape}))
    return graph_file(path, **{"input": ends[0], "a.lif": nir.LIF(**arrays), "output": ends[1]})


def test_a_file_without_dt_asks_for_dt_and_method(tmp_path: Path) -> None:
    path = lif_file(tmp_path / "a.nir")
    options: tuple[dict[str, Any], ...] = ({}, {"dt": 1e-4}, {"method": "euler"})
    for known in options:
        with pytest.raises(InputError, match=r"node 'a.lif' .*give dt= in seconds and method='euler' or"):
            read(path, **known)
    net = read(path, dt=2e-4, method="exponential")
    assert list(net.layers) == ["a_lif"]
    cell = net.cells["a_lif"]
    assert (cell.dt, cell.method, cell.reset, cell.learn) == (2e-4, "exponential", "value", ())
    assert cell.parameters_si()["v_reset"].tolist() == [0.5] * 3
    with pytest.raises(InputError, match="unknown method 'heun'"):
        read(path, dt=1e-4, method="heun")
    with pytest.raises(InputError, match=r"dt = 0\.0 is not a positive"):
        read(path, dt=0.0, method="euler")


def test_what_the_file_says_may_be_repeated_but_not_contradicted(tmp_path: Path) -> None:
    write(neuro.Sequential(neuro.LIF(3)), tmp_path / "a.nir")
    assert read(tmp_path / "a.nir", dt=1e-3, method="euler").dt == 1e-3
    with pytest.raises(InputError, match=r"node '0' .*dt=0.0001 was given but the file says 0.001; leave dt out"):
        read(tmp_path / "a.nir", dt=1e-4)
    with pytest.raises(InputError, match="method='exponential' was given but the file says 'euler'"):
        read(tmp_path / "a.nir", method="exponential")


def test_a_refractory_period_comes_back_from_the_metadata(tmp_path: Path, poisson: Callable[..., torch.Tensor]) -> None:
    held = torch.tensor([0.0, 2e-3, 5e-3])
    net = neuro.Sequential({"a": neuro.LIF(3, tau=5e-3, refractory=held), "b": neuro.IF(3, r=400.0, refractory=4e-3)})
    write(net, tmp_path / "a.nir", allow=("refractory",))
    twin = read(tmp_path / "a.nir")
    x = poisson(60, 4, 3, rate=0.6) * 8
    assert torch.equal(twin(x)[0], net(x)[0])
    assert 0 < net(x)[0].sum() < neuro.Sequential(neuro.IF(3, r=400.0))(net.cells["a"](x)[0])[0].sum()
    changed = edit(tmp_path / "a.nir", lambda file: file.__delitem__("node/nodes/b/metadata/neuro/refractory"))
    assert not torch.equal(read(changed)(x)[0], net(x)[0])
    bad = edit(tmp_path / "a.nir", lambda file: replace(file, "node/nodes/b/metadata/neuro/refractory", [-1.0] * 3))
    with pytest.raises(InputError, match=r"node 'b' .*refractory must be 0 or at least half a step"):
        read(bad)


@pytest.mark.parametrize("size", [1, 3, 8, 17, 70])
def test_one_value_for_all_and_one_each_give_the_same_bits(size: int, tmp_path: Path) -> None:
    """The file holds an array where the network had one number; exp of either must be the same."""
    common: dict[str, Any] = {"method": "exponential", "learn": (), "v_leak": 0.1, "r": 1.7}
    net = neuro.Sequential(
        neuro.CuBaLIF(size, tau_syn=3.3e-3, tau_mem=7.1e-3, **common), neuro.LI(size, tau=13e-3, **common)
    )
    write(net, tmp_path / "a.nir")
    x = torch.randn(50, 3, size, generator=torch.Generator().manual_seed(0)) * 9
    assert torch.equal(read(tmp_path / "a.nir")(x)[0], net(x)[0])


@pytest.mark.parametrize("name", ["layers", "forward", "a.b", "training"])
def test_names_that_a_module_cannot_have(name: str, tmp_path: Path) -> None:
    ends = (nir.Input(input_type={"input": np.array([2])}), nir.Output(output_type={"output": np.array([2])}))
    path = graph_file(tmp_path / "a.nir", **{"in": ends[0], name: nir.Linear(np.eye(2, dtype="f4")), "out": ends[1]})
    net = read(path)
    assert net(torch.ones(1, 1, 2))[0].tolist() == [[[1.0, 1.0]]]


def test_two_names_that_become_one(tmp_path: Path) -> None:
    ends = (nir.Input(input_type={"input": np.array([2])}), nir.Output(output_type={"output": np.array([2])}))
    eye = nir.Linear(np.eye(2, dtype="f4"))
    path = graph_file(tmp_path / "a.nir", **{"in": ends[0], "a.b": eye, "a_b": eye, "out": ends[1]})
    with pytest.raises(InputError, match="have the same name"):
        read(path)


def test_a_number_for_all_neurons_is_one_value_each(tmp_path: Path) -> None:
    path = edit(lif_file(tmp_path / "a.nir"), lambda file: replace(file, "node/nodes/a.lif/r", np.float32(4)))
    assert read(path, dt=1e-3, method="euler").cells["a_lif"].parameters_si()["r"].tolist() == [4.0] * 3


def test_precision_is_kept_or_its_loss_allowed(tmp_path: Path) -> None:
    path = lif_file(tmp_path / "a.nir", tau=np.full(3, 0.01))
    with pytest.raises(InputError, match="field 'tau' is float64 and rounds in float32"):
        read(path, dt=1e-3, method="euler")
    net = read(path, dt=1e-3, method="euler", allow=("precision",))
    assert net.cells["a_lif"].parameters_si()["tau"].dtype is torch.float32


def test_a_float64_network_stays_one(spiking: Callable[..., neuro.Sequential], tmp_path: Path) -> None:
    net = spiking().double()
    write(net, tmp_path / "a.nir")
    twin = read(tmp_path / "a.nir")
    assert facts(twin) == facts(net)
    assert twin.get_parameter("0.weight").dtype is torch.float64


def test_a_graph_needs_an_input(tmp_path: Path) -> None:
    path = graph_file(tmp_path / "a.nir", a=nir.Linear(np.eye(2, dtype="f4")), b=nir.Linear(np.eye(2, dtype="f4")))
    with pytest.raises(InputError, match=r"node 'a' \(Linear\): comes first but is no Input"):
        read(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.__delitem__("version"), "no NIR graph in it"),
        (lambda f: f.__delitem__("node"), "no NIR graph in it (it holds version)"),
        (lambda f: replace(f, "node/type", "LIF"), "holds a 'LIF', not a NIRGraph"),
        (lambda f: f.__delitem__("node/nodes"), "no group of nodes"),
        (lambda f: f.__setitem__("node/nodes/stray", 1), "no group of nodes"),
        (lambda f: f.__delitem__("node/edges"), "no list of edges"),
        (lambda f: replace(f, "node/edges", [1, 2]), "no list of edges"),
    ],
)
def test_hdf5_that_is_no_nir(change: Callable[[h5py.File], None], says: str, every_kind_file: Path) -> None:
    with pytest.raises(FileFormatError) as caught:
        read(edit(every_kind_file, change))
    assert says in str(caught.value)


def test_a_field_of_the_graph_that_is_unknown(every_kind_file: Path) -> None:
    with pytest.raises(InputError, match="the graph has a field 'delays'"):
        read(edit(every_kind_file, lambda file: file.__setitem__("node/delays", 1)))


def test_damage_anywhere_gives_the_network_or_one_line(tmp_path: Path) -> None:
    path = lif_file(tmp_path / "damaged.nir")
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.integers(0, len(whole), 300):
        damaged = bytearray(whole)
        damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        seen = outcome(path, dt=1e-3, method="euler")
        if isinstance(seen, str):
            assert "\n" not in seen
            refused += 1
    assert refused > 5


units = st.integers(1, 5)
small = st.floats(-3, 3, width=32)


@settings(max_examples=25)
@given(st.data())
def test_random_networks_come_back_bit_by_bit(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    method = data.draw(st.sampled_from(["euler", "exponential"]))
    dt = data.draw(st.sampled_from([1e-3, 2.5e-4]))
    shape = (data.draw(units), data.draw(st.integers(3, 7)), data.draw(st.integers(3, 7)))
    kernel = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)))
    padding = (data.draw(st.integers(0, 2)), data.draw(st.integers(0, 1)))
    stride = (data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2)))
    conv = neuro.Conv2d(shape[0], data.draw(units), kernel, padding=padding, stride=stride)
    grid = tuple(conv(torch.zeros(1, 1, *shape)).shape[2:])
    n, m = int(np.prod(grid)), data.draw(units)
    common: dict[str, Any] = {"dt": dt, "method": method}
    net = neuro.Sequential(
        conv,
        neuro.LIF(grid, tau=0.02 * torch.rand(grid) + 1e-3, v_leak=data.draw(small), r=data.draw(small), **common),
        neuro.Flatten(),
        neuro.Linear(n, m, bias=data.draw(st.booleans())),
        neuro.CuBaLIF(m, tau_syn=torch.rand(m) + 1e-3, w_in=torch.randn(m), v_reset=data.draw(small), **common),
        neuro.IF(m, r=torch.randn(m), v_threshold=data.draw(small), **common),
        neuro.LI(m, learn=("tau", "r"), **common),
    )
    path = tmp_path_factory.mktemp("random") / "a.nir"
    write(net, path, shape=shape)
    twin = read(path)
    assert facts(twin) == facts(net)
    x = torch.randn(6, 2, *shape) * 20
    for ours, theirs in zip(neuro.record(net, x).values(), neuro.record(twin, x).values(), strict=True):
        assert all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_every_reader_has_a_node_in_the_network_above(every_kind_file: Path) -> None:
    kinds = {type(node).__name__ for node in nir.read(every_kind_file, type_check=False).nodes.values()}
    assert kinds - {"Input", "Output"} == set(READERS) - {
        "AvgPool2d",
        "Conv1d",
        "Scale",
    }  # in test_nir_mean_pool.py, test_nir_one_axis.py
