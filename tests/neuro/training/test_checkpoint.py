from __future__ import annotations

import errno
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import neuro
from neuro.errors import FileFormatError, InputError
from neuro.training.checkpoint import SECTION, AtomicCheckpointIO, check_architecture, read_checkpoint


def content() -> dict[str, Any]:
    return {"state_dict": {"w": torch.arange(500.0)}, "epoch": 3, SECTION: {"history": [{"loss": 1 / 3}]}}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    AtomicCheckpointIO().save_checkpoint(content(), tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_what_is_written_is_read(written: Path) -> None:
    made = AtomicCheckpointIO().load_checkpoint(written)
    assert torch.equal(made["state_dict"]["w"], torch.arange(500.0))
    assert made[SECTION] == {"history": [{"loss": 1 / 3}]}


def test_a_full_disk_leaves_the_earlier_file(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = written.read_bytes()

    def full(_path: Path, _data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint({SECTION: {}}, written)
    assert written.read_bytes() == before
    assert [p.name for p in written.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.95, 0.999])
def test_a_truncated_file_is_named(written: Path, share: float) -> None:
    whole = written.read_bytes()
    written.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FileFormatError, match=r"last\.ckpt: truncated or corrupt") as caught:
        read_checkpoint(written)
    assert "\n" not in str(caught.value)


def test_text_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_text("hello there, this is not a checkpoint")
    with pytest.raises(FileFormatError, match="corrupt"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_another_library_s_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "a.ckpt")
    with pytest.raises(FileFormatError, match="not a training checkpoint"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({SECTION: Evil()}, tmp_path / "a.ckpt")
    with pytest.raises(FileFormatError):
        read_checkpoint(tmp_path / "a.ckpt")
    assert not (tmp_path / "ran").exists()


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_removing_is_quiet(written: Path) -> None:
    AtomicCheckpointIO().remove_checkpoint(written)
    AtomicCheckpointIO().remove_checkpoint(written)
    assert not written.exists()


def saved(net: neuro.Sequential) -> dict[str, Any]:
    return {"definition": net.definition(), "best_weights": net.state_dict()}


def test_the_same_architecture_passes(toy: ModuleType) -> None:
    check_architecture(toy.make_net(seed=1), saved(toy.make_net(seed=2, tau=9e-3)), "last.ckpt")


def test_the_first_shape_that_differs_is_named(toy: ModuleType) -> None:
    said = r"in\.weight is \[8, 11\] in the file, \[7, 11\] in the network; build the network as it was trained"
    with pytest.raises(InputError, match=said):
        check_architecture(toy.make_net(7), saved(toy.make_net(8)), "last.ckpt")


def test_a_missing_layer_is_named(toy: ModuleType) -> None:
    longer = neuro.Sequential({**toy.make_net().layers, "extra": neuro.Linear(3, 2)})
    with pytest.raises(InputError, match=r"extra\.weight is \[2, 3\] in the file, missing in the network"):
        check_architecture(toy.make_net(), saved(longer), "last.ckpt")
    with pytest.raises(InputError, match=r"extra\.weight is missing in the file, \[2, 3\] in the network"):
        check_architecture(longer, saved(toy.make_net()), "last.ckpt")


def test_an_option_of_a_layer_that_differs_is_named(toy: ModuleType) -> None:
    other = neuro.Sequential({**toy.make_net().layers, "hidden": neuro.LIF(7, tau=5e-3, reset="subtract")})
    with pytest.raises(InputError, match=r"layers\.1\.reset is 'subtract' in the file, 'value' in the network"):
        check_architecture(toy.make_net(), saved(other), "last.ckpt")
