from __future__ import annotations

import json
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

import neuro
from neuro.cli.config import TrainConfig
from neuro.cli.config_file import load_settings

if TYPE_CHECKING:
    from tests.neuro.cli.conftest import Call, Outcome, Process, SmallDisk, Spawn


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the log, which also tells what was refused."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "log.txt"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def summary(folder: Path) -> dict[str, Any]:
    """Everything but the time it took."""
    read: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return {key: value for key, value in read.items() if key != "seconds"}


def test_what_a_run_leaves(trained: Path) -> None:
    names = {"config.yaml", "metrics.csv", "summary.json", "network.safetensors", "checkpoints/last.ckpt"}
    assert set(contents(trained)) == names
    assert "epoch 4/4" in (trained / "log.txt").read_text()
    found = summary(trained)
    assert (found["rule"], found["epochs"], found["seed"]) == ("bptt", 4, 0)
    assert found["parameters"] == 200 * 12 + 12 + 12 + 12 * 10 + 10 + 10
    assert found["validation_accuracy"] == pytest.approx(found["last_epoch"]["validation_accuracy"], abs=0.1)


def test_same_config_same_run_and_nothing_on_test(trained: Path, tmp_path: Path, call: Call) -> None:
    outcome = call("train", "--config", trained / "config.yaml", "--output", tmp_path / "again")
    assert (outcome.status, outcome.err) == (0, "")
    assert summary(tmp_path / "again") == summary(trained)
    again, first = contents(tmp_path / "again"), contents(trained)
    assert again["network.safetensors"] == first["network.safetensors"]
    assert again["metrics.csv"] == first["metrics.csv"]
    first_config, config = (load_settings(TrainConfig, f / "config.yaml") for f in (trained, tmp_path / "again"))
    assert config == first_config.model_copy(update={"output": tmp_path / "again"})
    assert "split with seed 0" in outcome.out
    assert "test accuracy" not in outcome.out
    for line in ("Linear(", "LIF(12", "total", "2,564", "validation accuracy", "next: neuro evaluate"):
        assert line in outcome.out


def test_flags_win_over_the_file_and_both_reach_the_run(
    small: tuple[str, ...], tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text("rule: sltt\nepochs: 5\nseed: 3\nloss: mean_membrane\nlr: 2e-3\n")
    assert call("train", "--config", "c.yaml", *small, "--epochs", "1", "--logger", "tensorboard").status == 0
    folder = tmp_path / "runs" / "digits-sltt-seed3"
    config = load_settings(TrainConfig, folder / "config.yaml")
    assert (config.rule, config.epochs, config.seed, config.lr) == ("sltt", 1, 3, 2e-3)
    assert (config.hidden, config.output) == ((12,), Path("runs/digits-sltt-seed3"))
    assert [type(layer).__name__ for layer in neuro.load(folder / "network.safetensors").layers.values()][-1] == "LI"
    assert list(folder.glob("tensorboard/events*"))
    assert (folder / "metrics.csv").exists()


def test_an_existing_run_is_asked_about_and_can_be_replaced(run: Path, small: tuple[str, ...], call: Call) -> None:
    (run / "evaluation.json").write_text("old")
    (run / "notes.txt").write_text("mine")
    before = contents(run)
    line = call("train", *small, "--epochs", "1", "--output", run).complaint()
    assert line == f"output {run} exists; go on with it by --resume, replace it by --overwrite, or name another folder"
    assert contents(run) == before
    assert call("train", *small, "--epochs", "1", "--output", run, "--overwrite").status == 0
    assert summary(run)["epochs"] == 1
    assert not (run / "evaluation.json").exists()
    assert (run / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("seed", "1", "--seed is 1, but the run in {run} was started with 0"),
        ("hidden", "12 12", "--hidden is (12, 12), but the run in {run} was started with (12,)"),
        ("epochs", "9", "--epochs is 9, but the run in {run} was started with 4"),
    ],
)
def test_resume_refuses_what_contradicts_the_run(run: Path, call: Call, key: str, text: str, message: str) -> None:
    before = contents(run)
    line = call("train", "--resume", "--output", run, f"--{key}", *text.split()).complaint()
    assert line.startswith(message.format(run=run))
    yaml = run.parent / "c.yaml"
    yaml.write_text(f"{key}: {[int(n) for n in text.split()] if key == 'hidden' else text}\n")
    assert call("train", "--resume", "--output", run, "--config", yaml).complaint() == line
    assert contents(run) == before


