"""The folder of one run: what stands where, and reading it with clear complaints."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuro.cli.command import Parser, add_flags, given_flags
from neuro.cli.config import MACHINE, TrainConfig
from neuro.cli.config_file import load_settings, save_settings
from neuro.cli.settings import from_flags
from neuro.errors import FileFormatError, InputError
from neuro.files import atomic_write
from neuro.training.folder import RunFolder

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["Run", "add_run", "given_run", "open_run"]


@dataclass(frozen=True)
class Run:
    """Names inside a run folder; those that training writes are in :attr:`training`.

    >>> Run(Path("runs/demo")).nir.as_posix(), Run(Path("runs/demo")).training.weights.as_posix()
    ('runs/demo/network.nir', 'runs/demo/network.safetensors')
    """

    root: Path

    @property
    def training(self) -> RunFolder:
        """Metrics, checkpoint and weights."""
        return RunFolder(self.root)

    @property
    def config(self) -> Path:
        """The resolved configuration; ``neuro train --config`` takes it."""
        return self.root / "config.yaml"

    @property
    def log(self) -> Path:
        """What every command that worked on this run logged."""
        return self.root / "log.txt"

    @property
    def summary(self) -> Path:
        """How training ended."""
        return self.root / "summary.json"

    @property
    def evaluation(self) -> Path:
        """Figures on the test split."""
        return self.root / "evaluation.json"

    @property
    def arrays(self) -> Path:
        """Labels, predictions and logits of every test sample."""
        return self.root / "evaluation.npz"

    @property
    def nir(self) -> Path:
        """The exported network."""
        return self.root / "network.nir"

    @property
    def agreement(self) -> Path:
        """What the exported network does in other hands."""
        return self.root / "export.json"

    @property
    def report(self) -> Path:
        """The page with pictures."""
        return self.root / "report.html"

    @property
    def resume_command(self) -> str:
        """What to type to go on with this run."""
        return f"neuro train --resume --output {self.root}"

    def check_free(self, *, overwrite: bool) -> None:
        """Whether a new run may stand here.

        Raises:
            InputError: something does that may not be replaced.
        """
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"output {self.root} is a file; name a folder")
        if not self.root.exists() or not any(self.root.iterdir()):
            return
        if not self.config.exists():
            raise InputError(f"output {self.root} exists and is not a run (no {self.config.name}); name another folder")
        if not overwrite:
            raise InputError(
                f"output {self.root} exists; go on with it by --resume, replace it by --overwrite, or name another folder"
            )

    def begin(self, config: TrainConfig) -> None:
        """Make the folder, write the configuration, and remove what later commands made from an older run."""
        self.root.mkdir(parents=True, exist_ok=True)
        save_settings(config, self.config)
        for path in (self.log, self.summary, self.evaluation, self.arrays, self.nir, self.agreement, self.report):
            path.unlink(missing_ok=True)

    def load_config(self) -> TrainConfig:
        """The configuration of this run."""
        return load_settings(TrainConfig, self.config)

    def check_weights(self) -> None:
        """Raise if training has not left a network yet.

        Raises:
            InputError: there is no network in the folder.
        """
        path = self.training.weights
        if not path.exists():
            raise InputError(f"{self.root} holds no weights ({path.name}); train first: {self.resume_command}")

    def load_network(self) -> Network:
        """The network of the best epoch.

        Raises:
            InputError: training has not left one yet, or the file is damaged.
        """
        import neuro

        self.check_weights()
        try:
            return neuro.load(self.training.weights)
        except FileFormatError as error:
            raise InputError(f"{error}; to write it again from the checkpoint: {self.resume_command}") from error

    def write(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write a JSON file of this run, whole or not at all."""
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def add_run(parser: Parser) -> None:
    """The arguments of a command that works on a finished run."""
    parser.add_argument("run", metavar="RUN", help="folder of a run, as neuro train makes it")
    add_flags(parser, TrainConfig, MACHINE)


def given_run(arguments: argparse.Namespace) -> tuple[Run, TrainConfig]:
    """The run that the arguments of :func:`add_run` name, and its configuration on this machine.

    Raises:
        InputError: it is not there, or training has not left weights yet.
    """
    run = open_run(arguments.run)
    config = from_flags(run.load_config(), given_flags(arguments, TrainConfig))
    run.check_weights()
    return run, config


def open_run(path: str | Path) -> Run:
    """The run in an existing folder.

    Raises:
        InputError: there is no such folder, or it is not that of a run.
    """
    run = Run(Path(path))
    if not run.root.exists():
        raise InputError(f"run folder {path} does not exist; neuro train --output {path} makes one")
    if not run.root.is_dir():
        raise InputError(f"{path} is a file; name the folder of a run")
    if not run.config.is_file():
        raise InputError(f"{path} is not the folder of a run (no {run.config.name}); neuro train makes one")
    return run
