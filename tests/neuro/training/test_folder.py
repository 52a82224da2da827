from __future__ import annotations

import csv
from pathlib import Path

import pytest

from neuro.errors import InputError
from neuro.training.folder import RunFolder, write_history

ROWS = [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": 1 / 3}]


@pytest.fixture
def held(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.open(resume=False, overwrite=False)
    write_history(folder.metrics, ROWS)
    folder.checkpoint.write_bytes(b"x")
    folder.tensorboard.mkdir()
    (folder.tensorboard / "events").write_bytes(b"x")
    (folder.root / "notes.txt").write_text("mine")
    return folder


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a" / "b")
    folder.open(resume=False, overwrite=False)
    assert folder.checkpoint.parent.is_dir()


def test_a_folder_without_a_run_is_taken(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("epochs: 3")
    RunFolder(tmp_path).open(resume=False, overwrite=False)
    assert (tmp_path / "config.yaml").read_text() == "epochs: 3"


def test_a_run_is_not_touched_unasked(held: RunFolder) -> None:
    with pytest.raises(InputError, match=r"holds a run \(metrics.csv\); set resume or overwrite"):
        held.open(resume=False, overwrite=False)
    assert held.checkpoint.read_bytes() == b"x"


def test_overwrite_deletes_the_run_and_nothing_else(held: RunFolder) -> None:
    held.open(resume=False, overwrite=True)
    assert sorted(p.name for p in held.root.rglob("*")) == ["checkpoints", "notes.txt"]


def test_resume_keeps_everything(held: RunFolder) -> None:
    held.open(resume=True, overwrite=False)
    assert held.checkpoint.read_bytes() == b"x"
    assert held.metrics.exists()


def test_resume_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to resume"):
        RunFolder(tmp_path / "absent").open(resume=True, overwrite=False)
    assert not (tmp_path / "absent").exists()


def test_resume_and_overwrite_exclude_each_other(held: RunFolder) -> None:
    with pytest.raises(InputError, match="exclude"):
        held.open(resume=True, overwrite=True)
    assert held.metrics.exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="is a file"):
        RunFolder(tmp_path / "run").open(resume=False, overwrite=True)


def test_numbers_survive_the_csv_to_the_last_bit(tmp_path: Path) -> None:
    write_history(tmp_path / "m.csv", ROWS)
    with (tmp_path / "m.csv").open(newline="") as stream:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]
    assert rows == ROWS
