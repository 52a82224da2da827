from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import neuro
from neuro.cli import entry, main
from neuro.cli.command import Command
from neuro.cli.entry import COMMANDS
from neuro.errors import InputError
from neuro.training.rules import RULES

if TYPE_CHECKING:
    from tests.neuro.cli.conftest import Call, Outcome, Process, Spawn


def test_overview_lists_every_command(call: Call) -> None:
    for arguments in ((), ("--help",), ("-h",), ("help",)):
        outcome = call(*arguments)
        assert outcome.status == 0
        assert all(f"  {command.name:8}  {command.summary}\n" in outcome.out for command in COMMANDS)


def test_every_command_has_help_that_suffices(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit) as stop:
            main([command.name, "--help"])
        text = capsys.readouterr().out
        assert stop.value.code == 0
        assert command.description in text
        assert all(f"neuro {command.name}" in line and line in text for line, _ in command.examples)


def test_version(call: Call) -> None:
    assert call("--version").out == f"neuro {neuro.__version__}\n"


def test_help_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "lightning", "matplotlib", "sympy", "numba", "nir", "h5py", "sklearn")
    code = (
        "import sys, contextlib\nfrom neuro.cli import main\n"
        "for name in ['train', 'evaluate', 'export', 'report', 'rules', 'env']:\n"
        "    with contextlib.suppress(SystemExit): main([name, '--help'])\n"
        f"sys.exit(str([name for name in {heavy} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == "[]\n"


def test_only_training_loads_lightning() -> None:
    code = "import sys, neuro.cli.assembly, neuro.training.evaluate, neuro.hardware.agreement\nsys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


BAD_LINES = (
    (
        "trin",
        "unknown command 'trin'; did you mean 'train'? (known: train, evaluate, export, report, rules, cite, env)",
    ),
    ("--versoin", "unknown flag --versoin before the command; neuro --help lists the commands"),
    ("train --epohcs 3", "unknown flag --epohcs of neuro train; did you mean --epochs?"),
    (
        "train --rule bppt",
        f"unknown rule 'bppt'; did you mean 'bptt'? (known: {', '.join(RULES)})",
    ),
    (
        "train --dataset digit",
        "unknown dataset 'digit'; did you mean 'digits'? (known: digits, mnist, nmnist, spoken_digits)",
    ),
    ("train --epochs many", "--epochs is 'many'; it must be an integer, at least 1"),
    ("train --tau -0.1", "--tau is '-0.1'; it must be a number in seconds, greater than 0"),
    ("train --hidden 8 x", "--hidden is ['8', 'x']; it must be a list of integers, each at least 1"),
    ("train --config none.yaml", "cannot read config none.yaml: No such file or directory"),
    ("train --resume --overwrite", "argument --overwrite: not allowed with argument --resume; see neuro train --help"),
    ("train --resume --output none", "run folder none does not exist; neuro train --output none makes one"),
    ("train --output there", "output there exists and is not a run (no config.yaml); name another folder"),
    ("train --output file", "output file is a file; name a folder"),
    ("evaluate", "the following arguments are required: RUN; see neuro evaluate --help"),
    ("evaluate none", "run folder none does not exist; neuro train --output none makes one"),
    ("evaluate there", "there is not the folder of a run (no config.yaml); neuro train makes one"),
    ("export file", "file is a file; name the folder of a run"),
    ("report none", "run folder none does not exist; neuro train --output none makes one"),
    ("env --jsn", "unknown flag --jsn of neuro env; did you mean --json?"),
)


@pytest.mark.parametrize(("line", "message"), BAD_LINES, ids=[line for line, _ in BAD_LINES])
def test_bad_lines(line: str, message: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("kept")
    (tmp_path / "file").write_text("kept")
    outcome = call(*line.split())
    assert outcome.complaint() == message
    assert outcome.out == ""
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "mine.txt", "there"]


def test_bad_lines_of_a_process(spawn: Spawn, finish: Callable[[Process], Outcome]) -> None:
    for line, message in BAD_LINES[:4]:
        assert finish(spawn(*line.split())).complaint() == message


def fake(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(_: object) -> int:
        raise error

    command = Command("fake", "s", "d", (("neuro fake", "x"),), lambda _: None, run)
    monkeypatch.setattr(entry, "COMMANDS", (command,))


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        main(["fake"])


def test_interrupts(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    fake(monkeypatch, KeyboardInterrupt())
    assert (call("fake").status, call("fake").err) == (130, "neuro: interrupted\n")
    fake(monkeypatch, KeyboardInterrupt("stopped; go on by x"))
    assert call("fake").err == "neuro: stopped; go on by x\n"


def test_full_disk_anywhere(monkeypatch: pytest.MonkeyPatch, call: Call, tmp_path: Path) -> None:
    monkeypatch.delenv("NEURO_CACHE", raising=False)
    monkeypatch.chdir(tmp_path)
    fake(monkeypatch, OSError(28, "No space left on device"))
    assert f"MB free for {tmp_path}; " in call("fake").complaint()


def test_verbose_shows_where_it_happened(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    fake(monkeypatch, InputError("no"))
    assert call("fake").complaint() == "no"
    outcome = call("fake", "--verbose")
    assert (outcome.status, "Traceback" in outcome.err) == (2, True)


def test_a_closed_pipe_is_not_an_error() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-P", "-m", "neuro", "--help"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
