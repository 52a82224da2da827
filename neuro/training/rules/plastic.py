"""Local rules in the place of a learning rule, alone or beside a rule that follows an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.layer import Population
from neuro.plasticity import STDP, KeepLength, LocalRule, ModulatedSTDP, Oja, Sanger, SoftHebb, write_grad
from neuro.training.rules.base import About, Rule, RuleResult
from neuro.training.rules.through_time import BPTT

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["HebbianSTDP", "HiddenHebbian", "HiddenOja", "HiddenSanger", "HiddenSoftHebb", "Plastic", "RewardSTDP"]

Loss = Callable[[Tensor, Tensor], Tensor]


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

    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Loss) -> RuleResult:
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


@dataclass(frozen=True)
class HiddenHebbian(Rule):
    """Hidden ``Linear`` layers learn by a local rule, without labels; the last one by the gradient of the loss.

    No error reaches a hidden layer: biases, and whatever hidden neurons could learn, stay as they are. An optimizer that
    scales each weight by itself (Adam) makes the smallest changes as large as the others, which competition
    (SoftHebb) does not survive well: :func:`neuro.plasticity.learn_locally` takes plain steps. For another choice of
    layers and rules: :class:`Plastic`.

    Args:
        local: rule of the hidden layers; its state starts anew with each batch.

    >>> import neuro
    >>> net = neuro.Sequential(neuro.Linear(4, 3), neuro.LIF(3), neuro.Linear(3, 2), neuro.LI(2))
    >>> _ = HiddenSoftHebb().backward(net, torch.ones(5, 1, 4), torch.tensor([1]), neuro.losses.max_membrane)
    >>> [name for name, p in net.named_parameters() if p.grad is not None and p.ndim == 2]
    ['0.weight', '2.weight']
    """

    local: LocalRule

    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Loss) -> RuleResult:
        """As in :meth:`Rule.backward`.

        Raises:
            InputError: a hidden layer with weights that is not ``Linear``, or no layer with weights.
        """
        hidden, before = _parts(net, type(self).__name__)
        with _held([p for layer in before for p in layer.parameters()]):
            result = BPTT().backward(net, x, y, loss)
        write_grad(net, x, dict.fromkeys(hidden, self.local), modulator=self._modulator(result.output, y, loss))
        return result

    def _modulator(self, output: Tensor, y: Tensor, loss: Loss) -> Tensor | None:
        """What the local rule is told of the answer: nothing."""
        return None


def _parts(net: Network, rule: str) -> tuple[list[str], list[nn.Module]]:
    """Names of the hidden ``Linear`` layers, and all layers before the last one with weights."""
    weighted = [name for name, layer in net.layers.items() if _has_weights(layer)]
    if not weighted:
        raise InputError(f"{rule} trains the last layer by the loss, and the network has no layer with weights")
    names = list(net.layers)
    for name in weighted[:-1]:
        if not isinstance(net.layers[name], nn.Linear):
            kind = type(net.layers[name]).__name__
            raise InputError(
                f"{rule} trains hidden Linear layers, layer {name!r} is {kind}; take 'bptt', or "
                "neuro.rules.Plastic with a rule for each layer that shall have one"
            )
    return weighted[:-1], [net.layers[name] for name in names[: names.index(weighted[-1])]]


def _has_weights(layer: nn.Module) -> bool:
    return not isinstance(layer, Population) and any(p.requires_grad for p in layer.parameters())


@contextmanager
def _held(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Ask for no gradient of them meanwhile, so that no graph is built for them."""
    asked = [p for p in parameters if p.requires_grad]
    try:
        for parameter in asked:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in asked:
            parameter.requires_grad_(True)


_MEMORY = "what the layers put out; through time only for the last layer"
_TIME = "two forward passes, one local product a layer, and a backward pass of the last layer"
_NEEDS = "hidden layers that are Linear; hidden layers see no label"
_EXACT = "the last layer; hidden layers follow no loss"


@dataclass(frozen=True)
class HiddenOja(HiddenHebbian):
    """Hidden layers turn by :class:`neuro.plasticity.Oja`: each neuron turns to the first principal component."""

    about: ClassVar[About] = About(
        "Oja 1982, A simplified neuron model as a principal component analyzer", _MEMORY, _TIME, _NEEDS, _EXACT
    )
    local: LocalRule = field(default_factory=lambda: KeepLength(Oja()))


@dataclass(frozen=True)
class HiddenSanger(HiddenHebbian):
    """Hidden layers turn by :class:`neuro.plasticity.Sanger`: their neurons take the principal components in order."""

    about: ClassVar[About] = About(
        "Sanger 1989, Optimal unsupervised learning in a single-layer linear feedforward neural network",
        *(_MEMORY, _TIME, _NEEDS, _EXACT),
    )
    local: LocalRule = field(default_factory=lambda: KeepLength(Sanger()))


@dataclass(frozen=True)
class HiddenSoftHebb(HiddenHebbian):
    """Hidden layers turn by :class:`neuro.plasticity.SoftHebb`: their neurons share the inputs out among them."""

    about: ClassVar[About] = About(
        "Journé et al. 2023, Hebbian deep learning without feedback", _MEMORY, _TIME, _NEEDS, _EXACT
    )
    local: LocalRule = field(default_factory=lambda: KeepLength(SoftHebb()))


@dataclass(frozen=True)
class HebbianSTDP(HiddenHebbian):
    """Hidden layers by :class:`neuro.plasticity.STDP`, additive and without bounds unless ``local`` has a law with some."""

    about: ClassVar[About] = About(
        "Pfister & Gerstner 2006, Triplets of spikes in a model of spike timing-dependent plasticity",
        *(_MEMORY, _TIME, "hidden layers that are Linear, spikes on both sides; hidden layers see no label", _EXACT),
    )
    local: LocalRule = field(default_factory=STDP)


@dataclass(frozen=True)
class RewardSTDP(HiddenHebbian):
    """Hidden layers by :class:`neuro.plasticity.ModulatedSTDP`, rewarded at the end of the sequence.

    The reward of a sample is what its loss is below the mean of its batch: one number for all neurons.
    """

    about: ClassVar[About] = About(
        "Izhikevich 2007, Solving the distal reward problem through linkage of STDP and dopamine signaling",
        "one eligibility for each synapse and sample; through time only for the last layer",
        "two forward passes, one pass over the synapses of each sample, and a backward pass of the last layer",
        "hidden layers that are Linear, spikes on both sides, batches of more than one sample",
        "the last layer; hidden layers follow a reward that all share",
    )
    local: LocalRule = field(default_factory=ModulatedSTDP)

    def _modulator(self, output: Tensor, y: Tensor, loss: Loss) -> Tensor:
        """``[T, B]``: the reward in the last step."""
        with torch.no_grad():
            losses = torch.stack([loss(output[:, b : b + 1], y[b : b + 1]) for b in range(len(y))])
        made = output.new_zeros(output.shape[:2])
        made[-1] = losses.mean() - losses
        return made
