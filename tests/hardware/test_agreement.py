from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError
from neuro.hardware import compare, export
from neuro.hardware.judges import JUDGES, Judge

Maker = Callable[..., neuro.Sequential]
Poisson = Callable[..., Tensor]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.nir"


def test_the_file_read_back_gives_every_spike(spiking: Maker, poisson: Poisson, path: Path) -> None:
    net, x = spiking(reset="subtract", method="exponential", v_leak=0.05), poisson(40, 9, 12)
    export(net, path, allow=("reset",))
    result = compare(net, path, x, judges=(), batch=4)
    assert result.exact
    assert (result.path, result.steps, result.dt) == (path, 40, 1e-3)
    recorded = neuro.record(net, x)
    for row, name in zip(result.rows, ("1", "3"), strict=True):
        fired = int(recorded[name]["z"].sum())
        assert fired > 0
        assert (row.reader, row.layer, row.quantity) == ("neuro, read back", name, "spikes")
        assert (row.here, row.there, row.different, row.equal) == (fired, fired, 0, 1.0)
        assert (row.samples, row.samples_equal, row.reason) == (9, 9, "")


def test_every_kind_of_layer(every_kind: neuro.Sequential, every_kind_file: Path, poisson: Poisson) -> None:
    result = compare(every_kind, every_kind_file, poisson(25, 5, 2, 8, 11) * 8, judges=(), batch=2)
    assert result.exact
    assert [(row.layer, row.quantity) for row in result.rows] == [
        ("lif", "spikes"), ("cuba", "spikes"), ("if", "spikes"), ("li", "membrane")
    ]  # fmt: skip
    assert (result.rows[3].here, result.rows[3].there) == (None, None)


def test_the_parts_of_a_batch_add_up(spiking: Maker, poisson: Poisson, path: Path) -> None:
    net, x = spiking(), poisson(20, 7, 12)
    export(net, path)
    assert compare(net, path, x, judges=(), batch=3).rows == compare(net, path, x, judges=(), batch=100).rows


def test_another_networks_file_is_found_out(spiking: Maker, poisson: Poisson, path: Path) -> None:
    export(spiking(tau=5e-3), path)
    result = compare(spiking(tau=10e-3), path, poisson(40, 6, 12), judges=())
    assert not result.exact
    row = result.rows[0]
    assert row.reason == "tau of layer '1' is another one in the file: it was not exported from this network"
    assert row.different is not None
    assert row.different > 0
    assert row.equal == pytest.approx(1 - row.different / (40 * 6 * 7))
    assert row.samples_equal is not None
    assert row.samples_equal < 6


def test_a_file_of_other_layers_is_refused(spiking: Maker, poisson: Poisson, path: Path) -> None:
    export(neuro.Sequential(neuro.Linear(12, 7), neuro.LIF(7)), path)
    with pytest.raises(InputError, match="holds the layers 0, 1, not 0, 1, 2, 3"):
        compare(spiking(), path, poisson(5, 2, 12), judges=())


def test_the_result_is_json_and_a_table(spiking: Maker, poisson: Poisson, path: Path) -> None:
    net = spiking()
    export(net, path)
    result = compare(net, path, poisson(10, 3, 12), judges=())
    loaded = json.loads(json.dumps(result.to_dict()))
    assert loaded["exact"] is True
    assert loaded["rows"][0]["layer"] == "1"
    lines = str(result).splitlines()
    assert len(lines) == 4
    assert lines[0].split()[:3] == ["layer", "output", "here"]
    assert lines[1] == "neuro, read back"
    assert "3 of 3" in lines[2]


def test_a_judge_that_is_not_installed_says_how(
    spiking: Maker, poisson: Poisson, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Judge("norse-of-nowhere", "pip install it", JUDGES["norse"].load, JUDGES["norse"].expressible_r)
    monkeypatch.setattr("neuro.hardware.agreement.JUDGES", {"norse": absent})
    net = spiking()
    export(net, path)
    result = compare(net, path, poisson(5, 2, 12), judges=("norse",))
    assert [row.reason for row in result.rows[2:]] == ["not installed: pip install it"] * 2
    assert [row.equal for row in result.rows[2:]] == [None, None]
    assert "not installed" in str(result)


@pytest.mark.parametrize("name", [*JUDGES])
def test_a_file_that_only_we_can_read_is_a_row(
    name: str, spiking: Maker, poisson: Poisson, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Judge, "version", "0")
    net = spiking(r=2.0)
    export(net, path)
    with h5py.File(path, "r+") as file:
        del file["node/nodes/1/r"]
        file["node/nodes/1/r"] = np.float32(2.0)
    result = compare(net, path, poisson(5, 2, 12), judges=(name,))
    assert result.exact
    assert {row.reason.partition(", ")[2] for row in result.rows[2:]} == {
        "AssertionError: All parameters must have the same shape"
    }


def test_what_cannot_be_compared(spiking: Maker, poisson: Poisson, path: Path) -> None:
    net = spiking()
    export(net, path)
    with pytest.raises(InputError, match="unknown judge 'nest'"):
        compare(net, path, poisson(5, 2, 12), judges=("nest",))
    for shape in ((5, 12), (5, 0, 12), (0, 2, 12)):
        with pytest.raises(InputError, match=r"compare needs an input \[T, B, ...\]"):
            compare(net, path, torch.zeros(shape), judges=())
    with pytest.raises(InputError, match="compare needs a network with cells"):
        compare(neuro.Sequential(neuro.Linear(12, 7)), path, poisson(5, 2, 12))
    with pytest.raises(InputError, match="no such file"):
        compare(net, path.with_name("gone.nir"), poisson(5, 2, 12))
