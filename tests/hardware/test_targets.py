from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import neuro
from neuro.errors import FileFormatError, InputError
from neuro.hardware import TARGETS, export, read

Maker = Callable[..., neuro.Sequential]


def test_a_report_says_what_was_written(spiking: Maker, tmp_path: Path) -> None:
    report = export(spiking(), tmp_path / "net.nir")
    assert report.target == "nir"
    assert report.path == tmp_path / "net.nir"
    assert report.nodes == ("0: Affine 12 -> 7", "1: LIF 7 -> 7", "2: Affine 7 -> 4", "3: LIF 4 -> 4")
    assert report.parameters == 7 * 12 + 7 + 5 * 7 + 4 * 7 + 4 + 5 * 4
    text = str(report)
    assert "4 nodes, 178 parameters" in text
    assert all(line in text for line in (*report.nodes, *report.notes))
    assert json.loads(json.dumps(report.to_dict()))["nodes"] == list(report.nodes)


def test_the_suffix_or_the_target_chooses(spiking: Maker, tmp_path: Path) -> None:
    net = spiking()
    export(net, tmp_path / "net.bin", "nir")
    assert torch.equal(read(tmp_path / "net.bin", "nir").get_parameter("0.weight"), net.get_parameter("0.weight"))
    for call in (lambda p: export(net, p), read):
        with pytest.raises(InputError, match=r"unknown target 'ni'; did you mean 'nir'\? \(known: nir\)"):
            call(tmp_path / "net.ni")
        with pytest.raises(InputError, match="unknown target 'net'"):
            call(tmp_path / "net")
    with pytest.raises(InputError, match="unknown target 'loihi'"):
        export(net, tmp_path / "net.nir", "loihi")


def test_nothing_is_overwritten_unasked(spiking: Maker, tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists; replace it with overwrite=True"):
        export(spiking(), path)
    assert path.read_text() == "mine"
    export(spiking(), path, overwrite=True)
    assert read(path).dt == 1e-3
    with pytest.raises(InputError, match="exists; name a file"):
        export(spiking(), tmp_path, "nir", overwrite=True)


def test_a_folder_must_be_there(spiking: Maker, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        export(spiking(), tmp_path / "no" / "net.nir")


def test_losses_are_named(spiking: Maker, tmp_path: Path) -> None:
    net = spiking(reset="subtract")
    with pytest.raises(InputError, match=r"unknown loss for target 'nir' 'rest'; did you mean 'reset'\?"):
        export(net, tmp_path / "net.nir", allow=("rest",))
    with pytest.raises(InputError, match="layer '1'"):
        export(net, tmp_path / "net.nir")
    export(net, tmp_path / "net.nir", allow="reset")
    assert {cell.reset for cell in read(tmp_path / "net.nir").cells.values()} == {"subtract"}


def test_only_a_sequential_is_exported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"only a chain of layers .neuro.Sequential. can be exported, got ReLU"):
        export(nn.ReLU(), tmp_path / "net.nir")  # type: ignore[arg-type]


def test_reading_reports_the_file_at_fault(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.nir: no such file"):
        read(tmp_path / "gone.nir")
    (tmp_path / "text.nir").write_text("hello")
    with pytest.raises(FileFormatError, match=r"text\.nir at byte 0: not an HDF5 file"):
        read(tmp_path / "text.nir")


def test_every_target_reads_what_it_writes(spiking: Maker, tmp_path: Path) -> None:
    net = spiking()
    for name, target in TARGETS.items():
        path = tmp_path / f"net{target.suffix}"
        assert export(net, path).target == name
        assert torch.equal(read(path).get_parameter("2.bias"), net.get_parameter("2.bias"))
