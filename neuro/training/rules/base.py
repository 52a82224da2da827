"""What a learning rule is, and what the list of rules says of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from torch import Tensor, nn

from neuro.errors import InputError

if TYPE_CHECKING:
    from neuro.network import Network
    from neuro.training.losses import Loss

__all__ = ["About", "Rule", "RuleResult", "detached", "need_whole"]


@dataclass(frozen=True)
class About:
    """What ``neuro rules`` prints of a rule.

    Args:
        paper: authors, year, title.
        memory: what is kept for the gradient, over a sequence of T steps.
        time: cost beside a forward pass.
        needs: what it asks of network, loss or user.
        exact: where it gives the gradient of the loss.
    """

    paper: str
    memory: str
    time: str
    needs: str
    exact: str


@dataclass(frozen=True)
class RuleResult:
    """What a rule saw on the way, detached.

    Args:
        loss: a scalar.
        kept: the output ``[T, B, C]`` where the rule kept it.
        logits: ``[B, C]`` where the loss read the output a stretch at a time and none was kept.
    """

    loss: Tensor
    kept: Tensor | None
    logits: Tensor | None = None

    @property
    def output(self) -> Tensor:
        """The output ``[T, B, C]``.

        Raises:
            InputError: it was not kept.
        """
        if self.kept is None:
            raise InputError(
                "the rule read the output a stretch at a time and kept the logits only; use result.logits, or run net(x)"
            )
        return self.kept

    def read(self, loss: Loss) -> Tensor:
        """The logits ``[B, C]`` of the loss that the rule was given."""
        return loss.logits(self.output) if self.logits is None else self.logits


class Rule(ABC):
    """Fills ``.grad`` of a network's parameters from one batch."""

    about: ClassVar[About]
    mirrors: ClassVar[bool] = False
    """Whether :attr:`auxiliary` is to change as the network's weights do: with their decay, clipped with them."""

    @property
    def auxiliary(self) -> nn.Module | None:
        """What the rule learns beside the network, its own parameters and buffers; None, nothing."""
        return None

    def prepare(self, net: Network) -> Self:
        """This rule ready to train ``net``, with its :attr:`auxiliary` made for it, if it has one.

        Give ``rule.auxiliary.parameters()`` to the optimizer too; :func:`neuro.fit` does both and keeps them in its
        checkpoints. Matrices that are random and fixed are functions of the rule's seed and need none of this.
        """
        return self

    @abstractmethod
    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> RuleResult:
        """Run ``net`` on ``x`` and add this rule's gradient of the loss to every ``.grad``.

        Args:
            net: the network; it starts from its initial state.
            x: ``[T, B, ...]`` input sequence, one step every ``dt`` seconds.
            y: ``[B]`` int64 targets.
            loss: (output ``[T, B, C]``, y) -> scalar.
        """

    def updates(
        self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Iterator[RuleResult]:
        """As :meth:`backward`, pausing wherever ``.grad`` holds what the optimizer is to spend.

        Most rules pause once, at the end of the sequence; one that learns online does so within it. Step the optimizer
        and clear ``.grad`` at each pause. The last result is that of the whole sequence. ``x`` is ``[T, B, ...]``,
        ``y`` ``[B]``.
        """
        yield self.backward(net, x, y, loss)


def detached(state: Any) -> Any:
    """The same nest of tuples, its tensors cut from the graph; each keeps its shape."""
    if isinstance(state, tuple):
        return tuple(detached(part) for part in state)
    return state.detach() if isinstance(state, Tensor) else state


def need_whole(name: str, value: int) -> None:
    """Refuse what is not a whole number of time steps, at least 1.

    Raises:
        InputError: names the value.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name}={value!r} must be a whole number of steps, at least 1")
