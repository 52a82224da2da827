"""What is added to a loss to keep activity where it should be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.layer import Population
from neuro.network import leaves

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["Regulariser", "SpikeRate", "regularised"]


class Regulariser(ABC):
    """A penalty on the activity of populations, added to any loss under every rule that asks autograd."""

    @abstractmethod
    def concerns(self, name: str, last: bool) -> bool:
        """Whether the population of that name is meant; ``last`` is the one that answers."""

    @abstractmethod
    def penalty(self, z: Tensor, dt: float) -> Tensor:
        """A scalar of the output ``z [T, B, ...]`` of one population; dt in seconds."""


@dataclass(frozen=True)
class SpikeRate(Regulariser):
    """Rates kept between two bounds: ``weight mean_n ((low - r_n) / low)_+^2 + ((r_n - high) / high)_+^2``.

    ``r_n`` is the rate of neuron n over the steps and samples of a batch (of each chunk, for a rule that goes in
    chunks). Neurons below ``low`` are pushed by the surrogate wherever they stood near the threshold. After Zenke & Vogels
    2021, "The remarkable robustness of surrogate gradient learning" (lower and upper bounds on activity).

    Args:
        low: in spikes per second; None, no lower bound.
        high: in spikes per second; None, no upper bound.
        weight: of the penalty, for a rate that is off by a whole bound.
        layers: names of the populations; unless given, all but the last.

    Raises:
        InputError: bounds that are not positive or cross, no bound at all, a weight that is not positive.

    >>> z = torch.zeros(10, 1, 2)
    >>> z[::2, 0, 0] = 1  # 500 spikes a second at dt = 1 ms, and none
    >>> round(float(SpikeRate(low=10.0, high=250.0).penalty(z, dt=1e-3)), 6)
    1.0
    """

    low: float | None = None
    high: float | None = None
    weight: float = 1.0
    layers: Collection[str] | None = None

    def __post_init__(self) -> None:
        if self.low is None and self.high is None:
            raise InputError("SpikeRate needs a bound: low=, high= or both, in spikes per second")
        for name, value in (("low", self.low), ("high", self.high), ("weight", self.weight)):
            if value is not None and not value > 0:
                raise InputError(f"SpikeRate {name}={value!r} must be above 0")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise InputError(f"SpikeRate low={self.low!r} is above high={self.high!r}")

    def concerns(self, name: str, last: bool) -> bool:
        """Those named, or all but the last."""
        return not last if self.layers is None else name in self.layers

    def penalty(self, z: Tensor, dt: float) -> Tensor:
        """A scalar; ``z`` is ``[T, B, ...]``, dt in seconds."""
        rate = z.mean((0, 1)) / dt
        off = torch.zeros_like(rate)
        if self.low is not None:
            off = off + ((self.low - rate) / self.low).relu().square()
        if self.high is not None:
            off = off + ((rate - self.high) / self.high).relu().square()
        return self.weight * off.mean()


@contextmanager
def regularised(net: Network, regularisers: Sequence[Regulariser]) -> Iterator[None]:
    """Inside the block, every backward pass through ``net`` has the gradients of the penalties in it.

    Raises:
        InputError: a regulariser names a layer that is no population; or, at the end of the block, no backward pass went
            through a population that is meant: the rule makes its gradients without autograd.
    """
    if not regularisers:
        yield
        return
    populations = [(name, m) for name, m in leaves(net) if isinstance(m, Population)]
    watched = [
        (layer, regulariser)
        for regulariser in regularisers
        for k, (name, layer) in enumerate(populations)
        if regulariser.concerns(name, k == len(populations) - 1)
    ]
    if not watched:
        raise InputError(f"{list(regularisers)} concern none of the populations {[name for name, _ in populations]}")
    passed: list[bool] = []

    def add(slope: Tensor) -> Any:
        def hook(gradient: Tensor) -> Tensor:
            passed.append(True)
            return gradient + slope

        return hook

    def push(regulariser: Regulariser) -> Any:
        def hook(layer: Population, _arguments: Any, result: tuple[Tensor, Any]) -> None:
            z = result[0]
            if torch.is_grad_enabled() and z.requires_grad:
                free = z.detach().requires_grad_()
                (slope,) = torch.autograd.grad(regulariser.penalty(free, layer.dt), free)
                z.register_hook(add(slope))

        return hook

    with ExitStack() as hooks:
        for layer, regulariser in watched:
            hooks.enter_context(layer.register_forward_hook(push(regulariser)))
        yield
    if not passed:
        raise InputError(
            "this rule makes its gradients without a backward pass, so a penalty on activity cannot reach it; "
            "leave regularisers out, or use bptt, tbptt or sltt"
        )
