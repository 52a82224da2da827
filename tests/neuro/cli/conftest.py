"""A small run that the tests of the commands share, and ways to call the command."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from neuro.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a command line came to."""

    status: int
    out: str
    err: str

    def complaint(self) -> str:
        """The one line of a bad input, without its prefix."""
        lines = self.err.splitlines()
        assert (self.status, len(lines)) == (2, 1), f"{self.status}: {self.err}"
        assert lines[0].startswith("neuro: ")
        return lines[0].removeprefix("neuro: ")


Call: TypeAlias = Callable[..., Outcome]
Process: TypeAlias = "subprocess.Popen[str]"
Spawn: TypeAlias = Callable[..., Process]
SmallDisk: TypeAlias = Callable[[str], AbstractContextManager[Path]]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    """Run a command line in this process."""

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


def start(*arguments: object, before: str = "") -> Process:
    # A test run in the background hands on that Ctrl-C is to be ignored.
    lines = ("import signal, sys", "signal.signal(signal.SIGINT, signal.default_int_handler)", before)
    code = "\n".join([*lines, "from neuro.cli import main", "sys.exit(main())"])
    command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def spawn() -> Spawn:
    """Start a command line in a process of its own, after some code ``before``."""
    return start


@pytest.fixture
def finish() -> Callable[[Process], Outcome]:
    """Wait for the end of a process."""

    def wait(process: Process) -> Outcome:
        out, err = process.communicate(timeout=120)
        return Outcome(process.returncode, out, err)

    return wait


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the event stores of these tests are kept."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def small(cache: Path) -> tuple[str, ...]:
    """Flags of a training run that takes a second or two: ten pixels wide, fifteen steps long."""
    sizes = ("--sensor-size", "10", "--dt", "0.02", "--hidden", "12", "--batch-size", "128")
    return (*sizes, "--cache", str(cache))


@pytest.fixture(scope="session")
def trained(small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four epochs; look, but do not touch."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    assert main(["train", *small, "--epochs", "4", "--output", str(folder)]) == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be spoiled."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def small_disk(tmp_path: Path) -> SmallDisk:
    """A file system of a given size; the test is skipped where none can be mounted."""

    @contextmanager
    def mounted(size: str) -> Iterator[Path]:
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if shutil.which("mount") is None:
            pytest.skip("there is no mount command")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"mounting a small disk is not permitted here ({' '.join(done.stderr.split())})")
        try:
            yield folder
        finally:
            subprocess.run(["umount", str(folder)], check=True)

    return mounted
