"""Synthetic gradients: a layer learns from an error that a small network of its own foretells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.training.rules.base import About
from neuro.training.rules.local.chain import Block, add_grad, chain
from neuro.training.rules.local.fixed_random import uniform
from neuro.training.rules.local.sweep import Sweep
from neuro.training.rules.local.three_factor import Seen, ThreeFactor, auxiliary_key, check_whole, one_hot, width
from neuro.training.rules.local.trace import leak

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["Predictor", "Synthetic"]


class Predictor(nn.Module):
    """Foretells the error of a layer, ``V relu(U [trace, y*] + a) + c``; V and c start at zero, and so does it.

    Args:
        block: the layer.
        classes: of the labels.
        hidden: width in between.
        seed: of U, which is a function of it and of the layer's name.
    """

    def __init__(self, block: Block, classes: int, hidden: int, seed: int) -> None:
        super().__init__()
        features, like = width(block) + classes, block.weighted[0]
        self.into = nn.Parameter(uniform(seed, block.name, hidden, features, like) * (1 / 3) ** 0.5)
        self.offset = nn.Parameter(like.new_zeros(hidden))
        self.out = nn.Parameter(like.new_zeros(width(block), hidden))
        self.base = nn.Parameter(like.new_zeros(width(block)))
        self._told: tuple[Tensor, Tensor] | None = None

    def foretell(self, trace: Tensor, label: Tensor, share: Tensor) -> Tensor:
        """The error ``[t, B, N]`` of single samples and steps, remembered with its ``share`` until the truth comes."""
        with torch.enable_grad():
            seen = torch.cat([trace, label.expand(len(trace), -1, -1)], 2)
            error = torch.relu(seen @ self.into.t() + self.offset) @ self.out.t() + self.base
        self._told = error, share
        return error.detach()

    def correct(self, truth: Tensor) -> None:
        """Add the gradient of ``sum share |error - truth / share|^2 / 2`` to ``.grad``; ``truth [t, B, N]`` is ``dL/ds``."""
        assert self._told is not None
        (error, share), self._told = self._told, None
        learned = [p for p in self.parameters() if p.requires_grad]
        wrong = (error.detach() * share - truth) * (share > 0)
        for parameter, grad in zip(learned, torch.autograd.grad(error, learned, wrong), strict=True):
            add_grad(parameter, grad)


@dataclass(frozen=True)
class Synthetic(ThreeFactor):
    """Synthetic gradients: ``M`` is foretold from a trace of the layer's own spikes and the label.

    No hidden layer waits for those above. When the next layer has run the same steps, its own error, foretold too
    (true in the last layer), is carried back through its synapses, one layer and no step, and the predictor learns to
    foretell that. Jaderberg et al., "Decoupled neural interfaces using synthetic gradients", ICML 2017, conditioned
    on the label (cDNI).

    Args:
        hidden: width of the predictors.
        decay: share of the trace of spikes that is left after a step.
        seed: of the predictors.

    Raises:
        InputError: an option out of range; later, a rule without :meth:`prepare`.
    """

    about: ClassVar[About] = About(
        paper="Jaderberg et al. 2017, Decoupled neural interfaces using synthetic gradients",
        memory="flat in T: states, traces and one chunk of steps",
        time="one pass of local products, predictors, and the way back through single layers",
        needs="a chain of affine synapses and cells, labels; predictors of its own that learn (prepare)",
        exact="the last layer; hidden layers as far as predictors are right (no step and no reset crossed)",
    )

    hidden: int = 64
    decay: float = 0.8
    seed: int = 0
    auxiliary: nn.Module | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("hidden", self.hidden, 1)
        check_whole("seed", self.seed, 0)
        if not 0 <= self.decay < 1:
            raise InputError(f"decay={self.decay!r} must be at least 0, below 1")

    def prepare(self, net: Network) -> Self:
        """This rule with a predictor for each hidden layer of ``net``."""
        *hidden, last = chain(net, type(self).__name__)
        made = {auxiliary_key(b.name): Predictor(b, width(last), self.hidden, self.seed) for b in hidden}
        return replace(self, auxiliary=nn.ModuleDict(made))

    def modulator(self, seen: Seen) -> tuple[Tensor, Any]:
        """``[t, B, *size]``."""
        spikes = seen.post.flatten(2)
        trace, past = leak(self.decay, spikes)(spikes, seen.past)
        mean = (1 - self.decay) * trace
        return self.predictor(seen.name).foretell(mean, one_hot(seen), seen.share).view_as(seen.post), past

    def sweep(self, blocks: tuple[Block, ...]) -> Sweep:
        """Where predictors are told how wrong they were."""
        return _Telling(self, blocks)

    def predictor(self, name: str) -> Predictor:
        """That of a hidden layer."""
        name = auxiliary_key(name)
        if not isinstance(self.auxiliary, nn.ModuleDict) or name not in self.auxiliary:
            raise InputError(
                "Synthetic has predictors of its own that learn; call rule = rule.prepare(net) first, and give "
                "rule.auxiliary.parameters() to the optimizer too (neuro.fit does)"
            )
        made = self.auxiliary[name]
        assert isinstance(made, Predictor)
        return made


class _Telling(Sweep):
    def __init__(self, rule: Synthetic, blocks: Sequence[Block]) -> None:
        super().__init__(blocks, "Synthetic")
        self._predictor = rule.predictor

    def write(self, i: int, x: Tensor, drive: Tensor, output: Tensor, signal: Tensor) -> Tensor:
        """As ever; and the layer below learns what its error was."""
        post = super().write(i, x, drive, output, signal)
        if i > 0:
            truth = self.blocks[i].carry_back(x, post)
            self._predictor(self.blocks[i - 1].name).correct(truth.flatten(2))
        return post
