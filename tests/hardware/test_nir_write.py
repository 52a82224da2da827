from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import nir
import numpy as np
import pytest
import torch
from torch import nn

import neuro
from neuro.errors import InputError
from neuro.hardware.nir_write import WRITERS, write


def bits(values: object) -> bytes:
    return np.ascontiguousarray(values).tobytes()


def test_the_nir_library_reads_every_value_with_its_bits(every_kind: neuro.Sequential, every_kind_file: Path) -> None:
    graph = nir.read(every_kind_file, type_check=False)
    for name, cell in every_kind.cells.items():
        node = graph.nodes[name]
        for parameter, value in cell.parameters_si().items():
            assert getattr(node, parameter).shape == cell.size
            assert bits(getattr(node, parameter)) == bits(value.numpy()), (name, parameter)
    for name in ("conv", "dense", "affine", "last"):
        for parameter, tensor in every_kind.layers[name].named_parameters():
            assert bits(getattr(graph.nodes[name], parameter)) == bits(tensor.detach().numpy()), (name, parameter)
    kinds = [type(graph.nodes[name]).__name__ for name in every_kind.layers]
    expected = ["Conv2d", "LIF", "SumPool2d", "Flatten", "Linear", "CubaLIF", "Affine", "IF", "Affine", "LI"]
    assert kinds == expected
    assert set(graph.edges) == set(zip(["input", *every_kind.layers], [*every_kind.layers, "output"], strict=True))
    assert tuple(graph.nodes["input"].input_type["input"]) == (2, 8, 11)
    assert tuple(graph.nodes["output"].output_type["output"]) == (2,)


def test_what_nir_lacks_is_in_the_metadata(every_kind_file: Path) -> None:
    graph = nir.read(every_kind_file, type_check=False)
    assert graph.metadata["neuro"]["version"] == neuro.__version__
    ours = graph.nodes["li"].metadata["neuro"]
    assert (float(ours["dt"]), ours["method"]) == (1e-3, "exponential")
    assert "reset" not in ours
    assert graph.nodes["lif"].metadata["neuro"]["reset"] == "value"


def test_a_file_of_square_kernels_passes_the_check_of_nir(tmp_path: Path) -> None:
    net = neuro.Sequential(
        neuro.Conv2d(2, 3, 3, stride=2, padding=1), neuro.LIF((3, 4, 4)), neuro.SumPool2d(2), neuro.Flatten(),
        neuro.Linear(12, 5), neuro.LIF(5),
    )  # fmt: skip
    written = write(net, tmp_path / "a.nir", shape=(2, 8, 8))
    assert nir.read(tmp_path / "a.nir").check_types()
    assert not any("type_check=False" in note for note in written.notes)
    assert written.nodes[0] == "0: Conv2d 2x8x8 -> 3x4x4"
    assert written.parameters == 3 * 2 * 9 + 3 + 5 * 48 + 12 * 5 + 5 + 5 * 5


def test_a_kernel_that_is_not_square_is_noted(every_kind: neuro.Sequential, tmp_path: Path) -> None:
    notes = write(every_kind, tmp_path / "a.nir").notes
    assert any("type_check=False" in note for note in notes)
    with pytest.raises(ValueError, match="type mismatch"):
        nir.read(tmp_path / "a.nir")


def test_notes_say_what_others_will_not_see(tmp_path: Path) -> None:
    net = neuro.Sequential(neuro.Conv2d(1, 2, 3, bias=False), neuro.LIF((2, 4, 4), method="exponential", reset="none"))
    notes = "\n".join(write(net, tmp_path / "a.nir", allow=("reset",)).notes)
    assert "'exponential'" in notes
    assert "reset='none' is not in NIR" in notes
    assert "without bias" in notes
    assert "dt = 0.001 s" in notes
    plain = "\n".join(write(neuro.Sequential(neuro.LIF(2)), tmp_path / "b.nir").notes)
    assert "exponential" not in plain
    assert "reset=" not in plain


@pytest.mark.parametrize("reset", ["subtract", "none"])
def test_a_reset_that_nir_has_not_is_refused(reset: str, tmp_path: Path) -> None:
    net = neuro.Sequential({"in": neuro.Linear(3, 2), "hidden": neuro.LIF(2, reset=reset)})
    with pytest.raises(InputError, match=rf"layer 'hidden' \(LIF\): reset='{reset}' .*allow=\('reset',\)"):
        write(net, tmp_path / "a.nir")
    assert not list(tmp_path.iterdir())
    write(net, tmp_path / "a.nir", allow=("reset",))


def test_a_refractory_period_is_refused(tmp_path: Path) -> None:
    net = neuro.Sequential(neuro.Linear(3, 2), neuro.LIF(2, refractory=3e-3))
    with pytest.raises(InputError, match=r"layer '1' \(LIF\): a refractory period .*allow=\('refractory',\)"):
        write(net, tmp_path / "a.nir", allow=("reset",))
    assert not list(tmp_path.iterdir())
    notes = write(net, tmp_path / "a.nir", allow=("refractory",)).notes
    assert "lost elsewhere: a refractory period is not in NIR" in notes


