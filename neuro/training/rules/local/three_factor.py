"""Three factors: what every local rule shares.

``dL/dW[i, j] = sum_t M_i(t) post_i(t) pre_j(t)``. A rule is the choice of the modulator ``M`` and of when it acts;
the postsynaptic factor is the slope of the spike at its own step (the surrogate), the presynaptic one the trace
that a membrane keeps of its input. No factor waits for a later step, none comes through a layer above.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from neuro.errors import InputError
from neuro.training.rules.base import Rule, RuleResult
from neuro.training.rules.local.chain import Block, chain
from neuro.training.rules.local.sweep import Sweep, stretches
from neuro.training.rules.online import Reading, Whole, reading

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["Loss", "Seen", "ThreeFactor", "auxiliary_key", "check_whole", "loss_and_error", "one_hot", "width"]

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Seen:
    """What the modulator of one hidden block may read in a stretch of steps.

    Args:
        name: of the block.
        post: what its neurons put out, ``[t, B, *size]``.
        y: ``[B]`` int64.
        classes: how many there are: the width of the network's output.
        error: ``B T dL/d(output)``, the error of single samples and steps, ``[t, B, C]``; None unless the rule asks.
        share: ``[t, 1, 1]``, weight of a sample of each step in the loss of the batch; zero where the rule rests.
        past: what :meth:`ThreeFactor.modulator` returned for the steps before; None, none yet.
    """

    name: str
    post: Tensor
    y: Tensor
    classes: int
    error: Tensor | None
    share: Tensor
    past: Any


@dataclass(frozen=True)
class ThreeFactor(Rule):
    """A local rule; hidden layers learn from :meth:`modulator`, the last one from the loss itself.

    The last layer's gradient is that of the loss through its own neurons, with the same presynaptic factor.
    What cells learn (time constants) gets the part of its gradient that acts within the step.

    Args:
        burn_in: steps at the start of a sequence in which hidden layers do not learn.
        last: hidden layers learn in that many steps at the end only; None, in all.
        chunk: steps run at once; changes memory, not results.

    Raises:
        InputError: an option out of range.
    """

    burn_in: int = field(default=0, kw_only=True)
    last: int | None = field(default=None, kw_only=True)
    chunk: int = field(default=32, kw_only=True)

    def __post_init__(self) -> None:
        check_whole("burn_in", self.burn_in, 0)
        check_whole("chunk", self.chunk, 1)
        if self.last is not None:
            check_whole("last", self.last, 1)

    @abstractmethod
    def modulator(self, seen: Seen) -> tuple[Tensor, Any]:
        """``M`` of each step and sample, shaped as ``seen.post``; and what to pass on to the next stretch."""

    def reads_error(self) -> bool:
        """Whether modulators read the error of the output, so that the network runs twice."""
        return False

    @torch.no_grad()
    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Loss) -> RuleResult:
        """As in :meth:`Rule.backward`; the output is kept only where the loss or a modulator reads all of it."""
        name = type(self).__name__
        blocks = chain(net, name)
        sweep, gates = self.sweep(blocks), self._gates(x)
        if self.reads_error():
            read: Reading = Whole(loss, y, len(x))  # hidden layers learn before the output of the same steps is there
            read.read_all(stretches(blocks, x, self.chunk))
        else:
            read = reading(loss, y, len(x))
            if read.waits(self.chunk):
                read.read_all(stretches(blocks, x, self.chunk))
        pasts: list[Any] = [None] * len(blocks)
        for start, part in zip(range(0, len(x), self.chunk), x.split(self.chunk), strict=True):
            share = gates[start : start + len(part)].view(-1, 1, 1) / len(y)
            told = read.told(part, start) * x.shape[0] * x.shape[1] if self.reads_error() else None
            seen = partial(Seen, y=y, classes=width(blocks[-1]), error=told, share=share)
            self.learn(sweep, part, seen, pasts, partial(read.told, start=start))
        return read.result

    def learn(
        self, sweep: Sweep, x: Tensor, seen: Callable[..., Seen], pasts: list[Any], judged: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Run a stretch of steps ``x [t, B, ...]`` and write every ``.grad``; returns the output of the last block.

        Args:
            sweep: the blocks, with states and traces.
            x: input of these steps.
            seen: (name, post, past) -> what a modulator may read.
            pasts: of the modulators, one for each block; changed.
            judged: output -> ``dL/d(output)`` of the last block.
        """
        for i, block in enumerate(sweep.blocks[:-1]):
            x = sweep.learn(i, x, partial(self._modulate, pasts, i, partial(seen, name=block.name)))
        return sweep.learn(len(sweep.blocks) - 1, x, judged)

    def _modulate(self, pasts: list[Any], i: int, seen: Callable[..., Seen], post: Tensor) -> Tensor:
        given = seen(post=post, past=pasts[i])
        made, pasts[i] = self.modulator(given)
        return (made.flatten(2) * given.share).view_as(post)

    def sweep(self, blocks: tuple[Block, ...]) -> Sweep:
        """Where presynaptic and postsynaptic factors come from."""
        return Sweep(blocks, type(self).__name__)

    def _gates(self, x: Tensor) -> Tensor:
        """``[T]``: one over the number of learning steps in those, zero in the others."""
        first = max(self.burn_in, 0 if self.last is None else len(x) - self.last)
        if first >= len(x):
            raise InputError(
                f"burn_in={self.burn_in} leaves no step of {len(x)} to learn in; it must be below the number of steps"
            )
        gates = x.new_zeros(len(x))
        gates[first:] = 1 / (len(x) - first)
        return gates


def loss_and_error(output: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """The loss and its derivative by the output."""
    with torch.enable_grad():
        leaf = output.detach().requires_grad_()
        value = loss(leaf, y)
        (error,) = torch.autograd.grad(value, leaf)
    return value.detach(), error


def width(block: Block) -> int:
    """How many numbers the block puts out a step."""
    if block.cell is not None:
        return int(torch.Size(block.cell.size).numel())
    return int(next(iter(block.weighted)).shape[0])


def one_hot(seen: Seen) -> Tensor:
    """``[B, C]`` of the dtype of the activity."""
    return functional.one_hot(seen.y, seen.classes).to(seen.post)


def auxiliary_key(name: str) -> str:
    """Under what a rule keeps what it learns for the block of that name: a name that a parameter may have."""
    return f"layer_{name.replace('.', '/')}"


def check_whole(name: str, value: object, low: int) -> None:
    """Raise unless ``value`` is a whole number of at least ``low``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise InputError(f"{name}={value!r} must be a whole number, at least {low}")
