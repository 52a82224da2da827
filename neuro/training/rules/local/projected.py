"""Learning from the label through a fixed random matrix: no error travels back, no layer waits for another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.training.rules.base import About
from neuro.training.rules.local.chain import Block
from neuro.training.rules.local.fixed_random import uniform
from neuro.training.rules.local.sweep import Sweep
from neuro.training.rules.local.three_factor import Seen, ThreeFactor, check_whole, one_hot

__all__ = ["DRTP", "TPSGD"]

_FEEDBACK = ("target", "error", "sign", "layers", "none")
_NORMS = ("l1", "l2")


@dataclass(frozen=True)
class DRTP(ThreeFactor):
    """Direct random target projection: ``M = B^T y*``, ``B`` random and fixed, ``y*`` the one-hot label.

    Hidden layers read neither the output nor its error. Frenkel, Lefebvre & Bol, "Learning without feedback:
    Fixed random learning signals allow for feedforward training of deep neural networks", Front. Neurosci. 2021,
    with the authors' other feedbacks in place of the target.

    Args:
        feedback: ``"target"``; ``"error"`` of the output (direct feedback alignment, Nokland 2016) or its
            ``"sign"``, which run the network twice; ``"layers"``: the error comes down from layer to layer as in
            back-propagation, through random synapses instead of those above (feedback alignment, Lillicrap et al.
            2016); ``"none"``: only the last layer learns.
        seed: of the matrices, which are a function of it and of each layer's name.

    Raises:
        InputError: an option out of range.
    """

    about: ClassVar[About] = About(
        paper="Frenkel, Lefebvre & Bol 2021, Learning without feedback: fixed random learning signals allow for feedforward training of deep neural networks",
        memory="flat in T: states, traces and one chunk of steps",
        time="one pass of local products; two forward passes for feedback from the error",
        needs="a chain of affine synapses and cells, labels; random matrices are functions of the seed",
        exact="the last layer (no reset between steps counted); hidden layers follow another signal",
    )

    feedback: str = "target"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("seed", self.seed, 0)
        if self.feedback not in _FEEDBACK:
            raise unknown_name("feedback", str(self.feedback), _FEEDBACK)

    def reads_error(self) -> bool:
        """Whether feedback comes from the output."""
        return self.feedback in ("error", "sign")

    def learn(
        self, sweep: Sweep, x: Tensor, seen: Callable[..., Seen], pasts: list[Any], judged: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """As in :class:`ThreeFactor`; feedback from layer to layer goes down when all of them have run."""
        if self.feedback != "layers":
            return super().learn(sweep, x, seen, pasts, judged)
        ran = []
        for i in range(len(sweep.blocks)):
            drive, output = sweep.run(i, x)
            ran.append((x, drive, output))
            x = output.detach()
        gate = (seen(name="", post=x, past=None).share > 0).to(x)
        signal = judged(x)
        for i, (came, drive, output) in reversed(list(enumerate(ran))):
            post = sweep.write(i, came, drive, output, signal)
            if i > 0:
                block = sweep.blocks[i]
                back = block.carry_back(came, post, _random_weights(self.seed, block))
                signal = (back.flatten(2) * gate).view_as(back)
        return x

    def modulator(self, seen: Seen) -> tuple[Tensor, Any]:
        """``[t, B, *size]``."""
        if self.feedback == "none":
            return seen.post.new_zeros(seen.post.shape), None
        source = one_hot(seen).expand(len(seen.post), -1, -1)
        if seen.error is not None:
            source = seen.error.sign() if self.feedback == "sign" else seen.error
        return (source @ _projection(self.seed, seen)).view_as(seen.post), None


@dataclass(frozen=True)
class TPSGD(ThreeFactor):
    """Target-projection SGD: each layer has a target of its own, ``P y*``, ``P`` random and fixed.

    With rates ``r``, spikes averaged over the steps so far, and targets ``t = rate`` where ``P y*`` is large, else 0:
    ``M = sign(r - t)`` (``norm="l1"``, one bit) or ``r - t`` (``"l2"``). DRTP is what is left where ``r`` is ignored.
    Lomnitz, Daniels, Zhang & Piacentino, "Learning with local gradients at the edge", 2022 (in their words, for rates).

    Args:
        norm: ``"l1"`` or ``"l2"``.
        rate: spikes per step that the neurons of a class are asked for, above 0, at most 1.
        active: share of the neurons that a class asks for: those with ``P y*`` in the upper ``active`` of its range.
        seed: of the matrices.

    Raises:
        InputError: an option out of range.
    """

    about: ClassVar[About] = About(
        paper="Lomnitz, Daniels, Zhang & Piacentino 2022, Learning with local gradients at the edge",
        memory="flat in T: states, traces and one chunk of steps",
        time="one pass of local products",
        needs="a chain of affine synapses and cells, labels; random matrices are functions of the seed",
        exact="its own targets, layer by layer; the last layer",
    )

    norm: str = "l1"
    rate: float = 0.5
    active: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("seed", self.seed, 0)
        if self.norm not in _NORMS:
            raise unknown_name("norm", str(self.norm), _NORMS)
        if not 0 < self.rate <= 1:
            raise InputError(f"rate={self.rate!r} must be above 0, at most 1 spike per step")
        if not 0 < self.active < 1:
            raise InputError(f"active={self.active!r} must be above 0, below 1: a share of the neurons")

    def modulator(self, seen: Seen) -> tuple[Tensor, Any]:
        """``[t, B, *size]``."""
        rates, past = running_mean(seen.post, seen.past)
        projected = one_hot(seen) @ _projection(self.seed, seen)
        level = (1 - 2 * self.active) * math.sqrt(6 / projected.shape[1])
        target = self.rate * (projected > level).to(seen.post)
        distance = rates - target.view(seen.post.shape[1:])
        return distance.sign() if self.norm == "l1" else distance, past


def _random_weights(seed: int, block: Block) -> dict[str, Tensor]:
    """Fixed weights in the place of those of the synapses, of the same shapes."""
    return {
        f"{number}.{name}": uniform(seed, f"{block.name}.{name}", len(p), p[0].numel(), p).view_as(p)
        for number, synapse in enumerate(block.synapses)
        for name, p in synapse.named_parameters()
        if p.dim() > 1
    }


def _projection(seed: int, seen: Seen) -> Tensor:
    """``[C, N]``."""
    return uniform(seed, seen.name, seen.classes, seen.post[0, 0].numel(), seen.post)


def running_mean(post: Tensor, past: tuple[Tensor, int] | None) -> tuple[Tensor, tuple[Tensor, int]]:
    """Mean over the steps so far, ``[t, B, *size]``, and (sum, steps) to go on from."""
    total, steps = past or (post.new_zeros(post.shape[1:]), 0)
    sums = post.cumsum(0) + total
    counts = post.new_tensor(range(steps + 1, steps + len(post) + 1)).view(-1, *(1,) * (post.dim() - 1))
    return sums / counts, (sums[-1], steps + len(post))
