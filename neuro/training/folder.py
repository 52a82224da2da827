"""The files a training run leaves behind."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from neuro.errors import InputError
from neuro.files import atomic_write

__all__ = ["RunFolder", "write_history"]


@dataclass(frozen=True)
class RunFolder:
    """Names inside the folder of one run.

    >>> RunFolder(Path("runs/demo")).checkpoint.as_posix()
    'runs/demo/checkpoints/last.ckpt'
    """

    root: Path

    @property
    def metrics(self) -> Path:
        """One row an epoch."""
        return self.root / "metrics.csv"

    @property
    def checkpoint(self) -> Path:
        """The last finished epoch, for going on."""
        return self.root / "checkpoints" / "last.ckpt"

    @property
    def weights(self) -> Path:
        """The network of the best epoch."""
        return self.root / "network.safetensors"

    @property
    def before_failure(self) -> Path:
        """The network as it was before a step that was not finite."""
        return self.root / "checkpoints" / "before_failure.safetensors"

    @property
    def gradients(self) -> Path:
        """One row an epoch and parameter: the gradient of the rule beside that of BPTT."""
        return self.root / "gradients.csv"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.root / "tensorboard"

    def open(self, *, resume: bool, overwrite: bool) -> None:
        """Make the folder ready for a run.

        Other files in the folder are left alone.

        Raises:
            InputError: it holds a run and neither ``resume`` nor ``overwrite`` is set, it holds
                none and ``resume`` is, both are set, or it is a file.
        """
        made = (self.metrics, self.checkpoint, self.weights, self.tensorboard, self.gradients, self.before_failure)
        held = [path for path in made if path.exists()]
        if resume and overwrite:
            raise InputError("resume and overwrite exclude each other; set one of them")
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"{self.root} is a file; name a folder as output")
        if resume and not self.root.is_dir():
            raise InputError(f"{self.root} does not exist, there is nothing to resume; leave out resume")
        if held and not (resume or overwrite):
            raise InputError(
                f"{self.root} holds a run ({held[0].name}); set resume or overwrite, or name another folder"
            )
        if overwrite:
            for path in held:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)


def write_history(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write one CSV row per epoch, whole or not at all."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)