def test_resuming_a_finished_run_writes_damaged_weights_again(run: Path, call: Call) -> None:
    whole = contents(run)
    (run / "network.safetensors").write_bytes(b"damaged")
    assert call("train", "--resume", "--output", run, "--seed", "0").status == 0
    assert contents(run)["network.safetensors"] == whole["network.safetensors"]
    assert summary(run) == {k: v for k, v in json.loads(whole["summary.json"]).items() if k != "seconds"}


def foreign_checkpoint(run: Path) -> str:
    path = run / "checkpoints" / "last.ckpt"
    torch.save({"state_dict": {}}, path)
    return f"{path}: not a training checkpoint of neuro"


def other_architecture(run: Path) -> str:
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("hidden: [12]", "hidden: [13]"))
    return f"{run / 'checkpoints' / 'last.ckpt'}: checkpoint of another architecture"


def other_recipe(run: Path) -> str:
    path = run / "config.yaml"
    path.write_text(re.sub(r"^lr: \S+", "lr: 0.25", path.read_text(), flags=re.MULTILINE))
    return f"{run} was trained with option lr="


def wrong_type(run: Path) -> str:
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("epochs: 4", "epochs: soon"))
    return f"epochs in {path} is 'soon'; it must be an integer, at least 1"


def truncated_store(run: Path) -> str:
    path = run / "config.yaml"
    config = load_settings(TrainConfig, path)
    assert config.cache is not None
    copy = shutil.copytree(config.cache, run.parent / "cache")
    path.write_text(path.read_text().replace(str(config.cache), str(copy)))
    for store in copy.glob("*.h5"):
        store.write_bytes(store.read_bytes()[:-100])
    return str(copy)


def no_cuda(run: Path) -> str:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("device: cpu", "device: cuda"))
    return "device 'cuda' is not there: "


def unknown_device(run: Path) -> str:
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("device: cpu", "device: tpu"))
    return "unknown device 'tpu'"


def test_resume_may_change_the_machine(run: Path, call: Call) -> None:
    no_cuda(run)
    before = contents(run)
    outcome = call("train", "--resume", "--output", run, "--device", "cpu", "--threads", "1")
    assert (outcome.status, outcome.err) == (0, "")
    assert contents(run)["config.yaml"] == before["config.yaml"]


