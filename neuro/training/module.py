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
from neuro.network.files import save
from neuro.training.audit import Audit, audit_gradients
from neuro.training.batches import Batch, Splits, batches, epoch_seed
from neuro.training.checkpoint import SECTION
from neuro.training.folder import RunFolder
from neuro.training.health import SpikeWatch, first_fault
from neuro.training.holdout import with_validation
from neuro.training.losses import Loss, choose_loss
from neuro.training.optimizer import SCHEDULES, build_optimizer
from neuro.training.processes import average_gradients, own_samples, rank, share, total
from neuro.training.recipe import SELECTIONS, Recipe
from neuro.training.regularisers import regularised
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

    def add(self, loss: float, logits: Tensor, y: Tensor, samples: int) -> None:
        """``samples`` is 0 for a batch that other processes count already."""
        if samples:
            self.loss += loss * samples
            self.right += int((logits.argmax(1) == y).sum())
            self.samples += samples

    def over(self, like: Tensor) -> tuple[float, float]:
        """Loss and accuracy over all processes."""
        loss, right, samples = total(self.loss, self.right, self.samples, like=like)
        return loss / samples, right / samples


class Trainee(LightningModule):
    """A network, its recipe, its data, and how far it has come.

    Optimisation is manual: the recipe's rule fills ``.grad``, the optimizer steps. Every epoch
    is a pure function of the weights and optimizer state before it: sample order and random
    numbers come from (seed, number of finished epochs), the schedule keeps no state.
    """

    def __init__(
        self,
        net: Network,
        data: Splits,
        recipe: Recipe,
        *,
        workers: int = 0,
        folder: RunFolder | None = None,
        audit: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net, self.recipe = net, recipe
        self.history: list[dict[str, float]] = []
        self.best: Best | None = None
        self.audits: list[tuple[int, Audit]] = []
        self._folder, self._audit = folder, audit
        self._rule, self._loss = choose_rule(recipe.rule).prepare(net), choose_loss(recipe.loss)
        if self._rule.auxiliary is not None:
            self.auxiliary = self._rule.auxiliary  # a part of this module, so checkpoints hold it
        self._data, self._workers = with_validation(data), workers
        self._warned: set[str] = set()
        self._unreached = {n for n, p in net.named_parameters() if p.ndim > 1 and p.requires_grad}
        self._sound = _copied(net)
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
            chosen=share,
        )

    def val_dataloader(self) -> Any:
        """Batches of the split that chooses the epoch, in its own order."""
        return batches(self._chooser, self.recipe.batch_size, workers=self._workers, like=self._example, chosen=share)

    @property
    def _chooser(self) -> Any:
        return self._data.test if self.recipe.select_on == "test" else self._data.validation

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's, over weights, biases and time constants."""
        recipe = self.recipe
        rates = {"lr": recipe.lr, "cell_lr": recipe.cell_lr, "weight_decay": recipe.weight_decay}
        made = build_optimizer(self.net, recipe.optimizer, **rates)
        own = [] if self._rule.auxiliary is None else list(self._rule.auxiliary.parameters())
        if own:
            decay = recipe.weight_decay if self._rule.mirrors else 0.0
            made.add_param_group(
                {"name": "rule", "params": own, "lr": recipe.lr, "initial_lr": recipe.lr, "weight_decay": decay}
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
        self._sound = _copied(self.net)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """A step of the optimizer wherever the rule has written what it is to spend: once, or as the sequence runs."""
        x, y, *lengths = batch
        x, own = x.to(self._example), self._own(batch_idx, len(self._data.train))
        judged = self.recipe.heated(self._judge(*lengths), len(self.history))
        optimizer = self._optimizer()
        optimizer.zero_grad()
        if self._audit and batch_idx == 0:
            self._compare(x, y, judged)
        with regularised(self.net, self.recipe.regularisers):
            for result in self._rule.updates(self.net, x, y, judged):
                self._spend(result.loss, x, own, batch_idx)
        if not self.history and batch_idx == 0:
            self._report_unreached()
        self._trained.add(float(result.loss), result.read(judged), y, own)

    def _spend(self, loss: Tensor, x: Tensor, own: int, batch_idx: int) -> None:
        average_gradients((p for group in self._optimizer().param_groups for p in group["params"]), own)
        if not self.history and batch_idx == 0:
            self._unreached -= {n for n, p in self.net.named_parameters() if p.grad is not None and p.grad.any()}
        (value,) = total(float(loss) * (own > 0), like=self._example)
        if not math.isfinite(value):
            self._stop(f"the loss is {value}", x, batch_idx)
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
        if not math.isfinite(float(norm)):
            self._stop("the gradient is not finite", x, batch_idx)
        if self._rule.mirrors and self._rule.auxiliary is not None:
            torch.nn.utils.clip_grads_with_norm_(self._rule.auxiliary.parameters(), self.recipe.clip, norm)
        optimizer = self._optimizer()
        optimizer.step()
        optimizer.zero_grad()

    def _stop(self, what: str, x: Tensor, batch_idx: int) -> None:
        """Say where values stopped being finite, and leave the weights of before."""
        fault = first_fault(self.net, x)
        if any(not bool(torch.isfinite(p).all()) for p in self.net.parameters()):
            self.net.load_state_dict(self._sound)
            left = f"those of before epoch {len(self.history) + 1}"
        else:
            left = "those of before this batch"
        where = "in net"
        if self._folder is not None and rank() == 0:
            save(self.net, self._folder.before_failure)
            where = f"in {self._folder.before_failure} and in net"
        raise InputError(
            f"{what} in epoch {len(self.history) + 1}, batch {batch_idx + 1}: {fault}. The weights {where} are {left}; lower lr "
            f"({self.recipe.lr}) or clip ({self.recipe.clip}), and check that the data are finite"
        )

    def _compare(self, x: Tensor, y: Tensor, loss: Loss) -> None:
        audit = audit_gradients(self.net, x, y, self._rule, loss)
        self.audits.append((len(self.history) + 1, audit))
        if len(self.audits) == 1:
            _log.info("%s", audit)

    def _own(self, batch_idx: int, samples: int) -> int:
        """How many samples of a batch count for this process."""
        size = self.recipe.batch_size
        return own_samples(min(size, samples - batch_idx * size))

    def on_validation_epoch_start(self) -> None:
        """Start counting anew."""
        self._validated = _Average()
        self._watch = SpikeWatch(self.net)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and accuracy of one batch."""
        x, y, *lengths = batch
        with self._watch.watch():
            output, _ = self.net(x.to(self._example))
        judged = self._judge(*lengths)
        own = self._own(batch_idx, len(self._chooser))
        self._validated.add(float(judged(output, y)), judged.logits(output), y, own)

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
        loss, accuracy = self._trained.over(self._example)
        validation_loss, validation_accuracy = self._validated.over(self._example)
        row = {
            "epoch": len(self.history) + 1,
            "loss": loss,
            "accuracy": accuracy,
            "validation_loss": validation_loss,
            "validation_accuracy": validation_accuracy,
            "learning_rate": float(self._optimizer().param_groups[0]["lr"]),
        }
        self.history.append(row)
        score = SELECTIONS[self.recipe.select](row["validation_accuracy"], row["validation_loss"])
        if self.best is None or score > self.best.score:
            self.best = Best(len(self.history), score, _copied(self.net))
        self._report_health()
        for logger in self.loggers:
            logger.log_metrics(row, step=len(self.history))
        self.trainer.should_stop = self.finished
        _log.info("epoch %d/%d: loss %.4f, validation accuracy %.2f %%", *self._line(row))

    def _report_unreached(self) -> None:
        """Warn of weights that the first batch gave no gradient at all."""
        for name in sorted(self._unreached):
            _log.warning(
                "no gradient reaches %s under %s: the layer after it is silent, or the rule cuts every path to it "
                "(SLTT and a cell whose input takes a step to reach the threshold: method='exponential')",
                name,
                self._rule,
            )

    def _report_health(self) -> None:
        """Warn, once a layer, of neurons that never spike or hardly ever rest."""
        for layer in self._watch.layers():
            warning = layer.warning()
            if warning is not None and layer.name not in self._warned and rank() == 0:
                self._warned.add(layer.name)
                _log.warning("after epoch %d: %s", len(self.history), warning)

    def _line(self, row: Mapping[str, float]) -> tuple[float, ...]:
        return row["epoch"], self.recipe.epochs, row["loss"], 100 * row["validation_accuracy"]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know."""
        assert self.best is not None
        checkpoint[SECTION] = {
            "definition": self.net.definition(),
            "recipe": self.recipe.summary(),
            "data": self.described(),
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

    def described(self) -> dict[str, Any]:
        """What a checkpoint remembers of its data: name and number of samples."""
        return {"name": self._data.name, "train": len(self._data.train), "validation": len(self._data.validation)}

    @property
    def _example(self) -> Tensor:
        """A tensor of the dtype and on the device of the network."""
        return next(self.net.parameters())

    def _optimizer(self) -> Any:
        return self.optimizers(use_pl_optimizer=False)  # bare: Lightning adds hooks to each step that nobody uses


def _copied(net: Network) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in net.state_dict().items()}
