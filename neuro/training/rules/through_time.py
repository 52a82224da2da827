"""Rules that walk the network unrolled in time backwards."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels import Route
from neuro.training.rules.base import About, Rule, RuleResult, detached, need_whole

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["BPTT", "SLTT", "SLTTK", "TBPTT"]


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

    about: ClassVar[About] = About(
        paper="Neftci, Mostafa & Zenke 2019, Surrogate gradient learning in spiking neural networks",
        memory="grows with T (a fraction of it with recompute)",
        time="one backward pass",
        needs="any network, any loss",
        exact="everywhere, with the surrogate for the slope of a spike; the reset edge is cut unless asked for",
    )

    def __post_init__(self) -> None:
        if self.recompute is not None and (not isinstance(self.recompute, int) or self.recompute < 1):
            raise InputError(f"recompute={self.recompute!r} must be a whole number of steps, at least 1, or None")

    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> RuleResult:
        """As in :meth:`Rule.backward`."""
        return _one_shot(net, x, y, loss, Route(cut_reset=self.cut_reset), recompute=self.recompute)


@dataclass(frozen=True)
class TBPTT(Rule):
    """Truncated back-propagation through time: no gradient crosses from one stretch of ``steps`` to the next.

    Williams & Peng 1990, "An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories". The sequence runs in stretches, twice, as in :class:`SLTT`; with ``steps`` at least T it is :class:`BPTT`.

    Args:
        steps: length of a stretch; memory saved for backward is that of one.
        cut_reset: ignore the edge from a spike to the reset it causes.

    Raises:
        InputError: ``steps`` is not a positive whole number.
    """

    steps: int = 32
    cut_reset: bool = True

    about: ClassVar[About] = About(
        paper="Williams & Peng 1990, An efficient gradient-based algorithm for on-line training of recurrent network trajectories",
        memory="that of one stretch, and the output",
        time="a second forward pass and one backward pass",
        needs="any network, any loss",
        exact="for what takes no longer than a stretch; everywhere with steps >= T",
    )

    def __post_init__(self) -> None:
        need_whole("steps", self.steps)

    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> RuleResult:
        """As in :meth:`Rule.backward`; ``x`` counts as data: a graph behind it is walked once per stretch."""
        route = Route(cut_reset=self.cut_reset)
        if len(x) <= self.steps:
            return _one_shot(net, x, y, loss, route)
        return _in_chunks(net, x, y, loss, route, self.steps)


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

    about: ClassVar[About] = About(
        paper="Meng et al. 2023, Towards memory- and time-efficient backpropagation for training spiking neural networks",
        memory="that of one chunk, and the output",
        time="a second forward pass and a backward pass without time",
        needs="any network, any loss",
        exact="where membranes forget within a step",
    )

    def __post_init__(self) -> None:
        need_whole("chunk", self.chunk)

    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> RuleResult:
        """As in :meth:`Rule.backward`; ``x`` counts as data: a graph behind it is walked once per chunk."""
        if len(x) <= self.chunk:
            return _one_shot(net, x, y, loss, Route(cut_time=True))
        return _in_chunks(net, x, y, loss, Route(cut_time=True), self.chunk)


@dataclass(frozen=True)
class SLTTK(Rule):
    """SLTT on ``k`` time steps drawn at random: the others give no gradient, and no time is spent on it.

    Each step counts ``T / k`` times, so that the mean over all choices is the gradient of :class:`SLTT`. (Meng et
    al. leave the factor to the learning rate.)

    Args:
        k: steps that learn; all of them where T is smaller.
        seed: of the choice, which differs from call to call as :func:`torch.manual_seed` does where it is None.

    Raises:
        InputError: ``k`` is not a positive whole number.
    """

    k: int = 4
    seed: int | None = None

    about: ClassVar[About] = About(
        paper="Meng et al. 2023, Towards memory- and time-efficient backpropagation for training spiking neural networks",
        memory="that of one step, and the output",
        time="one forward pass, and a second one with backward of k steps",
        needs="any network, any loss",
        exact="in the mean over choices, where SLTT is",
    )

    def __post_init__(self) -> None:
        need_whole("k", self.k)

    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> RuleResult:
        """As in :meth:`Rule.backward`; ``x`` counts as data: a graph behind it is walked once per chosen step."""
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        return self.on_steps(net, x, y, loss, torch.randperm(len(x), generator=generator)[: self.k].tolist())

    def on_steps(
        self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor], steps: Collection[int]
    ) -> RuleResult:
        """As :meth:`backward`, on these steps of ``x`` ``[T, B, ...]``."""
        chosen, route = frozenset(steps), Route(cut_time=True)
        states, outputs, state = {}, [], None
        with torch.no_grad():
            for start, part in _between(x, chosen):
                if start in chosen:
                    states[start] = state, _random_state(x)
                made, state = net(part, state, route=route)
                outputs.append(made)
        output = torch.cat(outputs)
        value = loss(output.requires_grad_(), y)
        (cotangent,) = torch.autograd.grad(value, output)
        for t in sorted(chosen):
            before, random = states[t]
            with torch.random.fork_rng([x.device] if x.is_cuda else []):
                _set_random_state(x, random)
                made, _ = net(x[t : t + 1], before, route=route)
            made.backward(cotangent[t : t + 1] * (len(x) / len(chosen)))
        return RuleResult(value.detach(), output.detach())


def _between(x: Tensor, chosen: Collection[int]) -> Iterator[tuple[int, Tensor]]:
    """Start and steps of each piece: the chosen steps alone, what lies between them together."""
    cuts = sorted({0, len(x), *chosen, *(t + 1 for t in chosen)})
    for start, end in pairwise(cuts):
        yield start, x[start:end]


def _random_state(x: Tensor) -> Tensor:
    return torch.cuda.get_rng_state(x.device) if x.is_cuda else torch.get_rng_state()


def _set_random_state(x: Tensor, state: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.set_rng_state(state, x.device)
    else:
        torch.set_rng_state(state)


def _in_chunks(
    net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor], route: Route, chunk: int
) -> RuleResult:
    """Forward without a graph, then each chunk once more with the gradient of the loss by its output."""
    with torch.no_grad(), torch.random.fork_rng([x.device] if x.is_cuda else []):
        output = torch.cat(list(_chunks(net, x, route, chunk)))
    value = loss(output.requires_grad_(), y)
    (cotangent,) = torch.autograd.grad(value, output)
    for part, part_cotangent in zip(_chunks(net, x, route, chunk), cotangent.split(chunk), strict=True):
        part.backward(part_cotangent)
    return RuleResult(value.detach(), output.detach())


def _chunks(net: Network, x: Tensor, route: Route, chunk: int) -> Iterator[Tensor]:
    state = None
    for part in x.split(chunk):
        output, state = net(part, state, route=route)
        state = detached(state)
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
