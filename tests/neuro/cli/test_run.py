from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from neuro.cli.command import Parser
from neuro.cli.config import TrainConfig
from neuro.cli.run import Run, add_run, given_run, open_run
from neuro.errors import InputError


def test_begin_makes_the_folder_and_removes_what_was_derived(tmp_path: Path) -> None:
    run = Run(tmp_path / "a" / "b")
    run.begin(TrainConfig(epochs=3))
    stale = [run.log, run.summary, run.evaluation, run.arrays, run.nir, run.agreement, run.report]
    for path in [*stale, run.root / "notes.txt"]:
        path.write_text("old")
    run.begin(TrainConfig(epochs=4))
    assert {path.name for path in run.root.iterdir()} == {"config.yaml", "notes.txt"}
    assert run.load_config().epochs == 4


def test_check_free(tmp_path: Path) -> None:
    Run(tmp_path / "new").check_free(overwrite=False)
    Run(tmp_path).check_free(overwrite=False)  # empty
    run = Run(tmp_path / "run")
    run.begin(TrainConfig())
    run.check_free(overwrite=True)
    with pytest.raises(InputError, match=r"output .*run exists; go on with it by --resume, replace it by --overwrite"):
        run.check_free(overwrite=False)
    for overwrite in (False, True):
        with pytest.raises(InputError, match="exists and is not a run"):
            Run(tmp_path).check_free(overwrite=overwrite)
        with pytest.raises(InputError, match="is a file"):
            Run(run.config).check_free(overwrite=overwrite)


def test_open_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run folder .*none does not exist; neuro train --output .*none makes one"):
        open_run(tmp_path / "none")
    with pytest.raises(InputError, match="is not the folder of a run"):
        open_run(tmp_path)
    run = Run(tmp_path / "run")
    run.begin(TrainConfig())
    assert open_run(str(run.root)) == run
    with pytest.raises(InputError, match="is a file"):
        open_run(run.config)


def test_a_run_on_another_machine(run: Path) -> None:
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("device: cpu", "device: cuda:7").replace("threads: 1", "threads: 512"))
    parser = Parser(prog="neuro try")
    add_run(parser)
    _, config = given_run(parser.parse([str(run), "--device", "cpu", "--threads", "0", "--cache", "elsewhere"]))
    saved = Run(run).load_config()
    assert (saved.device, saved.threads) == ("cuda:7", 512)
    assert config == saved.model_copy(update={"device": "cpu", "threads": 0, "cache": Path("elsewhere")})
    with pytest.raises(InputError, match="--threads is 'x'"):
        given_run(parser.parse([str(run), "--threads", "x"]))


def test_weights_missing_or_damaged(run: Path) -> None:
    opened = open_run(run)
    whole = opened.training.weights.read_bytes()
    assert [type(layer).__name__ for layer in opened.load_network().layers.values()] == ["Linear", "LIF"] * 2
    for size in (0, 7, len(whole) // 2, len(whole) - 1):
        opened.training.weights.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"network\.safetensors.*neuro train --resume --output") as caught:
            opened.load_network()
        assert "\n" not in str(caught.value)
    opened.training.weights.unlink()
    with pytest.raises(InputError, match=r"holds no weights .* train first: neuro train --resume --output"):
        opened.load_network()


def test_write_is_whole_or_not_at_all(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write(run.summary, {"a": [1, 2]})
    with pytest.raises(TypeError):
        run.write(run.summary, {"a": object()})
    assert json.loads(run.summary.read_text()) == {"a": [1, 2]}
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_a_run_can_be_moved(run: Path, tmp_path: Path) -> None:
    moved = shutil.move(run, tmp_path / "elsewhere")
    assert open_run(moved).load_network().cells
