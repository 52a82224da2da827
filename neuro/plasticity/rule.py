"""What a local rule is, and how a network learns by it.

``dW[i, j] = sum_t M_i(t) post_i(t) pre_j(t)``: a rule chooses the presynaptic factor, the postsynaptic one, the
modulator and when they meet. It sees the activity of one layer and nothing else, and says which of it it reads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from neuro.errors import InputError, unknown_name
from neuro.layer import Population
from neuro.network import Network, NetworkState

__all__ = ["Activity", "LocalResult", "LocalRule", "write_grad"]


@dataclass(frozen=True, eq=False)
class Activity:
    """What one layer has done.

    Args:
        pre: ``[T, B, I]``, what comes in.
        drive: ``[T, B, O]``, what synapses send on to their neurons.
        post: ``[T, B, O]``, what those neurons answer; the drive itself where no neurons follow.
        modulator: ``[T, B]`` or ``[T, B, O]``, or None.
    """

    pre: Tensor
    drive: Tensor
    post: Tensor
    modulator: Tensor | None = None

    def gated(self, factor: Tensor) -> Tensor:
        """``factor [T, B, O]`` times the modulator, if there is one."""
        if self.modulator is None:
            return factor
        if tuple(self.modulator.shape) not in (tuple(factor.shape[:2]), tuple(factor.shape)):
            raise InputError(
                f"modulator must be {list(factor.shape[:2])} or {list(factor.shape)}, got {list(self.modulator.shape)}"
            )
        return factor * (self.modulator if self.modulator.dim() == 3 else self.modulator.unsqueeze(2))


class LocalRule(ABC):
    """A rule that needs nothing but what is at hand in one layer.

    ``reads`` names the fields of :class:`Activity` the change depends on; ``parameter`` is what it changes.
    """

    reads: ClassVar[tuple[str, ...]]
    parameter: ClassVar[str] = "weight"

    @abstractmethod
    def change(self, value: Tensor, seen: Activity, state: Any = None) -> tuple[Tensor, Any]:
        """The change of the parameter over a sequence.

        Args:
            value: the parameter, ``[O, I]`` if it is a weight, else ``[O]``.
            seen: activity of the layer.
            state: what the rule returned for the steps before; None is no past. Its size does not depend on T.

        Returns:
            A tensor like ``value``, and the state after the last step.
        """


@dataclass(frozen=True, eq=False)
class LocalResult:
    """Output ``[T, B, ...]`` and state of the network, and the state of each rule by the name of its layer."""

    output: Tensor
    state: NetworkState
    rules: Mapping[str, Any]


@torch.no_grad()
def write_grad(
    net: Network,
    x: Tensor,
    rules: Mapping[str, LocalRule],
    *,
    modulator: Tensor | None = None,
    state: NetworkState | None = None,
    past: Mapping[str, Any] | None = None,
) -> LocalResult:
    """Run ``net`` and add ``-change`` to the ``.grad`` of every layer that has a rule; an optimizer spends it.

    ``torch.optim.SGD(lr=1)`` applies the changes as they are. No graph is built.

    Args:
        net: the network.
        x: ``[T, B, ...]``.
        rules: by name of layer.
        modulator: ``[T, B]``, or ``[T, B, O]`` where all layers that have rules are of one width.
        state: of the network, as it returned it for the steps before.
        past: states of the rules, the same.

    Raises:
        InputError: a layer that is not there or does not learn what its rule changes.

    >>> import neuro
    >>> net = neuro.Sequential(neuro.Linear(3, 2, bias=False))
    >>> from neuro.plasticity import Oja
    >>> result = write_grad(net, torch.ones(1, 4, 3), {"0": Oja()})
    >>> net.layers["0"].weight.grad.shape
    torch.Size([2, 3])
    """
    names = list(net.layers)
    for name in rules:
        if name not in names:
            raise unknown_name("layer", name, names)
    learned = {name: _parameter(name, net.layers[name], rule) for name, rule in rules.items()}
    passed, output, after = _watched(net, x, state)
    states: dict[str, Any] = {}
    for name, rule in rules.items():
        follower = names[names.index(name) + 1 : names.index(name) + 2]
        pre, drive = passed[name]
        post = passed[follower[0]][1] if follower and isinstance(net.layers[follower[0]], Population) else drive
        seen = Activity(pre, drive, post, modulator)
        delta, states[name] = rule.change(learned[name], seen, (past or {}).get(name))
        held = learned[name].grad
        learned[name].grad = -delta if held is None else held - delta
    return LocalResult(output, after, MappingProxyType(states))


def _watched(
    net: Network, x: Tensor, state: NetworkState | None
) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor, NetworkState]:
    """What every layer took and gave."""
    passed: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str) -> Any:
        def keep(_: nn.Module, given: tuple[Any, ...], made: Any) -> None:
            passed[name] = (given[0], made[0] if isinstance(made, tuple) else made)

        return keep

    handles = [layer.register_forward_hook(watch(name)) for name, layer in net.layers.items()]
    try:
        output, after = net(x, state)
    finally:
        for handle in handles:
            handle.remove()
    return passed, output, after


def _parameter(name: str, layer: nn.Module, rule: LocalRule) -> nn.Parameter:
    found = dict(layer.named_parameters(recurse=False)).get(rule.parameter)
    kind = type(layer).__name__
    if found is None:
        raise InputError(
            f"layer {name!r} ({kind}) does not learn {rule.parameter}, which {type(rule).__name__} changes"
        )
    if rule.parameter == "weight" and not isinstance(layer, nn.Linear):
        raise InputError(f"{type(rule).__name__} changes the weight [O, I] of a Linear, layer {name!r} is {kind}")
    return found
