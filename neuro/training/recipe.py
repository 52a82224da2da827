"""Everything that decides the outcome of a training run besides network and data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

import torch

from neuro.errors import InputError, unknown_name
from neuro.training.losses import Loss, choose_loss
from neuro.training.optimizer import SCHEDULES, choose_optimizer
from neuro.training.regularisers import Regulariser
from neuro.training.rules import Rule, choose_rule

__all__ = ["PRECISIONS", "SELECTIONS", "Recipe"]

PRECISIONS: Mapping[str, str] = MappingProxyType({"full": "32-true", "bf16-mixed": "bf16-mixed"})
"""Names of precisions, and Lightning's of the same; "full" is the network's own, float32 or float64."""

SELECTIONS: Mapping[str, Callable[[float, float], tuple[float, float]]] = MappingProxyType(
    {
        "accuracy": lambda accuracy, loss: (accuracy, -loss),
        "loss": lambda accuracy, loss: (-loss, accuracy),
    }
)
"""(validation accuracy, validation loss) -> score; the epoch of the largest one is the best."""


@dataclass(frozen=True)
class Recipe:
    """The options of a training run; these are also the defaults of :func:`neuro.fit`.

    Args:
        rule: learning rule or its name in :data:`neuro.rules.RULES`.
        loss: loss or its name in :data:`neuro.losses.LOSSES`.
        epochs: passes over the training split, at most.
        batch_size: samples a step.
        lr: learning rate of weights and biases.
        cell_lr: learning rate of what the cells learn (time constants).
        weight_decay: decoupled decay of the weights.
        optimizer: a name in ``OPTIMIZERS``, or what makes an optimizer of a list of parameter groups.
        clip: largest norm of the whole gradient; larger ones are scaled down to it.
        schedule: how learning rates change over the epochs, a name in ``SCHEDULES``.
        temperature: (in the first epoch, in the last one) of the softmax of the loss, between them along a geometric
            row; None leaves that of the loss. Validation is judged by the loss as it is.
        regularisers: penalties on activity, :class:`neuro.training.regularisers.SpikeRate` for one.
        precision: a name in :data:`PRECISIONS`; "bf16-mixed" takes the products of layers without state in
            bfloat16, states and weights stay as they are.
        select: what makes an epoch the best, a name in :data:`SELECTIONS`.
        select_on: the split that chooses the epoch. With "test" the figure of the test split is that of the epoch which was
            best on it, too good by as much as epochs differ by chance: whatever comes of the run says so.
        patience: epochs without a new best after which training stops; None never stops.
        seed: of sample order and of whatever is random in the network.

    Raises:
        InputError: an option is unknown or out of range.

    >>> Recipe(epochs=0)
    Traceback (most recent call last):
    neuro.errors.InputError: epochs=0 must be a whole number, at least 1
    """

    rule: str | Rule = "bptt"
    loss: str | Loss = "spike_count"
    epochs: int = 20
    batch_size: int = 32
    lr: float = 1e-2
    cell_lr: float = 1e-2
    weight_decay: float = 1e-2
    optimizer: str | Callable[..., torch.optim.Optimizer] = "adamw"
    clip: float = 1.0
    schedule: str = "cosine"
    temperature: tuple[float, float] | None = None
    regularisers: tuple[Regulariser, ...] = ()
    precision: str = "full"
    select: str = "accuracy"
    select_on: str = "validation"
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        choose_rule(self.rule)
        choose_loss(self.loss)
        choose_optimizer(self.optimizer)
        for kind, name, table in (
            ("schedule", self.schedule, SCHEDULES),
            ("selection", self.select, SELECTIONS),
            ("precision", self.precision, PRECISIONS),
            ("split to select on", self.select_on, ("validation", "test")),
        ):
            if name not in table:
                raise unknown_name(kind, str(name), table)
        if self.temperature is not None and not (len(self.temperature) == 2 and min(self.temperature) > 0):
            raise InputError(
                f"temperature={self.temperature!r} must be two numbers above 0, of the first and the last epoch"
            )
        for option, low in (("epochs", 1), ("batch_size", 1), ("patience", 1), ("seed", 0)):
            value = getattr(self, option)
            off = option == "patience" and value is None
            if not (off or _is_whole(value, low)):
                raise InputError(f"{option}={value!r} must be a whole number, at least {low}")
        for option in ("lr", "cell_lr", "weight_decay", "clip"):
            value = getattr(self, option)
            positive = option in ("lr", "clip")
            if not _is_real(value) or value < 0 or (positive and value == 0):
                raise InputError(
                    f"{option}={value!r} must be a finite number {'above' if positive else 'of at least'} 0"
                )

    def summary(self) -> dict[str, Any]:
        """Plain values, as a checkpoint keeps them."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        told = {
            "rule": repr(choose_rule(self.rule)),
            "loss": choose_loss(self.loss).name,
            "optimizer": getattr(self.optimizer, "__qualname__", str(self.optimizer)),
            "regularisers": [repr(each) for each in self.regularisers],
        }
        return plain | told

    def heated(self, loss: Loss, epoch: int) -> Loss:
        """The loss at the temperature of an epoch, counted from 0."""
        if self.temperature is None:
            return loss
        first, last = self.temperature
        return replace(loss, temperature=first * (last / first) ** (epoch / max(1, self.epochs - 1)))


def _is_whole(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