DAMAGES = (
    foreign_checkpoint,
    other_architecture,
    other_recipe,
    wrong_type,
    truncated_store,
    no_cuda,
    unknown_device,
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_resume_refuses_a_damaged_run_and_keeps_it(run: Path, call: Call, damage: Callable[[Path], str]) -> None:
    message = damage(run)
    before = contents(run)
    assert call("train", "--resume", "--output", run).complaint().startswith(message)
    assert contents(run) == before


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_resume_refuses_a_truncated_checkpoint(run: Path, call: Call, part: float) -> None:
    path = run / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    before = contents(run)
    line = call("train", "--resume", "--output", run).complaint()
    assert line.startswith(f"{path}: truncated or corrupt checkpoint, train again")
    assert contents(run) == before


def test_a_mistake_does_not_cost_the_run_that_was_to_be_replaced(run: Path, small: tuple[str, ...], call: Call) -> None:
    before = contents(run)
    for mistake in (["--device", "tpu"], ["--cache", run / "config.yaml"], ["--epochs", "0"]):
        assert call("train", *small, "--output", run, "--overwrite", *mistake).complaint()
        assert contents(run) == before


def stopped(process: Process, folder: Path, number: int, finish: Callable[[Process], Outcome]) -> Outcome:
    """Send a signal after the first epoch is on disk."""
    limit = time.monotonic() + 90
    while not (folder / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.002)
    process.send_signal(number)
    return finish(process)


def rows(folder: Path) -> int:
    return len((folder / "metrics.csv").read_text().splitlines()) - 1


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        pytest.param(signal.SIGKILL, -9, "", id="kill"),
        pytest.param(signal.SIGINT, 130, "interrupted", id="ctrl-c"),
        pytest.param(signal.SIGTERM, 143, "terminated", id="terminate", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    number: int, status: int, said: str, trained: Path, tmp_path: Path, spawn: Spawn, call: Call,
    finish: Callable[[Process], Outcome],
) -> None:  # fmt: skip
    folder = tmp_path / "stopped"
    process = spawn("train", "--config", trained / "config.yaml", "--output", folder)
    outcome = stopped(process, folder, number, finish)
    again = f"to go on after the last finished epoch: neuro train --resume --output {folder}"
    assert (outcome.status, outcome.err) == (status, f"neuro: {said}; {again}\n" if said else "")
    assert rows(folder) < 4
    assert not (folder / "summary.json").exists()
    assert call("train", "--resume", "--output", folder).status == 0
    assert summary(folder) == summary(trained)
    ended, whole = contents(folder), contents(trained)
    assert ended["metrics.csv"] == whole["metrics.csv"]
    assert ended["network.safetensors"] == whole["network.safetensors"]


def test_a_run_stopped_before_its_first_epoch_can_be_resumed(trained: Path, tmp_path: Path, call: Call) -> None:
    folder = tmp_path / "early"
    folder.mkdir()
    shutil.copy(trained / "config.yaml", folder)
    assert call("train", "--resume", "--output", folder).status == 0
    assert summary(folder) == summary(trained)


@pytest.mark.parametrize("size", ["8k", "20k", "40k"])
def test_full_disk(size: str, small: tuple[str, ...], small_disk: SmallDisk, call: Call) -> None:
    with small_disk(size) as disk:
        folder = disk / "run"
        line = call("train", *small, "--epochs", "1", "--output", folder).complaint()
        assert line.startswith("disk full: 0.0 MB free for ")
        assert str(folder) in line
        assert line.endswith(f"neuro train --resume --output {folder}")
        assert list(disk.rglob(".*")) == []


def test_full_disk_under_the_event_store(small_disk: SmallDisk, tmp_path: Path, call: Call) -> None:
    with small_disk("64k") as disk:
        flags = ("--sensor-size", "9", "--cache", disk, "--output", tmp_path / "run")
        assert "No space left on device" in call("train", *flags).complaint()
        assert list(disk.iterdir()) == []
    assert not (tmp_path / "run").exists()


def test_a_limit_on_file_sizes_is_met_like_a_full_disk(
    run: Path, small: tuple[str, ...], spawn: Spawn, finish: Callable[[Process], Outcome]
) -> None:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))"
    before = contents(run)
    folder = run.parent / "limited"
    line = finish(spawn("train", *small, "--epochs", "1", "--output", folder, before=limit)).complaint()
    assert line.startswith(f"a file in {folder} would exceed the limit on file sizes; raise it (ulimit -f)")
    assert set(contents(folder)) == {"config.yaml"}
    assert contents(run) == before


def test_a_run_selected_on_test_says_so_wherever_its_figures_stand(
    small: tuple[str, ...], tmp_path: Path, call: Call
) -> None:
    root = tmp_path / "chosen"
    done = call("train", *small, "--select-on", "test", "--audit", "--rate-low", "20", "--output", root)
    assert done.status == 0
    assert "test-selected (too good to report) accuracy" in done.out
    assert json.loads((root / "summary.json").read_text())["selected_on"] == "test"
    assert (root / "gradients.csv").read_text().startswith("epoch,name,cosine,norm,norm_bptt")
    assert "test-selected: the epoch was chosen on these samples" in call("evaluate", root).out
    assert json.loads((root / "evaluation.json").read_text())["selected_on"] == "test"
    assert call("report", root).status == 0
    page = (root / "report.html").read_text()
    assert "Test-selected accuracy" in page
    assert "selected on test: too good to report" in page


def test_a_temperature_needs_two_numbers(small: tuple[str, ...], tmp_path: Path, call: Call) -> None:
    done = call("train", *small, "--temperature", "2", "--output", tmp_path / "run")
    assert done.status == 2
    assert "--temperature takes two numbers, of the first and the last epoch, got (2.0,)" in done.err
