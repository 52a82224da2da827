"""What a learning rule is, and what the list of rules says of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["About", "Rule", "RuleResult", "detached"]


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
    """What a rule saw on the way: loss (scalar) and output ``[T, B, C]``, both detached."""

    loss: Tensor
    output: Tensor


class Rule(ABC):
    """Fills ``.grad`` of a network's parameters from one batch."""

    about: ClassVar[About]

    @abstractmethod
    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> RuleResult:
        """Run ``net`` on ``x`` and add this rule's gradient of the loss to every ``.grad``.

        Args:
            net: the network; it starts from its initial state.
            x: ``[T, B, ...]`` input sequence, one step every ``dt`` seconds.
            y: ``[B]`` int64 targets.
            loss: (output ``[T, B, C]``, y) -> scalar.
        """


def detached(state: Any) -> Any:
    """The same nest of tuples, its tensors cut from the graph; each keeps its shape."""
    if isinstance(state, tuple):
        return tuple(detached(part) for part in state)
    return state.detach() if isinstance(state, Tensor) else state
