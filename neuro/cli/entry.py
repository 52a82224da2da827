"""The ``neuro`` command: which subcommands there are, and how it ends."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import neuro
from neuro.cli import cite, env, evaluate, export, report, rules, train
from neuro.cli.command import Command
from neuro.cli.console import complain, explain, say, shown_log
from neuro.errors import InputError, unknown_name

__all__ = ["COMMANDS", "main"]

COMMANDS: tuple[Command, ...] = (
    train.command,
    evaluate.command,
    export.command,
    report.command,
    rules.command,
    cite.command,
    env.command,
)

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    0: done; 1: the answer is no (or a bug, with its traceback); 2: bad input, one line on
    stderr says which and what helps; 130: interrupted.

    >>> main(["--version"])
    neuro 0...
    0
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    with shown_log(verbose="--verbose" in given):
        return _run(given)


def _run(given: Sequence[str]) -> int:
    parsed = argparse.Namespace()
    try:
        if not given or given[0] in ("-h", "--help", "help"):
            say(_overview())
            return 0
        if given[0] in ("-V", "--version"):
            say(f"neuro {neuro.__version__}")
            return 0
        command = _command(given[0])
        parsed = command.parser().parse(given[1:])
        return command.run(parsed)
    except KeyboardInterrupt as stop:
        complain(str(stop) or "interrupted")
        return 130
    except BrokenPipeError:
        # The reader of stdout has left; nothing more is wanted, least of all a message at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        line = explain(error, _folders(parsed))
        if line is None:
            raise
        _log.debug("where it happened", exc_info=True)
        complain(line)
        return 2


def _command(name: str) -> Command:
    if name.startswith("-"):
        raise InputError(f"unknown flag {name} before the command; neuro --help lists the commands")
    for command in COMMANDS:
        if command.name == name:
            return command
    raise unknown_name("command", name, [command.name for command in COMMANDS])


def _overview() -> str:
    width = max(len(command.name) for command in COMMANDS)
    listed = "\n".join(f"  {command.name:{width}}  {command.summary}" for command in COMMANDS)
    return (
        "usage: neuro COMMAND [ARGUMENTS]\n\n"
        "Train spiking networks on events, measure them, and hand them to neuromorphic hardware.\n\n"
        f"commands:\n{listed}\n\n"
        "neuro COMMAND --help says everything about a command; neuro --version prints the version.\n\n"
        "from data to a report:\n"
        "  neuro train --rule bptt --seed 0 --output runs/demo\n"
        "  neuro evaluate runs/demo\n"
        "  neuro export runs/demo\n"
        "  neuro report runs/demo\n\n"
        "exit status: 0 done, 1 the answer is no (or a bug, with its traceback), 2 bad input, 130 interrupted,\n143 terminated"
    )


def _folders(parsed: argparse.Namespace) -> list[Path]:
    """Where the command may have been writing."""
    given = vars(parsed)
    named = [Path(str(given[key])) for key in ("run", "output", "cache") if given.get(key)]
    files = [Path(given["path"]).parent] if given.get("path") else []
    cache = os.environ.get("NEURO_CACHE")
    return [*named, *files, *([Path(cache)] if cache else []), Path.cwd()]