def test_a_layer_without_a_node_is_refused(tmp_path: Path) -> None:
    class Dropout(nn.Dropout):
        pass

    with pytest.raises(
        InputError, match=r"layer '1' \(Dropout\) has no node in NIR \(known: AvgPool2d, Conv1d, Conv2d"
    ):
        write(neuro.Sequential(neuro.Linear(3, 2), Dropout()), tmp_path / "a.nir")


def test_a_cell_of_ones_own_is_refused_and_not_taken_for_its_base(tmp_path: Path) -> None:
    class Noisy(neuro.LIF):
        pass

    with pytest.raises(InputError, match=r"layer '0' \(Noisy\)"):
        write(neuro.Sequential(Noisy(3)), tmp_path / "a.nir")


def test_shapes_that_do_not_fit_name_the_layer(tmp_path: Path) -> None:
    net = neuro.Sequential(neuro.Linear(3, 2), neuro.LIF(3))
    with pytest.raises(InputError, match=r"layer '1' \(LIF\): expects \(3,\), got \(2,\)"):
        write(net, tmp_path / "a.nir")
    conv = neuro.Sequential(neuro.Conv2d(1, 2, 3, stride=2), neuro.LIF((2, 3, 3)))
    with pytest.raises(InputError, match=r"layer '0' leaves the shape of the input open; give shape="):
        write(conv, tmp_path / "a.nir")
    with pytest.raises(InputError, match=r"layer '1' \(LIF\): expects"):
        write(conv, tmp_path / "a.nir", shape=(1, 9, 9))


def test_layers_called_input_and_output(tmp_path: Path) -> None:
    net = neuro.Sequential({"input": neuro.Linear(3, 2), "output": neuro.LIF(2)})
    write(net, tmp_path / "a.nir")
    graph = nir.read(tmp_path / "a.nir")
    assert set(graph.edges) == {("input_", "input"), ("input", "output"), ("output", "output_")}


def test_a_full_disk_leaves_the_earlier_file(
    spiking: Callable[..., neuro.Sequential], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.nir"
    write(spiking(), path)
    before = path.read_bytes()

    def full(target: Path, data: bytes) -> int:
        with target.open("wb") as stream:
            stream.write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write(spiking(tau=5e-3), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_learned_values_are_the_constrained_ones(tmp_path: Path) -> None:
    net = neuro.Sequential(neuro.LIF(4, tau=10e-3, learn=("tau", "v_threshold")))
    with torch.no_grad():
        net.get_parameter("0.log_tau").add_(torch.tensor([0.0, 0.5, -0.5, 1.0]))
    write(net, tmp_path / "a.nir")
    assert nir.read(tmp_path / "a.nir").nodes["0"].tau == pytest.approx(10e-3 * np.exp([0, 0.5, -0.5, 1]), rel=1e-6)


def test_names_of_parameters_are_those_of_nir() -> None:
    """A cell is written by renaming nothing, so its declaration must use NIR's words."""
    pairs = [(neuro.LIF, nir.LIF), (neuro.CuBaLIF, nir.CubaLIF), (neuro.LI, nir.LI), (neuro.IF, nir.IF)]
    for ours, theirs in pairs:
        fields = set(theirs.__dataclass_fields__) - {"input_type", "output_type", "metadata"}
        assert set(ours.equations.parameters) == fields
        assert ours in WRITERS


def test_one_axis_one_to_one_and_sparse_go_there_and_back(tmp_path: Path) -> None:
    net = neuro.Sequential(
        neuro.OneToOne((2, 11)), neuro.Conv1d(2, 3, 4, stride=2, padding=1), neuro.LIF((3, 5), tau=2e-3),
        neuro.Flatten(), neuro.SparseLinear(15, 6, fan_in=4, seed=2), neuro.LIF(6, tau=2e-3),
        neuro.SparseLinear(6, 4, density=0.5, bias=False), neuro.LI(4),
    )  # fmt: skip
    with torch.no_grad():
        for name, parameter in net.named_parameters():  # excitation only, so that all layers spike
            if not name.endswith("tau"):
                parameter.uniform_(0.5, 2, generator=torch.Generator().manual_seed(4))
    written = write(net, tmp_path / "a.nir")
    assert [line.split()[1] for line in written.nodes[:2]] == ["Scale", "Conv1d"]
    assert any("sparse synapses are written as a dense matrix" in note for note in written.notes)
    read = neuro.hardware.read(tmp_path / "a.nir")
    assert [type(layer).__name__ for layer in read.layers.values()][4] == "Linear"
    x = torch.rand(20, 3, 2, 11, generator=torch.Generator().manual_seed(5))
    assert torch.allclose(read(x)[0], net(x)[0], atol=1e-5)
    assert bool(net(x)[0].any())


def test_a_scale_has_no_bias(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"layer '0' \(OneToOne\) has a bias"):
        write(neuro.Sequential(neuro.OneToOne(3, bias=True), neuro.LIF(3)), tmp_path / "a.nir")
