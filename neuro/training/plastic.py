"""Local rules in the place of a learning rule, alone or beside a rule that follows an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from neuro.network import Network
from neuro.plasticity import LocalRule, write_grad
from neuro.training.rules import Rule, RuleResult

__all__ = ["Plastic"]


@dataclass(frozen=True)
class Plastic(Rule):
    """Layers that have a local rule learn by it; the others by another rule, or not at all.

    Args:
        local: rules by name of layer, as for :func:`neuro.plasticity.write_grad`.
        others: the rule of every other parameter (a readout, say); None leaves them as they are.

    >>> import neuro
    >>> from neuro.plasticity import SoftHebb
    >>> net = neuro.Sequential(neuro.Linear(4, 3), neuro.Linear(3, 2))
    >>> rule = Plastic({"0": SoftHebb()}, others=neuro.rules.BPTT())
    >>> _ = rule.backward(net, torch.ones(5, 1, 4), torch.tensor([1]), neuro.losses.max_membrane)
    """

    local: Mapping[str, LocalRule]
    others: Rule | None = None

    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> RuleResult:
        """As in :meth:`Rule.backward`."""
        result = None
        if self.others is not None:
            learned = [
                net.layers[name].get_parameter(rule.parameter)
                for name, rule in self.local.items()
                if name in net.layers
            ]
            before = [None if p.grad is None else p.grad.clone() for p in learned]
            result = self.others.backward(net, x, y, loss)
            for parameter, held in zip(learned, before, strict=True):
                parameter.grad = held
        output = write_grad(net, x, self.local).output
        if result is None:
            with torch.no_grad():
                result = RuleResult(loss(output, y), output)
        return result
