"""Local learning from fixed label vectors: LLS, its two learned forms, and TESS for spiking networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuro.errors import InputError, unknown_name
from neuro.training.rules.base import About
from neuro.training.rules.local.chain import Block, add_grad, chain
from neuro.training.rules.local.fixed_random import BASES, basis
from neuro.training.rules.local.sweep import Sweep
from neuro.training.rules.local.three_factor import Seen, ThreeFactor, auxiliary_key, check_whole, one_hot, width
from neuro.training.rules.local.trace import Response, leak

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["LLS", "TESS", "LLSMatrix", "LLSModulated"]


@dataclass(frozen=True)
class LLS(ThreeFactor):
    """Local learning signals: each layer's spikes are compared with one fixed vector per class.

    ``h = s / |s|`` of each step, logits ``c = B h / temperature``; ``M`` is the gradient of their cross entropy by
    ``s``, in closed form. Apolinario, Roy & Roy, "LLS: local learning rule for deep neural networks inspired
    by neural activity synchronization", WACV 2025; their sines coincide where classes are many, the DCT does not.

    Args:
        vectors: ``"cosine"`` (rows of the DCT-II, orthogonal), their signs ``"square"``, or ``"random"``.
        temperature: of the softmax.
        seed: of random vectors, which are a function of it and of each layer's name.

    Raises:
        InputError: an option out of range; later, a layer with no more features than there are classes.
    """

    about: ClassVar[About] = About(
        paper="Apolinario, Roy & Roy 2025, LLS: local learning rule for deep neural networks inspired by neural activity synchronization",
        memory="flat in T: states, traces and one chunk of steps",
        time="one pass of local products",
        needs="a chain of affine synapses and cells, labels, layers wider than the classes",
        exact="its own label vectors, layer by layer, resets cut; the last layer",
    )

    vectors: str = "cosine"
    temperature: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("seed", self.seed, 0)
        _check_vectors(self.vectors, self.temperature)

    def modulator(self, seen: Seen) -> tuple[Tensor, Any]:
        """``[t, B, *size]``."""
        spikes = seen.post.flatten(2)
        length = spikes.norm(dim=2, keepdim=True).clamp_min(1e-12)
        unit = spikes / length
        vectors = basis(self.vectors, seen.classes, spikes.shape[2], self.seed, seen.name, spikes)
        along = self.signal(seen, unit @ vectors.t()) @ vectors
        across = (along - (along * unit).sum(2, keepdim=True) * unit) / length
        return (across * (spikes.any(2, keepdim=True))).view_as(seen.post), None

    def signal(self, seen: Seen, answer: Tensor) -> Tensor:
        """Gradient of the cross entropy by ``answer = B h``, ``[t, B, C]``."""
        return (functional.softmax(answer / self.temperature, 2) - one_hot(seen)) / self.temperature


@dataclass(frozen=True)
class LLSModulated(LLS):
    """LLS-M: the logit of each class has a weight of its own that learns, ``c_k = m_k (B h)_k / temperature``.

    The weights are the rule's, not the network's: :meth:`prepare` makes them, an optimizer of the caller's
    steps them (``neuro.fit`` does both).
    """

    about: ClassVar[About] = About(
        paper="Apolinario, Roy & Roy 2025, LLS: local learning rule for deep neural networks inspired by neural activity synchronization",
        memory="flat in T: states, traces and one chunk of steps",
        time="one pass of local products",
        needs="as lls; weights of its own that learn (prepare)",
        exact="as lls",
    )

    auxiliary: nn.Module | None = field(default=None, repr=False, compare=False, kw_only=True)

    def prepare(self, net: Network) -> Self:
        """This rule with its own parameters for ``net``, drawn from ``seed``."""
        blocks = chain(net, type(self).__name__)
        classes = width(blocks[-1])
        like = next(net.parameters())
        draw = torch.Generator().manual_seed(self.seed)
        made = {auxiliary_key(b.name): nn.Parameter(self._start(classes, draw).to(like)) for b in blocks[:-1]}
        return replace(self, auxiliary=nn.ParameterDict(made))

    def _start(self, classes: int, draw: torch.Generator) -> Tensor:
        return 1 + 0.01 * torch.randn(classes, generator=draw)

    def signal(self, seen: Seen, answer: Tensor) -> Tensor:
        """As in :meth:`LLS.signal`; the rule's own weights get their gradient."""
        own = self._own(seen)
        error = super().signal(seen, answer * own)
        add_grad(own, (error * answer * seen.share).sum((0, 1)))
        return error * own.detach()

    def _own(self, seen: Seen) -> nn.Parameter:
        if not isinstance(self.auxiliary, nn.ParameterDict) or auxiliary_key(seen.name) not in self.auxiliary:
            raise InputError(
                f"{type(self).__name__} has weights of its own that learn; call rule = rule.prepare(net) first, and "
                "give rule.auxiliary.parameters() to the optimizer too (neuro.fit does)"
            )
        parameter: nn.Parameter = self.auxiliary[auxiliary_key(seen.name)]
        return parameter


