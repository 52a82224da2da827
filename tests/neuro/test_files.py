from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

import pytest

from neuro.errors import InputError
from neuro.files import atomic_write, cache_folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"before")
    return path


def write(target: Path, data: bytes) -> None:
    with atomic_write(target) as temporary:
        temporary.write_bytes(data)


def write_half(target: Path, error: BaseException) -> None:
    with atomic_write(target) as temporary:
        temporary.write_bytes(b"half")
        raise error


def test_the_target_is_replaced(target: Path) -> None:
    write(target, b"after")
    assert target.read_bytes() == b"after"
    assert list(target.parent.iterdir()) == [target]
    assert stat.S_IMODE(target.stat().st_mode) & 0o444 == 0o444


def test_the_target_stands_until_the_end(target: Path) -> None:
    with atomic_write(target) as temporary:
        temporary.write_bytes(b"half")
        assert target.read_bytes() == b"before"
        assert temporary.parent == target.parent
        assert temporary.suffix == target.suffix


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_a_failure_leaves_what_was_there(target: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        write_half(target, error)
    assert target.read_bytes() == b"before"
    assert list(target.parent.iterdir()) == [target]


def test_a_disk_that_fills_up_at_the_end_leaves_what_was_there(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(target, b"after")
    assert target.read_bytes() == b"before"
    assert list(target.parent.iterdir()) == [target]


def test_what_a_killed_process_left_goes_a_day_later(target: Path) -> None:
    names = {
        ".net.safetensors.abc_1234.safetensors": 2.0,  # ours and old
        ".net.safetensors.abcd1234.safetensors": 0.5,  # somebody may still be writing
        ".net.safetensors.abc12345.txt": 2.0,  # of no form of ours
        ".other.safetensors.abc12345.safetensors": 2.0,
    }
    for name, days in names.items():
        (target.parent / name).write_bytes(b"half")
        then = time.time() - days * 86400
        os.utime(target.parent / name, (then, then))
    write(target, b"after")
    assert {file.name for file in target.parent.iterdir()} == {target.name, *list(names)[1:]}


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "absent" / "file", b"")


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURO_CACHE", str(tmp_path / "here"))
    folder = cache_folder("kernels", "cpu")
    assert folder == tmp_path / "here" / "kernels" / "cpu"
    assert folder.is_dir()


def test_cache_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NEURO_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="NEURO_CACHE"):
        cache_folder("kernels")


def test_cache_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURO_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="not writable"):
        cache_folder()
