"""Everything that decides the outcome of a training run besides network and data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from neuro.errors import InputError, unknown_name
from neuro.training.losses import Loss, choose_loss
from neuro.training.optimizer import SCHEDULES
from neuro.training.rules import Rule, choose_rule

__all__ = ["SELECTIONS", "Recipe"]

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
        clip: largest norm of the whole gradient; larger ones are scaled down to it.
        schedule: how learning rates change over the epochs, a name in ``SCHEDULES``.
        select: what makes an epoch the best, a name in :data:`SELECTIONS`.
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
    clip: float = 1.0
    schedule: str = "cosine"
    select: str = "accuracy"
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        choose_rule(self.rule)
        choose_loss(self.loss)
        for kind, name, table in (("schedule", self.schedule, SCHEDULES), ("selection", self.select, SELECTIONS)):
            if name not in table:
                raise unknown_name(kind, str(name), table)
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
        return plain | {"rule": repr(choose_rule(self.rule)), "loss": choose_loss(self.loss).name}


def _is_whole(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
