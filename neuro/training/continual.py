"""Tasks one after the other without forgetting: Hebbian orthogonal projection around any learning rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from neuro.errors import InputError, unknown_name
from neuro.plasticity import HebbianSubspace
from neuro.synapses import Linear
from neuro.training.rules import Rule, RuleResult, choose_rule

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["HLOP"]

_STEPS_WATCHED = 3
_ROUNDING = 1e-4  # of a weight's norm: smaller moves are not judged
_LEAK = 0.05  # largest share of a move within the subspace


class HLOP(Rule):
    """A rule whose gradients leave alone what the weights answer to inputs of earlier tasks.

    ``dL/dW = sum_t delta_t (x_t - H^T H x_t)^T``: any rule writes the gradient, and for each layer the part of it within
    the subspace of earlier inputs is taken out. Lateral synapses H find that subspace by Hebbian learning while
    a task is learned (:class:`neuro.plasticity.HebbianSubspace`), from the mean over time of what comes in, scaled to a mean
    power of 1. Whatever is no weight of such a layer (biases, time constants) learns in the first task only.
    Xiao et al., "Hebbian learning based orthogonal projection for continual learning of spiking neural networks"
    (ICLR 2024, eq. 5 to 8).

    A gradient within the free space leads to a step within it under SGD, with or without momentum, but not under an
    optimizer that scales each weight by itself (Adam), nor under weight decay: ``neuro.fit(net, data, rule,
    optimizer="momentum", weight_decay=0.0, calibrated=True)``. The first steps of each later task are watched for it.

    Args:
        net: the network that learns the tasks.
        rows: directions that each task may take of a layer's inputs, by name of layer; each is a ``Linear``.
        rule: the rule that writes the gradient, or its name.
        lr: rate of the lateral synapses.

    Raises:
        InputError: no layer of that name; one that is no ``Linear``; no layer at all.

    >>> import neuro
    >>> _ = torch.manual_seed(0)
    >>> net = neuro.Sequential(neuro.Linear(6, 8), neuro.LIF(8), neuro.Linear(8, 2), neuro.LI(2))
    >>> rule = HLOP(net, {"0": 2, "2": 2}, "bptt")
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> for task in range(2):
    ...     with rule.task():
    ...         for _ in range(3):
    ...             optimizer.zero_grad()
    ...             _ = rule.backward(net, torch.rand(5, 4, 6), torch.tensor([0, 1, 0, 1]), neuro.losses.mean_membrane)
    ...             optimizer.step()
    >>> rule.tasks, len(rule.subspaces["0"].old)
    (2, 4)
    """

    def __init__(self, net: Network, rows: Mapping[str, int], rule: str | Rule = "bptt", *, lr: float = 0.1) -> None:
        if not rows:
            raise InputError("rows must name at least one layer; without any, nothing would be protected")
        self.net, self.rows, self.rule = net, dict(rows), choose_rule(rule).prepare(net)
        self.tasks, self._open, self._steps = 0, False, 0
        self._watched: dict[str, Tensor] = {}
        found = dict(net.named_modules())
        for name in rows:
            if name not in found:
                raise unknown_name("layer", name, [n for n, m in found.items() if isinstance(m, Linear)])
            if not isinstance(found[name], Linear):
                raise InputError(f"HLOP protects weights of a Linear, layer {name!r} is {type(found[name]).__name__}")
        self._layers = {name: module for name, module in found.items() if name in rows and isinstance(module, Linear)}
        self.subspaces = {
            name: HebbianSubspace(layer.in_features, lr=lr).to(layer.weight) for name, layer in self._layers.items()
        }
        # A list, since names with dots are no names of modules. Its buffers go into the checkpoints of a run.
        self._kept = nn.ModuleList(
            [*self.subspaces.values(), *([] if self.rule.auxiliary is None else [self.rule.auxiliary])]
        )

    def __repr__(self) -> str:
        return f"HLOP({self.rows}, {self.rule!r}, tasks={self.tasks})"

    @property
    def auxiliary(self) -> nn.Module | None:
        """The lateral synapses, and what the rule within learns itself."""
        return self._kept

    def prepare(self, net: Network) -> Self:
        """As in :meth:`Rule.prepare`; the subspaces belong to one network.

        Raises:
            InputError: another network.
        """
        if net is not self.net:
            raise InputError("this HLOP holds the subspaces of another network; make one for each network")
        return self

    @contextmanager
    def task(self, rows: Mapping[str, int] | None = None) -> Iterator[Self]:
        """One task: lateral synapses are added on entering; on leaving, what they found is protected from then on.

        Args:
            rows: for this task other numbers than those of every task.

        Raises:
            InputError: a task is open; directions that would fill a layer's input, after which it could learn nothing.
        """
        if self._open:
            raise InputError("a task is open already; leave it first")
        wanted = self.rows | dict(rows or {})
        for name in wanted:
            if name not in self.subspaces:
                raise unknown_name("protected layer", name, self.subspaces)
        self._open = True
        self._watched = (
            {name: layer.weight.detach().clone() for name, layer in self._layers.items()} if self.tasks else {}
        )
        self._steps = 0
        try:
            for name, subspace in self.subspaces.items():
                with _naming(name):
                    subspace.grow(wanted[name])
            yield self
            for name, subspace in self.subspaces.items():
                with _naming(name):
                    subspace.merge()
            self.tasks += 1
        finally:
            self._open, self._watched = False, {}
            for subspace in self.subspaces.values():  # of a task that was broken off; merged rows are in `old`
                subspace.new, subspace.change = subspace.new[:0], subspace.change[:0]

    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> RuleResult:
        """As in :meth:`Rule.backward`, within a task.

        Raises:
            InputError: no task is open; another network; steps before this one that did not keep to the free space.
        """
        self.prepare(net)
        if not self._open:
            raise InputError("no task is open; train within `with rule.task():`")
        self._check_steps()
        result = self.rule.backward(net, x, y, loss)
        for name, rates in self._inputs(x).items():
            self.subspaces[name].observe(rates / rates.square().sum(-1).mean().sqrt().clamp_min(1e-12))
        if self.tasks:
            self._protect()
        return result

    @torch.no_grad()
    def _inputs(self, x: Tensor) -> dict[str, Tensor]:
        """Mean over time of what comes into each protected layer, ``[B, n]``."""
        seen: dict[str, Tensor] = {}

        def watch(name: str) -> Callable[..., None]:
            def keep(_: nn.Module, given: tuple[Tensor, ...]) -> None:
                seen[name] = given[0].mean(0)

            return keep

        handles = [layer.register_forward_pre_hook(watch(name)) for name, layer in self._layers.items()]
        try:
            self.net(x)
        finally:
            for handle in handles:
                handle.remove()
        return seen

    @torch.no_grad()
    def _check_steps(self) -> None:
        """Whether the first steps of a task went where the gradient led."""
        for name, start in self._watched.items():
            moved = self._layers[name].weight - start
            within = moved @ self.subspaces[name].old.t()
            if float(moved.norm()) > _ROUNDING * float(start.norm()) and float(within.norm()) > _LEAK * float(
                moved.norm()
            ):
                raise InputError(
                    f"the weight of layer {name!r} has moved within the protected subspace; use SGD (optimizer='momentum' "
                    "in neuro.fit) without weight decay, and calibrated=True after the first task"
                )
        self._steps += 1
        if self._steps > _STEPS_WATCHED:
            self._watched = {}

    def _protect(self) -> None:
        guarded = {id(layer.weight) for layer in self._layers.values()}
        for parameter in self.net.parameters():
            if id(parameter) not in guarded:
                parameter.grad = None
        for name, subspace in self.subspaces.items():
            subspace.protect(self._layers[name].weight)


@contextmanager
def _naming(layer: str) -> Iterator[None]:
    """Say in which layer it was that a subspace refused."""
    try:
        yield
    except InputError as error:
        raise InputError(f"layer {layer!r}: {error}") from None
