"""What happens beside training: files after every epoch, a line that moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint
from tqdm import tqdm

from neuro.network import save
from neuro.training.audit import Audit
from neuro.training.folder import RunFolder, write_history
from neuro.training.module import Trainee

__all__ = ["EpochFiles", "ProgressLine"]


class EpochFiles(Checkpoint):
    """After every epoch: best weights, metrics, checkpoint, in this order.

    The checkpoint comes last because it says that the epoch is over: a run killed before it is
    written repeats the epoch and writes the same two files again.
    """

    def __init__(self, folder: RunFolder, *, csv: bool) -> None:
        self._folder, self._csv = folder, csv

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the files."""
        trainee: Trainee = pl_module
        assert trainee.best is not None
        if trainer.is_global_zero:
            if trainee.best.epoch == len(trainee.history):
                save(trainee.net, self._folder.weights)
            if self._csv:
                write_history(self._folder.metrics, trainee.history)
            if trainee.audits:
                write_history(self._folder.gradients, _rows(trainee.audits))
        trainer.save_checkpoint(self._folder.checkpoint)


def _rows(audits: Sequence[tuple[int, Audit]]) -> list[dict[str, Any]]:
    return [{"epoch": epoch, **asdict(row)} for epoch, audit in audits for row in audit.rows]


class ProgressLine(Callback):
    """One line on stderr, if that is a terminal: epochs, loss, validation accuracy, time left."""

    def __init__(self, done: int, epochs: int) -> None:
        form = "epoch {desc} {bar:24} {elapsed}<{remaining}{postfix}"  # tqdm starts a postfix with a comma
        self._epochs = epochs
        self._bar: tqdm[Any] = tqdm(bar_format=form, initial=done, total=epochs, disable=None, leave=True)
        self._bar.set_description_str(f"{done}/{epochs}")

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Move by one batch."""
        self._bar.update(1 / max(1, int(trainer.num_training_batches)))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Show the numbers of the epoch."""
        row = pl_module.history[-1]
        self._bar.n = len(pl_module.history)
        self._bar.set_description_str(f"{len(pl_module.history)}/{self._epochs}", refresh=False)
        self._bar.set_postfix_str(f"loss {row['loss']:.3f}, validation {100 * row['validation_accuracy']:.1f} %")

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Leave the last line standing."""
        self._bar.close()

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """As at the end of training."""
        self._bar.close()
