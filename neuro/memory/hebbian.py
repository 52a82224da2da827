"""Hebbian memories of binary patterns: classical, dense, exponential, multitasking.

No array of interactions ``[N, ..., N]`` is made: fields follow from the overlaps with the K
patterns, at a cost of K N for each step and state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from neuro.errors import InputError

__all__ = ["EXPONENTIAL", "HebbianMemory", "retrieval_curve"]

Interaction = int | Literal["exponential"]
EXPONENTIAL: Literal["exponential"] = "exponential"


class HebbianMemory:
    """Binary neurons s = +-1 that interact in groups of ``interaction`` through the stored patterns.

    ``s_i <- sign(sum_mu xi_i^mu F'(sum_{j != i} xi_j^mu s_j))``, all neurons at once; a field of zero leaves a
    neuron as it is. ``F'(m) = (m / N)^(p - 1)`` for p = ``interaction``: 2 is Hopfield's memory (PNAS 1982,
    about 0.138 N patterns), more is the dense memory (Krotov & Hopfield, NeurIPS 2016, of the order of
    N^(p - 1)); ``"exponential"`` is ``F'(m) = exp(m)`` (Demircigil et al., J. Stat. Phys. 2017). Patterns
    with blanks (zeros) make order 2 the multitasking memory (Agliari et al., PRL 2012), which recalls
    several at once: with a share d of blanks of the amplitudes ``(1 - d) d^k``, k = 0, 1, ..., while d is small.

    Args:
        patterns: ``[K, N]`` of -1, 0 and 1, without unit.
        interaction: how many neurons interact, 2 or more, or ``"exponential"``.

    Raises:
        InputError: patterns of another shape or of other values; an interaction below 2.

    >>> stored = torch.tensor([[1.0, 1, 1, -1, -1, -1], [1, -1, 1, -1, 1, -1]])
    >>> HebbianMemory(stored).recall(torch.tensor([[-1.0, 1, 1, -1, -1, -1]])).tolist()
    [[1.0, 1.0, 1.0, -1.0, -1.0, -1.0]]
    """

    def __init__(self, patterns: Tensor, interaction: Interaction = 2) -> None:
        if patterns.dim() != 2 or not patterns.is_floating_point() or 0 in patterns.shape:
            raise InputError(
                f"patterns must be [K, N] floats, at least one, got {list(patterns.shape)} {patterns.dtype}"
            )
        if not bool(torch.isin(patterns, patterns.new_tensor([-1.0, 0.0, 1.0])).all()):
            raise InputError("patterns must hold -1, 0 (blank) and 1 only; patterns.sign() makes them so")
        whole = isinstance(interaction, int) and not isinstance(interaction, bool)
        if interaction != EXPONENTIAL and not (whole and int(interaction) >= 2):
            raise InputError(f"interaction must be a whole number from 2 on or 'exponential', got {interaction!r}")
        self.patterns, self.interaction = patterns, interaction

    def field(self, state: Tensor) -> Tensor:
        """What each neuron feels, ``[B, N]``, up to a positive factor for each state ``[B, N]`` of +-1."""
        self._check(state)
        overlap = state @ self.patterns.t()
        # Without neuron i itself an overlap is one less where pattern and state agree there, else one more.
        agree, differ = self._force(overlap)
        mean, half = (agree + differ) / 2, (agree - differ) / 2
        return mean @ self.patterns + state * (half @ self.patterns.square())

    def _force(self, overlap: Tensor) -> tuple[Tensor, Tensor]:
        if self.interaction == EXPONENTIAL:
            scaled = torch.exp(overlap - overlap.amax(1, keepdim=True))
            return scaled / torch.e, scaled * torch.e
        neurons, power = self.patterns.shape[1], int(self.interaction) - 1
        return ((overlap - 1) / neurons) ** power, ((overlap + 1) / neurons) ** power

    def recall(self, state: Tensor, *, steps: int = 1) -> Tensor:
        """The state after up to ``steps`` steps, fewer once nothing changes.

        Args:
            state: ``[B, N]`` of +-1.
            steps: at most so many.

        Returns:
            ``[B, N]`` of +-1.

        Raises:
            InputError: a state of another shape or of other values.
        """
        for _ in range(steps):
            felt = self.field(state)
            after = torch.where(felt == 0, state, felt.sign())
            if torch.equal(after, state):
                break
            state = after
        return state

    def overlaps(self, state: Tensor) -> Tensor:
        """``m_k = xi^k . s / N`` with each pattern, ``[B, K]``, of states ``[B, N]``."""
        return state @ self.patterns.t() / self.patterns.shape[1]

    def _check(self, state: Tensor) -> None:
        if state.dim() != 2 or state.shape[1] != self.patterns.shape[1] or state.dtype != self.patterns.dtype:
            raise InputError(
                f"state must be [B, {self.patterns.shape[1]}] {self.patterns.dtype}, got {list(state.shape)} {state.dtype}"
            )
        if not bool((state.abs() == 1).all()):
            raise InputError("state must hold -1 and 1 only")


def retrieval_curve(
    neurons: int,
    counts: Sequence[int],
    *,
    interaction: Interaction = 2,
    flipped: float = 0.1,
    steps: int = 20,
    queries: int = 50,
    seed: int = 0,
) -> list[float]:
    """Mean overlap with the pattern meant, for each number of random patterns stored.

    Args:
        neurons: N.
        counts: numbers of patterns.
        interaction, steps: as for :class:`HebbianMemory`.
        flipped: probability that an entry of a query is flipped.
        queries: patterns asked for, at most.
        seed: of patterns and flips.

    Returns:
        One number from -1 to 1 for each of ``counts``; 1 is perfect recall.

    >>> retrieval_curve(100, [5], seed=1)
    [1.0]
    """
    generator, found = torch.Generator().manual_seed(seed), []
    for count in counts:
        patterns = torch.randint(0, 2, (count, neurons), generator=generator).double() * 2 - 1
        meant = patterns[:queries]
        flips = torch.rand(meant.shape, generator=generator) < flipped
        recalled = HebbianMemory(patterns, interaction).recall(torch.where(flips, -meant, meant), steps=steps)
        found.append(float((recalled * meant).mean()))
    return found
