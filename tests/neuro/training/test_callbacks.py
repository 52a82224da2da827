from __future__ import annotations

import io
import sys
from pathlib import Path
from types import ModuleType

import pytest

import neuro
from neuro.training.checkpoint import SECTION, read_checkpoint


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_one_line_with_loss_and_accuracy(toy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    result = neuro.fit(toy.make_net(), toy.make_data(), epochs=3)
    last = screen.getvalue().rstrip().split("\r")[-1]
    row = result.history[-1]
    assert last.startswith("epoch 3/3")
    assert f"loss {row['loss']:.3f}, validation {100 * row['validation_accuracy']:.1f} %" in last
    assert screen.getvalue().count("\n") == 1


@pytest.mark.parametrize("progress", [True, False])
def test_nothing_is_printed_where_nobody_watches(
    toy: ModuleType, capfd: pytest.CaptureFixture[str], progress: bool
) -> None:
    neuro.fit(toy.make_net(), toy.make_data(), epochs=1, progress=progress)
    seen = capfd.readouterr()
    assert (seen.out, seen.err) == ("", "")


def test_the_files_of_every_epoch_agree(toy: ModuleType, tmp_path: Path) -> None:
    result = neuro.fit(toy.make_net(), toy.make_data(), epochs=4, output=tmp_path / "run")
    folder = result.folder
    assert folder is not None
    saved = read_checkpoint(folder.checkpoint)[SECTION]
    assert saved["history"] == list(result.history)
    assert saved["best_epoch"] == result.best_epoch
    assert len(folder.metrics.read_text().splitlines()) == 1 + 4
    best = neuro.load(folder.weights)
    for name, value in best.state_dict().items():
        assert value.equal(saved["best_weights"][name])
    assert sorted(p.relative_to(folder.root).as_posix() for p in folder.root.rglob("*")) == [
        "checkpoints",
        "checkpoints/last.ckpt",
        "metrics.csv",
        "network.safetensors",
    ]


def test_tensorboard_beside_or_instead_of_csv(toy: ModuleType, tmp_path: Path) -> None:
    both = neuro.fit(toy.make_net(), toy.make_data(), epochs=1, output=tmp_path / "a", logger=("csv", "tensorboard"))
    one = neuro.fit(toy.make_net(), toy.make_data(), epochs=1, output=tmp_path / "b", logger="tensorboard")
    assert both.folder is not None
    assert one.folder is not None
    for folder in (both.folder, one.folder):
        assert any(p.name.startswith("events") for p in folder.tensorboard.iterdir())
    assert both.folder.metrics.exists()
    assert not one.folder.metrics.exists()
