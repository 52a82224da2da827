"""A loss read a stretch of steps at a time, so that no output need be kept.

A loss that is a sum over steps (:class:`neuro.losses.TET`) knows the error of a stretch as soon as it comes; one on a
running readout (a sum, mean, maximum or last step) after the last step, so that the network runs a second time; any other
needs the whole output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from neuro.encoding.running import Running, running
from neuro.errors import InputError
from neuro.training.losses import TET, Contrastive, Loss
from neuro.training.rules.base import Rule, RuleResult, need_whole

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["OnlineRule", "Reading", "Whole", "reading"]


class Reading(ABC):
    """A loss on one batch, stretch after stretch: :meth:`read_all` where it :meth:`waits`, then :meth:`told` of each.

    Attributes:
        instantaneous: whether the error of a step is known without later steps.
        linear: whether the error looks at no output once the loss is known.
        result: loss and logits, or output, of what was read.
    """

    instantaneous: ClassVar[bool] = False
    linear: bool = False
    result: RuleResult

    def __init__(self, steps: int) -> None:
        self._steps, self._known = steps, False

    def waits(self, chunk: int) -> bool:
        """Whether a sequence in stretches of ``chunk`` steps has to be read before the error of the first one."""
        return not self.instantaneous and self._steps > chunk

    @torch.no_grad()
    def read_all(self, outputs: Iterable[Tensor]) -> None:
        """Take in the whole sequence, in stretches ``[t, B, C]``."""
        for output in outputs:
            self._read(output)
        self.result, self._known = self._judge(), True

    def told(self, output: Tensor, start: int) -> Tensor:
        """``dL/d(output)`` of the stretch ``output [t, B, C]`` that begins at step ``start``, taking it in if need be."""
        output = output.detach()
        if not self._known:
            self._read(output)
            self.result = self._judge()
        return self._error(output, start)

    @abstractmethod
    def _read(self, output: Tensor) -> None:
        """Take in the next stretch."""

    @abstractmethod
    def _judge(self) -> RuleResult:
        """What was read so far comes to."""

    @abstractmethod
    def _error(self, output: Tensor, start: int) -> Tensor:
        """After :meth:`_judge`; where instantaneous, at any time."""


class _EachStep(Reading):
    """A mean over steps, the prediction too."""

    instantaneous = True

    def __init__(self, loss: TET, y: Tensor, logits: Running, steps: int) -> None:
        super().__init__(steps)
        self._loss, self._y, self._logits = loss, y, logits
        self._value = y.new_zeros((), dtype=torch.get_default_dtype())

    def _read(self, output: Tensor) -> None:
        self._logits.add(output)
        self._value = self._value + self._share(output)

    def _judge(self) -> RuleResult:
        return RuleResult(self._value, None, self._logits.value)

    def _error(self, output: Tensor, start: int) -> Tensor:
        return _pulled(self._share, output)[1]

    def _share(self, output: Tensor) -> Tensor:
        """What these steps add to the loss."""
        return self._loss(output, self._y) * (len(output) / self._steps)


class _AtTheEnd(Reading):
    """A function of a running readout."""

    def __init__(self, loss: Loss, y: Tensor, logits: Running, steps: int) -> None:
        super().__init__(steps)
        self._loss = replace(loss, readout=lambda output: output[0])  # what it is given was read out before
        self._y, self._logits, self._pull = y, logits, y
        self.linear = logits.linear

    def _read(self, output: Tensor) -> None:
        self._logits.add(output)

    def _judge(self) -> RuleResult:
        logits = self._logits.value
        value, self._pull = _pulled(lambda made: self._loss(made.unsqueeze(0), self._y), logits)
        return RuleResult(value, None, logits)

    def _error(self, output: Tensor, start: int) -> Tensor:
        return self._logits.pull(output, start, self._pull)


class Whole(Reading):
    """Any loss; the output is kept."""

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor], y: Tensor, steps: int) -> None:
        super().__init__(steps)
        self._loss, self._y, self._told = loss, y, y
        self._outputs: list[Tensor] = []

    def _read(self, output: Tensor) -> None:
        self._outputs.append(output)

    def _judge(self) -> RuleResult:
        output = torch.cat(self._outputs)
        value, self._told = _pulled(lambda made: self._loss(made, self._y), output)
        return RuleResult(value, output)

    def _error(self, output: Tensor, start: int) -> Tensor:
        return self._told[start : start + len(output)]


def reading(loss: Callable[[Tensor, Tensor], Tensor], y: Tensor, steps: int) -> Reading:
    """How ``loss`` reads the output of a sequence of ``steps`` steps whose targets are ``y [B]``.

    >>> from neuro.training.losses import mean_membrane, tet
    >>> reading(tet, torch.tensor([0]), 5).instantaneous, reading(mean_membrane, torch.tensor([0]), 5).instantaneous
    (True, False)
    """
    logits = running(loss.readout, steps) if isinstance(loss, Loss) else None
    if logits is not None:
        # A subclass may look at more than its readout.
        if isinstance(loss, TET) and type(loss) is TET and loss.lengths is None:
            return _EachStep(loss, y, logits, steps)
        if isinstance(loss, Loss) and type(loss) in (Loss, Contrastive):
            return _AtTheEnd(loss, y, logits, steps)
    return Whole(loss, y, steps)


@dataclass(frozen=True)
class OnlineRule(Rule):
    """A rule that goes through the sequence in stretches, what it carries from one to the next not growing with them.

    Args:
        chunk: steps run at once; changes memory, not results.
        every: steps after which :meth:`updates` pauses for the optimizer; None, at the end of the sequence.

    Raises:
        InputError: ``chunk`` or ``every`` is not a positive whole number; with ``every``, when called, a loss that is known
            at the end only.
    """

    chunk: int = 32
    every: int | None = None

    def __post_init__(self) -> None:
        need_whole("chunk", self.chunk)
        if self.every is not None:
            need_whole("every", self.every)

    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> RuleResult:
        """As in :meth:`Rule.backward`: the gradient of the whole sequence, whatever ``every`` is."""
        *_, result = self.stretches(net, x, reading(loss, y, len(x)), self.chunk)
        return result

    def updates(
        self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Iterator[RuleResult]:
        """As in :meth:`Rule.updates`, pausing after every so many steps of ``x [T, B, ...]``; ``y`` is ``[B]``."""
        if self.every is None:
            return super().updates(net, x, y, loss)
        read = reading(loss, y, len(x))
        if not read.instantaneous:
            raise InputError(
                f"{type(self).__name__} with every={self.every} learns within the sequence, but the error of this loss is known "
                "at its end only; use loss='tet' with samples of one length, or leave every=None"
            )
        return self.stretches(net, x, read, self.every)

    @abstractmethod
    def stretches(self, net: Network, x: Tensor, read: Reading, chunk: int) -> Iterator[RuleResult]:
        """Add the gradient of one stretch of ``x [T, B, ...]`` after the other to ``.grad``, pausing after each."""


def _pulled(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    """A scalar function and its derivative."""
    with torch.enable_grad():
        leaf = at.detach().requires_grad_()
        value = function(leaf)
        (grad,) = torch.autograd.grad(value, leaf)
    return value.detach(), grad
