"""Rules that walk the network unrolled in time backwards."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels import Route
from neuro.network.base import NORMS
from neuro.training.rules.base import About, Rule, RuleResult, detached, need_whole
from neuro.training.rules.online import OnlineRule, Reading, reading

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["BPTT", "SLTT", "SLTTK", "TBPTT"]

_SPATIAL = Route(cut_time=True)


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
    trajectories". The sequence runs in stretches as in :class:`SLTT`; with ``steps`` at least T it is :class:`BPTT`.

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
        memory="flat in T: that of one stretch",
        time="one backward pass; a second forward pass but for losses that are sums over steps",
        needs="any network, any loss",
        exact="for what takes no longer than a stretch; everywhere with steps >= T",
    )

    def __post_init__(self) -> None:
        need_whole("steps", self.steps)

    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> RuleResult:
        """As in :meth:`Rule.backward`; ``x`` counts as data: a graph behind it is walked once per stretch."""
        *_, result = _in_chunks(net, x, reading(loss, y, len(x)), Route(cut_reset=self.cut_reset), self.steps)
        return result


@dataclass(frozen=True)
class SLTT(OnlineRule):
    """Spatial learning through time: the state of the step before counts as a constant.

    Meng et al., "Towards Memory- and Time-Efficient Backpropagation for Training Spiking
    Neural Networks", ICCV 2023. A loss of the last step gives no gradient to earlier inputs;
    a loss of all steps gives each step its own, purely spatial one.

    The sequence runs in chunks; memory is that of one, whatever T is, and the result does not depend on it. A loss
    that is a sum over steps (:data:`neuro.losses.tet`) is learnt from in one run. For others the sequence runs twice, once
    without gradients for the loss, once more to send its error back through each chunk; random layers draw the same
    numbers in both runs.

    Args:
        chunk: time steps held for backward at once. A sequence that fits into one chunk is
            run only once.
        every: steps after which :meth:`updates` pauses for the optimizer; None, at the end of the sequence.

    Raises:
        InputError: ``chunk`` or ``every`` is not a positive whole number; with ``every``, when called, a loss that is known
            at the end only.
    """

    chunk: int = 64

    about: ClassVar[About] = About(
        paper="Meng et al. 2023, Towards memory- and time-efficient backpropagation for training spiking neural networks",
        memory="flat in T: that of one chunk",
        time="a backward pass without time; a second forward pass but for losses that are sums over steps",
        needs="any network, any loss",
        exact="where membranes forget within a step",
    )

    def stretches(self, net: Network, x: Tensor, read: Reading, chunk: int) -> Iterator[RuleResult]:
        """As in :meth:`OnlineRule.stretches`; ``x [T, B, ...]`` counts as data: a graph behind it is walked once per chunk."""
        return _in_chunks(net, x, read, _SPATIAL, chunk)


@dataclass(frozen=True)
class SLTTK(Rule):
    """SLTT on ``k`` time steps drawn at random: the others give no gradient, and no time is spent on it.

    Each step counts ``T / k`` times, so that the mean over all choices is the gradient of :class:`SLTT`. (Meng et
    al. leave the factor to the learning rate.) The chosen steps go back together, as one step of k times as many samples.

    Args:
        k: steps that learn; all of them where T is smaller.
        seed: of the choice, which differs from call to call as :func:`torch.manual_seed` does where it is None.
        chunk: steps run at once between those; changes memory, not results.

    Raises:
        InputError: ``k`` or ``chunk`` is not a positive whole number.
    """

    k: int = 4
    seed: int | None = None
    chunk: int = 64

    about: ClassVar[About] = About(
        paper="Meng et al. 2023, Towards memory- and time-efficient backpropagation for training spiking neural networks",
        memory="flat in T: that of k steps",
        time="one forward pass, and backward of k steps",
        needs="any network, any loss",
        exact="in the mean over choices, where SLTT is",
    )

    def __post_init__(self) -> None:
        need_whole("k", self.k)
        need_whole("chunk", self.chunk)

    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> RuleResult:
        """As in :meth:`Rule.backward`; ``x`` counts as data: a graph behind it is walked once more."""
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        return self.on_steps(net, x, y, loss, torch.randperm(len(x), generator=generator)[: self.k].tolist())

    def on_steps(
        self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor], steps: Collection[int]
    ) -> RuleResult:
        """As :meth:`backward`, on these steps of ``x`` ``[T, B, ...]``."""
        chosen = sorted(set(steps))
        random = _random_state(x)
        if not any(isinstance(layer, NORMS) and layer.training for layer in net.modules()):
            read = reading(loss, y, len(x))
            before = _visit(net, x, read, chosen, _cuts(x, self.chunk, chosen))
            if torch.equal(random, _random_state(x)):
                _learn_together(net, x, read, before)
                return read.result
            _set_random_state(x, random)
        # Samples that see each other, or random numbers: each step has to run as it will be learnt, by itself.
        read = reading(loss, y, len(x))
        before = _visit(net, x, read, chosen, _cuts(x, self.chunk, [*chosen, *(t + 1 for t in chosen)]))
        for t, (state, drawn) in before.items():
            with torch.random.fork_rng([x.device] if x.is_cuda else []):
                _set_random_state(x, drawn)
                output, _ = net(x[t : t + 1], state, route=_SPATIAL)
            output.backward(read.told(output, t) * (len(x) / len(before)))
        return read.result


def _cuts(x: Tensor, chunk: int, chosen: Iterable[int]) -> list[int]:
    """Where pieces of at most ``chunk`` steps begin, those at the chosen steps among them, and the end."""
    return sorted({*range(0, len(x), chunk), len(x), *chosen})


def _visit(
    net: Network, x: Tensor, read: Reading, chosen: Collection[int], cuts: Sequence[int]
) -> dict[int, tuple[Any, Tensor]]:
    """Read the whole sequence; state and random state that each chosen step starts from."""
    before: dict[int, tuple[Any, Tensor]] = {}

    def outputs() -> Iterator[Tensor]:
        state: Any = net.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
        for start, end in pairwise(cuts):
            if start in chosen:
                before[start] = state, _random_state(x)
            output, state = net(x[start:end], state, route=_SPATIAL)
            yield output

    read.read_all(outputs())
    return before


def _learn_together(net: Network, x: Tensor, read: Reading, before: Mapping[int, tuple[Any, Tensor]]) -> None:
    """One step of as many samples as all the steps have: without time they know nothing of each other."""
    chosen = list(before)
    state = _joined([state for state, _ in before.values()])
    output, _ = net(x[chosen].flatten(0, 1).unsqueeze(0), state, route=_SPATIAL)
    told = [read.told(part, t) for part, t in zip(output.split(x.shape[1], 1), chosen, strict=True)]
    output.backward(torch.cat(told, 1) * (len(x) / len(chosen)))


def _joined(states: Sequence[Any]) -> Any:
    """States of several batches as one of all their samples."""
    if isinstance(states[0], tuple):
        return tuple(_joined(parts) for parts in zip(*states, strict=True))
    return torch.cat(list(states)) if isinstance(states[0], Tensor) else None


def _random_state(x: Tensor) -> Tensor:
    return torch.cuda.get_rng_state(x.device) if x.is_cuda else torch.get_rng_state()


def _set_random_state(x: Tensor, state: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.set_rng_state(state, x.device)
    else:
        torch.set_rng_state(state)


def _in_chunks(net: Network, x: Tensor, read: Reading, route: Route, chunk: int) -> Iterator[RuleResult]:
    """Each chunk with the gradient of the loss by its output, pausing after it.

    Where the error of a chunk waits for later ones, all of them run without a graph first; random layers draw the
    same numbers in both runs.
    """
    if read.waits(chunk):
        with torch.random.fork_rng([x.device] if x.is_cuda else []):
            read.read_all(_chunks(net, x, route, chunk))
    for start, part in zip(range(0, len(x), chunk), _chunks(net, x, route, chunk), strict=True):
        part.backward(read.told(part, start))
        yield read.result


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
