"""Learning rates of a learner that meets its samples one by one: constant, at random, or by its needs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.network import Network
from neuro.training.losses import Loss
from neuro.training.rules import Rule

__all__ = ["ConstantRate", "HomeostaticRate", "Met", "RandomRate", "Rate", "meet"]


class Rate(ABC):
    """A learning rate that may change with every sample.

    Args:
        lr: the rate it begins with.

    Raises:
        InputError: a rate not above 0.
    """

    def __init__(self, lr: float) -> None:
        if not 0 < lr < math.inf:
            raise InputError(f"lr must be above 0 and finite, got {lr}")
        self.lr = lr

    @abstractmethod
    def see(self, predicted: int, label: int) -> None:
        """Change the rate for what was taken for class ``predicted`` and is of class ``label``."""


class ConstantRate(Rate):
    """The same rate for ever."""

    def see(self, predicted: int, label: int) -> None:
        """Nothing changes."""


class _Bounded(Rate):
    """A rate whose logarithm moves in steps between two bounds."""

    def __init__(self, lr: float, *, step: float, low: float, high: float) -> None:
        super().__init__(lr)
        if not (0 < low <= lr <= high < math.inf and 0 <= step < math.inf):
            raise InputError(
                f"low, lr and high must ascend from above 0, step be 0 or more: got {low}, {lr}, {high}, {step}"
            )
        self.step, self.low, self.high = step, low, high

    def _move(self, direction: float) -> None:
        self.lr = min(self.high, max(self.low, self.lr * math.exp(self.step * direction)))


class RandomRate(_Bounded):
    """A random walk of the logarithm, by ``step`` up or down at each sample: regulation without a reason.

    Args:
        lr: the rate it begins with.
        step: of the logarithm.
        low, high: bounds of the rate.
        seed: of the walk.

    Raises:
        InputError: rates that do not ascend from low over lr to high; a step below 0.
    """

    def __init__(self, lr: float, *, step: float = 0.15, low: float = 1e-3, high: float = 0.5, seed: int = 0) -> None:
        super().__init__(lr, step=step, low=low, high=high)
        self._draw = torch.Generator().manual_seed(seed)

    def see(self, predicted: int, label: int) -> None:
        """One step at random."""
        self._move(2 * float(torch.randint(0, 2, (), generator=self._draw)) - 1)


class HomeostaticRate(_Bounded):
    """The learner eats what it believes will bring its own learning rate back to the set point.

    Half of the classes raise the rate when they are taken in, ``log lr += step``, the others lower it. A sample is taken in
    where the effect of the class it *looks like* leads towards the set point; the effect that follows is that of the class
    it *is*. As long as recognition is right the rate stays at the set point; once labels have shifted, errors drive
    it off, and it varies until the shift is learned. Reconstructed from Man, Damasio & Neven, "Need is all you need:
    homeostatic neural networks adapt to concept shift" (2022), which gives neither effect sizes nor set points.

    Args:
        effects: for each class 1 (raises the rate) or -1 (lowers it).
        lr: the set point.
        step: of the logarithm.
        low, high: bounds of the rate.

    Raises:
        InputError: other effects; rates that do not ascend from low over lr to high; a step below 0.

    >>> rate = HomeostaticRate([1, -1], lr=0.1, step=0.5)
    >>> rate.see(predicted=0, label=1)   # looks as if it raised, but lowers
    >>> round(rate.lr, 3)
    0.061
    >>> rate.see(predicted=1, label=1)   # lowers further: left alone
    >>> rate.see(predicted=0, label=0)
    >>> round(rate.lr, 3)
    0.1
    """

    def __init__(
        self, effects: Sequence[int], lr: float, *, step: float = 0.15, low: float = 1e-3, high: float = 0.5
    ) -> None:
        super().__init__(lr, step=step, low=low, high=high)
        if not effects or any(effect not in (-1, 1) for effect in effects):
            raise InputError(f"effects must be 1 or -1 for each class, got {list(effects)}")
        self.effects, self.set_point = tuple(effects), lr

    def see(self, predicted: int, label: int) -> None:
        """Take the sample in, if it promises to help."""
        need = math.log(self.set_point) - math.log(self.lr)
        if abs(need) < 1e-9 or self.effects[predicted] * need > 0:
            self._move(self.effects[label])


@dataclass(frozen=True, eq=False)
class Met:
    """What became of a stream.

    Args:
        right: ``[S]`` bool, whether each sample was predicted right before it was learned.
        rates: ``[S]``, the learning rate at each sample.
    """

    right: Tensor
    rates: Tensor


def meet(net: Network, x: Tensor, labels: Tensor, rate: Rate, rule: Rule, loss: Loss) -> Met:
    """Predict each sample of a stream, then be told its label and learn from it by one step of SGD.

    Args:
        net: the network, which learns in place.
        x: ``[T, S, ...]``.
        labels: ``[S]`` int64.
        rate: the learning rate, which sees the prediction and the label before the step.
        rule: what writes the gradient.
        loss: what it is the gradient of, and what the prediction is read by.

    Raises:
        InputError: another number of labels than of samples.
    """
    if labels.shape != x.shape[1:2]:
        raise InputError(f"labels must be [{x.shape[1]}], one for each sample of x, got {list(labels.shape)}")
    right, rates = [], []
    learned = [p for p in net.parameters() if p.requires_grad]
    for k, label in enumerate(labels.tolist()):
        net.zero_grad()
        predicted = int(rule.backward(net, x[:, k : k + 1], labels[k : k + 1], loss).read(loss).argmax())
        rate.see(predicted, label)
        right.append(predicted == label)
        rates.append(rate.lr)
        with torch.no_grad():
            for parameter in learned:
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad, alpha=rate.lr)
    return Met(torch.tensor(right), torch.tensor(rates))
