"""The network as Lightning trains it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule, seed_everything
from torch import Tensor

from neuro.delays import LearnedDelays, sigma_schedule
from neuro.errors import InputError
from neuro.network.base import NORMS
from neuro.training.batches import Batch, Splits, batches, epoch_seed
from neuro.training.checkpoint import SECTION
from neuro.training.losses import Loss, choose_loss
from neuro.training.optimizer import SCHEDULES, build_optimizer
from neuro.training.recipe import SELECTIONS, Recipe
from neuro.training.rules import choose_rule

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["Best", "Trainee"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Best:
    """The epoch (counted from 1) with the best validation score so far, and its weights."""

    epoch: int
    score: tuple[float, float]
    weights: dict[str, Tensor]


class _Average:
    """Mean loss and accuracy over the samples of an epoch."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.right = self.samples = 0

    def add(self, loss: float, logits: Tensor, y: Tensor) -> None:
        self.loss += loss * len(y)
        self.right += int((logits.argmax(1) == y).sum())
        self.samples += len(y)


class Trainee(LightningModule):
    """A network, its recipe, its data, and how far it has come.

    Optimisation is manual: the recipe's rule fills ``.grad``, the optimizer steps. Every epoch
    is a pure function of the weights and optimizer state before it: sample order and random
    numbers come from (seed, number of finished epochs), the schedule keeps no state.
    """

    def __init__(self, net: Network, data: Splits, recipe: Recipe, *, workers: int = 0) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net, self.recipe = net, recipe
        self.history: list[dict[str, float]] = []
        self.best: Best | None = None
        self._rule, self._loss = choose_rule(recipe.rule).prepare(net), choose_loss(recipe.loss)
        if self._rule.auxiliary is not None:
            self.auxiliary = self._rule.auxiliary  # a part of this module, so checkpoints hold it
        self._data, self._workers = data, workers
        self._started, self._seconds_before = time.perf_counter(), 0.0
        self._trained, self._validated = _Average(), _Average()

    @property
    def seconds(self) -> float:
        """Time spent on this run, earlier parts of it included."""
        return self._seconds_before + time.perf_counter() - self._started

    @property
    def finished(self) -> bool:
        """All epochs are done, or patience has run out."""
        done = len(self.history)
        patience = self.recipe.patience
        stale = self.best is not None and patience is not None and done - self.best.epoch >= patience
        return done >= self.recipe.epochs or stale

    def train_dataloader(self) -> Any:
        """Batches in the order of the epoch that is about to run."""
        return batches(
            self._data.train,
            self.recipe.batch_size,
            seed=self.recipe.seed,
            epoch=lambda: len(self.history),
            workers=self._workers,
            like=self._example,
        )

    def val_dataloader(self) -> Any:
        """Batches of the validation split in its own order."""
        return batches(self._data.validation, self.recipe.batch_size, workers=self._workers, like=self._example)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over weights, biases and time constants."""
        recipe = self.recipe
        made = build_optimizer(self.net, lr=recipe.lr, cell_lr=recipe.cell_lr, weight_decay=recipe.weight_decay)
        own = [] if self._rule.auxiliary is None else list(self._rule.auxiliary.parameters())
        if own:
            made.add_param_group(
                {"name": "rule", "params": own, "lr": recipe.lr, "initial_lr": recipe.lr, "weight_decay": 0.0}
            )
        return made

    def on_train_epoch_start(self) -> None:
        """Seed the epoch, set its learning rates and the width of learnable delays."""
        done = len(self.history)
        seed_everything(epoch_seed(self.recipe.seed, done), workers=True, verbose=False)
        factor = SCHEDULES[self.recipe.schedule](done, self.recipe.epochs)
        for group in self._optimizer().param_groups:
            group["lr"] = group["initial_lr"] * factor
        for layer in self.net.modules():
            if isinstance(layer, LearnedDelays):
                layer.sigma = sigma_schedule(done, self.recipe.epochs, layer.max_delay, dt=layer.dt)
        self._trained = _Average()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of the optimizer on what the rule wrote."""
        x, y, *lengths = batch
        optimizer, judged = self._optimizer(), self._judge(*lengths)
        optimizer.zero_grad()
        result = self._rule.backward(self.net, x.to(self._example), y, judged)
        loss = float(result.loss)
        if not math.isfinite(loss):
            raise InputError(
                f"the loss is {loss} in epoch {len(self.history) + 1}, batch {batch_idx + 1}; lower lr "
                f"({self.recipe.lr}) or clip ({self.recipe.clip}), and check that the data are finite"
            )
        if not self.history and batch_idx == 0:
            self._report_unreached()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
        optimizer.step()
        self._trained.add(loss, judged.logits(result.output), y)

    def on_validation_epoch_start(self) -> None:
        """Start counting anew."""
        self._validated = _Average()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and accuracy of one batch."""
        x, y, *lengths = batch
        output, _ = self.net(x.to(self._example))
        judged = self._judge(*lengths)
        self._validated.add(float(judged(output, y)), judged.logits(output), y)

    def _judge(self, lengths: Tensor | None = None) -> Loss:
        """The loss of a batch, which sees no padding."""
        if lengths is None:
            return self._loss
        if any(isinstance(layer, NORMS) and layer.training for layer in self.net.modules()):
            raise InputError(
                "samples of different lengths are padded, and a normalisation would count the padding in its statistics; "
                "cut or repeat them to one length"
            )
        return self._loss.within(lengths)

    def on_validation_epoch_end(self) -> None:
        """Close the epoch: its row, whether it is the best, whether to stop."""
        train, validation = self._trained, self._validated
        row = {
            "epoch": len(self.history) + 1,
            "loss": train.loss / train.samples,
            "accuracy": train.right / train.samples,
            "validation_loss": validation.loss / validation.samples,
            "validation_accuracy": validation.right / validation.samples,
            "learning_rate": float(self._optimizer().param_groups[0]["lr"]),
        }
        self.history.append(row)
        score = SELECTIONS[self.recipe.select](row["validation_accuracy"], row["validation_loss"])
        if self.best is None or score > self.best.score:
            weights = {name: value.detach().cpu().clone() for name, value in self.net.state_dict().items()}
            self.best = Best(len(self.history), score, weights)
        for logger in self.loggers:
            logger.log_metrics(row, step=len(self.history))
        self.trainer.should_stop = self.finished
        _log.info("epoch %d/%d: loss %.4f, validation accuracy %.2f %%", *self._line(row))

    def _report_unreached(self) -> None:
        """Warn of weights that the first batch gave no gradient at all."""
        for name, parameter in self.net.named_parameters():
            if parameter.ndim > 1 and parameter.requires_grad and (parameter.grad is None or not parameter.grad.any()):
                _log.warning(
                    "no gradient reaches %s under %s: the layer after it is silent, or the rule cuts every path to it "
                    "(SLTT and a cell whose input takes a step to reach the threshold: method='exponential')",
                    name,
                    self._rule,
                )

    def _line(self, row: Mapping[str, float]) -> tuple[float, ...]:
        return row["epoch"], self.recipe.epochs, row["loss"], 100 * row["validation_accuracy"]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know."""
        assert self.best is not None
        checkpoint[SECTION] = {
            "definition": self.net.definition(),
            "recipe": self.recipe.summary(),
            "data": describe(self._data),
            "history": self.history,
            "best_epoch": self.best.epoch,
            "best_score": self.best.score,
            "best_weights": self.best.weights,
            "seconds": self.seconds,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over history and best weights from a checkpoint's own section."""
        self.history = list(saved["history"])
        self.best = Best(saved["best_epoch"], tuple(saved["best_score"]), dict(saved["best_weights"]))
        self._seconds_before = float(saved["seconds"])

    @property
    def _example(self) -> Tensor:
        """A tensor of the dtype and on the device of the network."""
        return next(self.net.parameters())

    def _optimizer(self) -> Any:
        return self.optimizers()


def describe(data: Splits) -> dict[str, Any]:
    """What a checkpoint remembers of its data: name and number of samples."""
    return {"name": data.name, "train": len(data.train), "validation": len(data.validation)}