@dataclass(frozen=True)
class LLSMatrix(LLSModulated):
    """LLS-MxM: the logits pass through a matrix that learns, ``c = (B h) M / temperature``."""

    about: ClassVar[About] = About(
        paper="Apolinario, Roy & Roy 2025, LLS: local learning rule for deep neural networks inspired by neural activity synchronization",
        memory="flat in T: states, traces and one chunk of steps",
        time="one pass of local products",
        needs="as lls; matrices of its own that learn (prepare)",
        exact="as lls",
    )

    def _start(self, classes: int, draw: torch.Generator) -> Tensor:
        return torch.eye(classes) + 0.01 * torch.randn(classes, classes, generator=draw)

    def signal(self, seen: Seen, answer: Tensor) -> Tensor:
        """As in :meth:`LLS.signal`; the rule's own matrix gets its gradient."""
        own = self._own(seen)
        error = LLS.signal(self, seen, answer @ own)
        add_grad(own, answer.flatten(0, 1).t() @ (error * seen.share).flatten(0, 1))
        return error @ own.detach().t()


@dataclass(frozen=True)
class TESS(LLS):
    """LLS for spiking networks with two timings: causes before the spike, and inputs after it.

    ``post_i pre_j = causal Psi_i[t] P_j[t] + acausal Q_i[t-1] x_j[t]``: ``Psi`` the slope of the spike, ``P`` a
    trace of the input, ``Q`` one of ``Psi``; ``M`` as in LLS, of ``B s / N`` without normalisation. Apolinario,
    Roy & Frenkel, "TESS: a scalable temporally and spatially local learning rule for spiking neural networks", IJCNN 2025.

    Args:
        pre_decay: share of ``P`` that is left after a step.
        post_decay: the same of ``Q``.
        causal: weight of the first term.
        acausal: weight of the second.

    Raises:
        InputError: an option out of range.
    """

    about: ClassVar[About] = About(
        paper="Apolinario, Roy & Frenkel 2025, TESS: a scalable temporally and spatially local learning rule for spiking neural networks",
        memory="flat in T: states, traces and one chunk of steps",
        time="one pass, two local products",
        needs="a chain of affine synapses and cells without recurrence, labels, layers wider than the classes",
        exact="nowhere but the last layer: its traces have time constants of their own",
    )

    pre_decay: float = 0.5
    post_decay: float = 0.2
    causal: float = 1.0
    acausal: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("pre_decay", "post_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)!r} must be at least 0, below 1")

    def modulator(self, seen: Seen) -> tuple[Tensor, Any]:
        """``[t, B, *size]``."""
        spikes = seen.post.flatten(2)
        vectors = basis(self.vectors, seen.classes, spikes.shape[2], self.seed, seen.name, spikes) / spikes.shape[2]
        return (self.signal(seen, spikes @ vectors.t()) @ vectors).view_as(seen.post), None

    def sweep(self, blocks: tuple[Block, ...]) -> Sweep:
        """The two timings."""
        return _TwoTimings(self, blocks)


class _TwoTimings(Sweep):
    def __init__(self, rule: TESS, blocks: Sequence[Block]) -> None:
        super().__init__(blocks, "TESS")
        recurrent = [b.name for b in blocks if b.recurrent is not None]
        if recurrent:
            raise InputError(f"TESS is for feed-forward layers, but {recurrent} are recurrent; use LLS()")
        self._tess = rule
        self._slopes: dict[int, Tensor] = {}

    def write(self, i: int, x: Tensor, drive: Tensor, output: Tensor, signal: Tensor) -> Tensor:
        """Both terms for hidden blocks; the last one learns as in every rule."""
        if i == len(self.blocks) - 1:
            return super().write(i, x, drive, output, signal)
        block, rule = self.blocks[i], self._tess
        (slope,) = torch.autograd.grad(output, drive, torch.ones_like(output), retain_graph=True)
        before = self._slopes.get(i, torch.zeros_like(slope[0]))
        traces = leak(rule.post_decay, slope)(slope, before.unsqueeze(0))[0]
        self._slopes[i] = traces[-1]
        earlier = torch.cat([before.unsqueeze(0), traces[:-1]])
        post = self.post_factor(block, drive, output, signal)
        block.add_synaptic(*self.pre_factor(i, x), rule.causal * post)
        block.add_synaptic(x, x.new_ones(len(x)), rule.acausal * signal * earlier)
        return post

    def response(self, i: int, like: Tensor) -> Response:
        """In hidden blocks the trace of the rule, not that of the membrane."""
        return super().response(i, like) if i == len(self.blocks) - 1 else leak(self._tess.pre_decay, like)


def _check_vectors(kind: str, temperature: float) -> None:
    if kind not in BASES:
        raise unknown_name("kind of label vectors", str(kind), BASES)
    if not temperature > 0:
        raise InputError(f"temperature={temperature!r} must be above 0")
