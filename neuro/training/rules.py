"""Learning rules: which edges of the network unrolled in time a gradient may cross.

A rule writes ``.grad``, an optimizer spends it. The network is never changed by the choice of
rule: a rule runs it with the :class:`neuro.kernels.Route` that is its own. Gradients are added
to what ``.grad`` already holds, as ``torch.Tensor.backward`` does; clear them between steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.kernels import Route

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["BPTT", "RULES", "SLTT", "Rule", "RuleResult", "choose_rule"]


@dataclass(frozen=True)
class RuleResult:
    """What a rule saw on the way: loss (scalar) and output ``[T, B, C]``, both detached."""

    loss: Tensor
    output: Tensor


class Rule(ABC):
    """Fills ``.grad`` of a network's parameters from one batch."""

    @abstractmethod
    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> RuleResult:
        """Run ``net`` on ``x`` and add this rule's gradient of the loss to every ``.grad``.

        Args:
            net: the network; it starts from its initial state.
            x: ``[T, B, ...]`` input sequence, one step every ``dt`` seconds.
            y: ``[B]`` int64 targets.
            loss: (output ``[T, B, C]``, y) -> scalar.
        """


@dataclass(frozen=True)
class BPTT(Rule):
    """Back-propagation through time: every edge is kept, the gradient is that of autograd.

    What backward needs is saved for every step, so memory grows in proportion to T.

    Args:
        recompute: save only the state at every so many steps, and run what lies between once more: the
            same gradient from a fraction of the memory, for less than one more forward pass.
        cut_reset: ignore the edge from a spike to the reset it causes. Libraries differ in it:
            :mod:`neuro.compatibility` says what each does.

    Raises:
        InputError: ``recompute`` is not a positive whole number.
    """

    recompute: int | None = None
    cut_reset: bool = True

    def __post_init__(self) -> None:
        if self.recompute is not None and (not isinstance(self.recompute, int) or self.recompute < 1):
            raise InputError(f"recompute={self.recompute!r} must be a whole number of steps, at least 1, or None")

    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> RuleResult:
        """As in :meth:`Rule.backward`."""
        return _one_shot(net, x, y, loss, Route(cut_reset=self.cut_reset), recompute=self.recompute)


@dataclass(frozen=True)
class SLTT(Rule):
    """Spatial learning through time: the state of the step before counts as a constant.

    Meng et al., "Towards Memory- and Time-Efficient Backpropagation for Training Spiking
    Neural Networks", ICCV 2023. A loss of the last step gives no gradient to earlier inputs;
    a loss of all steps gives each step its own, purely spatial one.

    The sequence runs in chunks, twice: once without gradients for the output and the loss,
    once more to send dL/d(output) back through each chunk. Memory saved for backward is that
    of one chunk, whatever T is, and the result does not depend on the chunk. Random layers
    draw the same numbers in both runs.

    Args:
        chunk: time steps held for backward at once. A sequence that fits into one chunk is
            run only once.

    Raises:
        InputError: ``chunk`` is not a positive whole number.
    """

    chunk: int = 64

    def __post_init__(self) -> None:
        if not isinstance(self.chunk, int) or self.chunk < 1:
            raise InputError(f"chunk={self.chunk!r} must be a whole number of steps, at least 1")

    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> RuleResult:
        """As in :meth:`Rule.backward`; ``x`` counts as data: a graph behind it is walked once per chunk."""
        if len(x) <= self.chunk:
            return _one_shot(net, x, y, loss, Route(cut_time=True))
        with torch.no_grad(), torch.random.fork_rng([x.device] if x.is_cuda else []):
            output = torch.cat(list(self._chunks(net, x)))
        value = loss(output.requires_grad_(), y)
        (cotangent,) = torch.autograd.grad(value, output)
        for part, part_cotangent in zip(self._chunks(net, x), cotangent.split(self.chunk), strict=True):
            part.backward(part_cotangent)
        return RuleResult(value.detach(), output.detach())

    def _chunks(self, net: Network, x: Tensor) -> Iterator[Tensor]:
        state = None
        for part in x.split(self.chunk):
            output, state = net(part, state, route=Route(cut_time=True))
            state = _detached(state)
            yield output


def _one_shot(
    net: Network,
    x: Tensor,
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    route: Route,
    recompute: int | None = None,
) -> RuleResult:
    output, _ = net(x, route=route, recompute=recompute)
    value = loss(output, y)
    value.backward()
    return RuleResult(value.detach(), output.detach())


def _detached(state: Any) -> Any:
    """The same nest of tuples, its tensors cut from the graph."""
    if isinstance(state, tuple):
        return tuple(_detached(part) for part in state)
    return state.detach() if isinstance(state, Tensor) else state


RULES: Mapping[str, type[Rule]] = MappingProxyType({"bptt": BPTT, "sltt": SLTT})


def choose_rule(rule: str | Rule) -> Rule:
    """The rule of that name with its default options, or ``rule`` itself.

    >>> choose_rule("sltt")
    SLTT(chunk=64)

    Raises:
        InputError: no rule has that name.
    """
    if isinstance(rule, Rule):
        return rule
    if rule not in RULES:
        raise unknown_name("rule", str(rule), RULES)
    return RULES[rule]()
