"""Training with Lightning around it: ``neuro.fit``."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.seed import isolate_rng

from neuro.errors import InputError, unknown_name
from neuro.network import save
from neuro.training.audit import Audit
from neuro.training.batches import Splits
from neuro.training.calibrate import calibrate
from neuro.training.callbacks import EpochFiles, ProgressLine
from neuro.training.checkpoint import SECTION, AtomicCheckpointIO, check_architecture, read_checkpoint
from neuro.training.folder import RunFolder
from neuro.training.losses import Loss
from neuro.training.module import Best, Trainee
from neuro.training.processes import started_as_first
from neuro.training.recipe import PRECISIONS, Recipe
from neuro.training.regularisers import Regulariser
from neuro.training.rules import Rule

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["LOGGERS", "FitResult", "fit"]

LOGGERS = ("csv", "tensorboard")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitResult:
    """How a training run ended. The network holds the weights of the best epoch.

    Args:
        net: the network that was given to :func:`fit`.
        history: one row per epoch: epoch (from 1), loss, accuracy, validation_loss,
            validation_accuracy, learning_rate.
        best_epoch: the epoch (from 1) that validation chose.
        validation_accuracy: of that epoch.
        seconds: wall time of the run, over all its parts.
        folder: the files it left, None without ``output``.
        selected_on: the split that chose the epoch. If it is "test", ``validation_accuracy`` and the columns of the
            history are of the test split, and no figure of that split is an estimate of anything any more.
        audits: (epoch, comparison of the rule's gradient with that of BPTT) if they were asked for.
    """

    net: Network = field(repr=False)
    history: tuple[Mapping[str, float], ...] = field(repr=False)
    best_epoch: int
    validation_accuracy: float
    seconds: float
    folder: RunFolder | None
    selected_on: str = "validation"
    audits: tuple[tuple[int, Audit], ...] = field(default=(), repr=False)


def fit(
    net: Network,
    data: Splits,
    rule: str | Rule = Recipe.rule,
    loss: str | Loss = Recipe.loss,
    *,
    epochs: int = Recipe.epochs,
    batch_size: int = Recipe.batch_size,
    lr: float = Recipe.lr,
    cell_lr: float = Recipe.cell_lr,
    weight_decay: float = Recipe.weight_decay,
    optimizer: str | Callable[..., torch.optim.Optimizer] = Recipe.optimizer,
    clip: float = Recipe.clip,
    schedule: str = Recipe.schedule,
    temperature: tuple[float, float] | None = Recipe.temperature,
    regularisers: Sequence[Regulariser] = Recipe.regularisers,
    precision: str = Recipe.precision,
    select: str = Recipe.select,
    select_on: str = Recipe.select_on,
    patience: int | None = Recipe.patience,
    seed: int = Recipe.seed,
    calibrated: bool = False,
    output: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    logger: str | Sequence[str] = "csv",
    workers: int = 0,
    devices: int = 1,
    audit: bool = False,
    progress: bool = True,
) -> FitResult:
    """Train ``net`` in place and leave it with the weights of its best epoch on validation.

    The test split is never read, but for ``select_on="test"``, which every result then says. The same arguments and network give the same weights; a run
    that was killed and resumed ends with exactly those of one that was not. The caller's random
    numbers are untouched.

    Args:
        net: the network; it trains on the device its parameters are on.
        data: train and validation splits of (frames ``[T, ...]``, class number). Without a validation split a tenth of
            the training samples is held out for it, always the same, and the log says so.
        rule, loss, epochs, batch_size, lr, cell_lr, weight_decay, optimizer, clip, schedule, temperature, regularisers,
            precision, select, select_on, patience, seed: see :class:`neuro.training.recipe.Recipe`.
        calibrated: True leaves the weights as they are; otherwise :func:`neuro.calibrate` scales
            them on the first batch.
        output: folder for metrics.csv, network.safetensors (best epoch), checkpoints/last.ckpt.
        resume: go on from the last finished epoch in ``output``. Options must be those of the run,
            except that ``epochs`` may be larger. A finished run returns at once.
        overwrite: delete the run that ``output`` holds.
        logger: "csv", "tensorboard" or both; they write to ``output``.
        workers: loading processes for data that are not held in memory.
        devices: processes that share every batch, one a GPU (or, on the CPU, that many by gloo). Lightning starts the
            script again for each but the first: keep the call under ``if __name__ == "__main__":``. Gradients are averaged
            over the whole batch, so the result is that of one process up to rounding.
        audit: compare the rule's gradient with that of BPTT on the first batch of every epoch
            (:func:`neuro.audit_gradients`); goes to ``FitResult.audits`` and gradients.csv.
        progress: show a progress line if stderr is a terminal.

    Raises:
        InputError: an option cannot be used, the output holds a run, a checkpoint does not fit, or a value is no longer
            finite: the layer at fault is named, and the weights of before are left in ``net`` and the output folder.
        FileFormatError: the checkpoint is truncated or corrupt.
        KeyboardInterrupt: Ctrl-C; the last finished epoch can be resumed.
    """
    recipe = Recipe(
        rule,
        loss,
        epochs,
        batch_size,
        lr,
        cell_lr,
        weight_decay,
        optimizer,
        clip,
        schedule,
        temperature,
        tuple(regularisers),
        precision,
        select,
        select_on,
        patience,
        seed,
    )
    if not isinstance(devices, int) or devices < 1:
        raise InputError(f"devices={devices!r} must be a whole number of processes, at least 1")
    loggers = _checked_loggers(logger)
    if output is None and resume:
        raise InputError("resume=True needs the output folder of the run to go on from")
    folder = None if output is None else RunFolder(Path(output))
    with isolate_rng(), _quiet_lightning():
        trainee = Trainee(net, data, recipe, workers=workers, folder=folder, audit=audit)
        resumed = folder is not None and _open(folder, trainee, resume=resume, overwrite=overwrite)
        if not resumed and not calibrated:
            calibrate(net, _first_batch(trainee))
        if not trainee.finished:
            _train(trainee, folder, resumed, loggers, progress, devices)
    return _result(trainee, folder)


def _checked_loggers(logger: str | Sequence[str]) -> tuple[str, ...]:
    names = (logger,) if isinstance(logger, str) else tuple(logger)
    for name in names:
        if name not in LOGGERS:
            raise unknown_name("logger", str(name), LOGGERS)
    return names


def _open(folder: RunFolder, trainee: Trainee, *, resume: bool, overwrite: bool) -> bool:
    """Prepare the folder; True if the trainee took over a checkpoint from it."""
    if started_as_first():
        folder.open(resume=resume, overwrite=overwrite)
    if not (resume and folder.checkpoint.exists()):
        return False
    saved = read_checkpoint(folder.checkpoint)[SECTION]
    check_architecture(trainee.net, saved, folder.checkpoint)
    _check_same_run(saved, trainee.recipe.summary(), trainee.described(), folder)
    trainee.restore(saved)
    return True


def _check_same_run(
    saved: Mapping[str, Any], recipe: Mapping[str, Any], data: Mapping[str, Any], folder: RunFolder
) -> None:
    for kind, then, now in (("option", saved["recipe"], recipe), ("data", saved["data"], data)):
        for name, value in now.items():
            longer = name == "epochs" and value >= then[name]
            if value != then.get(name) and not longer:
                raise InputError(
                    f"{folder.root} was trained with {kind} {name}={then.get(name)!r}, not {value!r}; "
                    "resume with the same, or start anew in another folder"
                )


def _first_batch(trainee: Trainee) -> torch.Tensor:
    x: torch.Tensor = next(iter(trainee.train_dataloader()))[0]
    return x.to(next(trainee.net.parameters()))


def _train(
    trainee: Trainee, folder: RunFolder | None, resumed: bool, loggers: tuple[str, ...], progress: bool, devices: int
) -> None:
    callbacks: list[Callback] = []
    writers: list[Logger] = []
    if folder is not None:
        callbacks.append(EpochFiles(folder, csv="csv" in loggers))
        if "tensorboard" in loggers:
            writers.append(TensorBoardLogger(folder.root, name="", version="tensorboard"))
    if progress and started_as_first():
        callbacks.append(ProgressLine(len(trainee.history), trainee.recipe.epochs))
    device = next(trainee.net.parameters()).device
    trainer = Trainer(
        accelerator=device.type,
        devices=devices if devices > 1 or device.type == "cpu" else [device.index or 0],
        strategy=DDPStrategy(process_group_backend="gloo" if device.type == "cpu" else "nccl")
        if devices > 1
        else "auto",
        precision=PRECISIONS[trainee.recipe.precision],  # type: ignore[arg-type]  # Lightning lists them as literals
        max_epochs=trainee.recipe.epochs,
        callbacks=callbacks,
        logger=writers or False,
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=folder is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        inference_mode=False,  # tensors made in inference mode cannot take part in later training
        use_distributed_sampler=False,
        default_root_dir=None if folder is None else folder.root,
    )
    with _ctrl_c():
        trainer.fit(trainee, ckpt_path=folder.checkpoint if folder is not None and resumed else None)


def _result(trainee: Trainee, folder: RunFolder | None) -> FitResult:
    best = trainee.best
    assert isinstance(best, Best)
    trainee.net.load_state_dict(best.weights)
    if folder is not None and started_as_first():
        save(trainee.net, folder.weights)  # as after its epoch, whatever became of that file since
    return FitResult(
        net=trainee.net,
        history=tuple(trainee.history),
        best_epoch=best.epoch,
        validation_accuracy=trainee.history[best.epoch - 1]["validation_accuracy"],
        seconds=trainee.seconds,
        folder=folder,
        selected_on=trainee.recipe.select_on,
        audits=tuple(trainee.audits),
    )


@contextmanager
def _ctrl_c() -> Iterator[None]:
    """Lightning answers Ctrl-C with ``sys.exit(1)`` and a deaf process; make it an interrupt again."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning's tips, hints and guesses are not for the user of this library."""
    talkers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [talker.level for talker in talkers]
    try:
        for talker in talkers:
            talker.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", module=r"lightning\b")
            yield
    finally:
        for talker, level in zip(talkers, levels, strict=True):
            talker.setLevel(level)
