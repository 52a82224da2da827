"""Momentum auxiliary networks: each part of the network learns through a slow copy of the layer that comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from neuro.errors import InputError
from neuro.training.rules.base import About, Rule, RuleResult
from neuro.training.rules.local.chain import Block, add_grad, chain
from neuro.training.rules.local.fixed_random import uniform
from neuro.training.rules.local.sweep import stretches
from neuro.training.rules.local.three_factor import Loss, auxiliary_key, check_whole, width
from neuro.training.rules.online import reading

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["MAN", "Auxiliary"]

Part = tuple[Block, ...]


class _Layer(nn.Module):
    """A block of the chain as a module, so that other parameters can be put in place of its own."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.synapses, self.neurons = nn.ModuleList(block.synapses), block.neurons
        self._name = block.name

    def forward(self, x: Tensor, state: Any) -> Any:
        """Output ``[t, B, ...]`` and state; backward ignores the edges from step to step."""
        return Block(self._name, tuple(self.synapses), self.neurons).forward(x, state)


class Auxiliary(nn.Module):
    """What judges a part: the layer after it with its parameters averaged over the past, plus a bias that learns.

    A linear classifier, which learns too, reads that layer, unless it is the network's last.

    Args:
        following: the layer.
        classes: how many the classifier tells apart; None, no classifier.
        seed: of the classifier.
    """

    classifier: nn.Linear | None

    def __init__(self, following: Block, classes: int | None, seed: int) -> None:
        super().__init__()
        values = list(_Layer(following).parameters())
        self.bias = nn.ParameterList(torch.zeros_like(value) for value in values)
        for number, value in enumerate(values):
            self.register_buffer(f"average_{number}", value.detach().clone())
        self.register_buffer("started", torch.zeros((), dtype=torch.bool, device=values[0].device))
        self.classifier = None
        if classes is not None:
            features = width(following)
            made = nn.utils.skip_init(nn.Linear, features, classes, device=values[0].device, dtype=values[0].dtype)
            made.weight.data = uniform(seed, following.name, classes, features, values[0])
            made.bias.data.zero_()
            self.classifier = made

    @property
    def averages(self) -> list[Tensor]:
        """Of the parameters of the layer."""
        return [self.get_buffer(f"average_{number}") for number in range(len(self.bias))]

    @torch.no_grad()
    def follow(self, following: Block, momentum: float) -> None:
        """``average <- momentum average + (1 - momentum) theta``; the first time ``average <- theta``."""
        started = self.get_buffer("started")
        share = 1 - momentum if bool(started) else 1.0
        started.fill_(True)
        for average, value in zip(self.averages, _Layer(following).parameters(), strict=True):
            average.copy_(torch.lerp(average, value, share))

    def forward(self, following: Block, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Logits of each step ``[t, B, C]``, and the state of the layer."""
        layer = _Layer(following)
        names = [name for name, _ in layer.named_parameters()]
        values = [average + bias for average, bias in zip(self.averages, self.bias, strict=True)]
        made, state = functional_call(layer, dict(zip(names, values, strict=True)), (x, state))
        made = made.flatten(2)
        return (made if self.classifier is None else self.classifier(made)), state


@dataclass(frozen=True)
class MAN(Rule):
    """Momentum auxiliary networks: parts that exchange no gradient, each with a head that knows what comes next.

    A part's output goes through a copy of the next layer, whose parameters are ``ema(theta) + bias``, and a
    linear classifier; the cross entropy of every step trains part, bias and classifier. Within a part the
    gradient crosses layers and not time, as in :class:`neuro.rules.SLTT`; the last part learns from the loss.
    Su et al., "Momentum auxiliary network for supervised local learning", ECCV 2024; one loss per part, without
    their reconstruction of the input.

    Args:
        layers: of weights in a part, the last of which takes what is left.
        momentum: share of the average that is left after a batch.
        seed: of the classifiers.
        chunk: steps run at once; changes memory, not results.

    Raises:
        InputError: an option out of range; later, a network of one part, or one without :meth:`prepare`.
    """

    about: ClassVar[About] = About(
        paper="Su et al. 2024, Momentum auxiliary network for supervised local learning",
        memory="that of one part in one chunk of steps, and an average of the parameters",
        time="one pass forward and back, in each part and the copy of the layer after it",
        needs="a chain of affine synapses and cells, labels; heads of its own that learn (prepare)",
        exact="its own heads, part by part, time cut; the last part where membranes forget within a step",
    )

    layers: int = 1
    momentum: float = 0.995
    seed: int = 0
    chunk: int = 32
    auxiliary: nn.Module | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        for name, low in (("layers", 1), ("seed", 0), ("chunk", 1)):
            check_whole(name, getattr(self, name), low)
        if not 0 <= self.momentum < 1:
            raise InputError(f"momentum={self.momentum!r} must be at least 0, below 1")

    def prepare(self, net: Network) -> Self:
        """This rule with a head for each part of ``net`` but the last."""
        parts = self._parts(net)
        last = parts[-1][-1]
        made = {
            auxiliary_key(part[-1].name): Auxiliary(
                following[0], None if following[0] is last else width(last), self.seed
            )
            for part, following in pairwise(parts)
        }
        return replace(self, auxiliary=nn.ModuleDict(made))

    @torch.no_grad()
    def backward(self, net: Network, x: Tensor, y: Tensor, loss: Loss) -> RuleResult:
        """As in :meth:`Rule.backward`; the averages follow the network first."""
        parts = self._parts(net)
        heads = [self._head(part) for part in parts[:-1]]
        for head, following in zip(heads, parts[1:], strict=True):
            head.follow(following[0], self.momentum)
        read = reading(loss, y, len(x))
        if read.waits(self.chunk):
            read.read_all(stretches([b for part in parts for b in part], x, self.chunk))
        states: list[Any] = [None] * len(parts)
        share = 1 / (len(x) * len(y))
        for start, stretch in zip(range(0, len(x), self.chunk), x.split(self.chunk), strict=True):
            for i, head in enumerate(heads):
                stretch, states[i] = _judged(parts[i], parts[i + 1][0], head, stretch, y, share, states[i])
            with torch.enable_grad():
                output, states[-1] = _forward(parts[-1], stretch, states[-1])
            _write(output, read.told(output, start), _learned(parts[-1]))
        return read.result

    def _parts(self, net: Network) -> list[Part]:
        blocks = chain(net, type(self).__name__)
        count = len(blocks) // self.layers
        if count < 2:
            raise InputError(
                f"MAN trains parts of {self.layers} layers of weights through the layer after them, and this network has "
                f"{len(blocks)} in all; lower layers, or use rule='sltt'"
            )
        starts = [self.layers * k for k in range(count)]
        return [blocks[a:b] for a, b in pairwise([*starts, len(blocks)])]

    def _head(self, part: Part) -> Auxiliary:
        name = auxiliary_key(part[-1].name)
        if not isinstance(self.auxiliary, nn.ModuleDict) or name not in self.auxiliary:
            raise InputError(
                "MAN has heads of its own that learn; call rule = rule.prepare(net) first, and give "
                "rule.auxiliary.parameters() to the optimizer too (neuro.fit does)"
            )
        head = self.auxiliary[name]
        assert isinstance(head, Auxiliary)
        return head


def _judged(
    part: Part, following: Block, head: Auxiliary, x: Tensor, y: Tensor, share: float, state: Any
) -> tuple[Tensor, Any]:
    """Run a part and its head on ``x [t, B, ...]`` and write what they learn; output and states, cut from it."""
    inner, outer = state or (None, None)
    with torch.enable_grad():
        output, inner = _forward(part, x, inner)
        logits, outer = head(following, output, outer)
        wrong = functional.cross_entropy(logits.flatten(0, 1), y.repeat(len(x)), reduction="sum")
    _write(wrong, wrong.new_tensor(share), [*_learned(part), *head.parameters()])
    return output.detach(), (inner, outer)


def _forward(part: Part, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    states = state or (None,) * len(part)
    after = []
    for block, before in zip(part, states, strict=True):
        x, made = block.forward(x, before)
        after.append(made)
    return x, tuple(after)


def _learned(part: Part) -> list[nn.Parameter]:
    return [p for block in part for p in _Layer(block).parameters() if p.requires_grad]


def _write(made: Tensor, cotangent: Tensor, learned: Sequence[nn.Parameter]) -> None:
    """Add the gradient of ``made`` to every ``.grad``."""
    if not learned or not made.requires_grad:
        return
    for parameter, grad in zip(learned, torch.autograd.grad(made, learned, cotangent, allow_unused=True), strict=True):
        add_grad(parameter, grad)
