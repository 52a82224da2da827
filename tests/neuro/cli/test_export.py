from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import neuro
from neuro import hardware

if TYPE_CHECKING:
    from tests.neuro.cli.conftest import Call, SmallDisk


def test_the_file_read_back_spikes_the_same(run: Path, call: Call) -> None:
    outcome = call("export", run)
    assert (outcome.status, outcome.err) == (0, "")
    found = json.loads((run / "export.json").read_text())
    assert found["exact"] is True
    ours = [row for row in found["rows"] if row["reader"].startswith("neuro")]
    assert [(row["layer"], row["samples_equal"], row["different"]) for row in ours] == [("1", 359, 0), ("3", 359, 0)]
    assert all(row["here"] > 0 for row in ours)
    assert {row["reader"].split()[0] for row in found["rows"]} == {"neuro,", "norse", "snntorch"}
    assert all(row["reason"] for row in found["rows"] if row["samples_equal"] != 359)
    assert found["export"]["target"] == "nir"
    assert "every spike of all 359 test samples is the same" in outcome.out
    assert list(hardware.read(run / "network.nir").layers) == ["0", "1", "2", "3"]


def test_check_compares_what_is_there(run: Path, call: Call) -> None:
    assert call("export", run, "--check").complaint().startswith(f"{run / 'network.nir'} does not exist")
    net = neuro.load(run / "network.safetensors")
    other = run / "other.nir"
    assert call("export", run, "--path", other).status == 0
    assert call("export", run, "--path", other).complaint().startswith(f"{other} exists; name another --path")
    whole = other.read_bytes()
    assert call("export", run, "--path", other, "--check").status == 0
    assert other.read_bytes() == whole
    weight = net.get_parameter("0.weight")
    weight.data.mul_(1.5)
    hardware.export(net, other, overwrite=True)
    outcome = call("export", run, "--path", other, "--check")
    assert (outcome.status, len(outcome.err.splitlines())) == (1, 1)
    assert f"{other} does not give the spikes of" in outcome.err
    assert json.loads((run / "export.json").read_text())["exact"] is False


def test_damaged_file_and_unknown_target(run: Path, call: Call) -> None:
    path = run / "network.nir"
    hardware.export(neuro.load(run / "network.safetensors"), path)
    whole = path.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert str(path) in call("export", run, "--check").complaint()
    line = call("export", run, "--target", "nri").complaint()
    assert line == "unknown target 'nri'; did you mean 'nir'? (known: nir)"


def test_full_disk(run: Path, small_disk: SmallDisk, call: Call) -> None:
    with small_disk("16k") as disk:
        (disk / "kept.txt").write_text("kept")
        line = call("export", run, "--path", disk / "net.nir").complaint()
        assert line.startswith("disk full: 0.0 MB free for ")
        assert [p.name for p in disk.iterdir()] == ["kept.txt"]
