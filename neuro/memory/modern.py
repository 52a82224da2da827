"""Memory of real patterns whose one step is attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuro.errors import InputError

__all__ = ["ModernMemory"]


class ModernMemory:
    """Real patterns ``x_mu``; a state moves to their mean, weighted by how near they are.

    ``xi' = X^T softmax(beta X xi)``, which lowers the energy
    ``E = -1/beta log sum_mu exp(beta x_mu . xi) + xi . xi / 2 + log(K) / beta + M^2 / 2``, M the longest
    pattern (Ramsauer et al., "Hopfield networks is all you need", ICLR 2021). Differentiable in
    patterns and states: one step is attention with keys and values X.

    Args:
        patterns: ``[K, N]``, without unit.
        beta: inverse temperature, above 0; ``1 / sqrt(N)`` unless given. Small: means of many patterns.

    Raises:
        InputError: patterns of another shape; beta not above 0.

    >>> stored = torch.tensor([[4.0, 0.0], [0.0, 4.0]])
    >>> [round(v, 3) for v in ModernMemory(stored, beta=2.0).recall(torch.tensor([[1.0, 0.0]]))[0].tolist()]
    [3.999, 0.001]
    """

    def __init__(self, patterns: Tensor, beta: float | None = None) -> None:
        if patterns.dim() != 2 or not patterns.is_floating_point() or 0 in patterns.shape:
            raise InputError(
                f"patterns must be [K, N] floats, at least one, got {list(patterns.shape)} {patterns.dtype}"
            )
        beta = 1 / math.sqrt(patterns.shape[1]) if beta is None else beta
        if not (math.isfinite(beta) and beta > 0):
            raise InputError(f"beta must be a finite number above 0, got {beta}")
        self.patterns, self.beta = patterns, beta

    def recall(self, state: Tensor, *, steps: int = 1) -> Tensor:
        """The states ``[B, N]`` after ``steps`` steps.

        Raises:
            InputError: states of another shape or dtype.
        """
        self._check(state)
        for _ in range(steps):
            state = torch.softmax(self.beta * (state @ self.patterns.t()), -1) @ self.patterns
        return state

    def energy(self, state: Tensor) -> Tensor:
        """E of each state ``[B, N]``, ``[B]``; never below zero."""
        self._check(state)
        near = torch.logsumexp(self.beta * (state @ self.patterns.t()), -1) / self.beta
        longest = self.patterns.square().sum(1).amax()
        return state.square().sum(1) / 2 + longest / 2 + math.log(len(self.patterns)) / self.beta - near

    def _check(self, state: Tensor) -> None:
        if state.dim() != 2 or state.shape[1] != self.patterns.shape[1] or state.dtype != self.patterns.dtype:
            raise InputError(
                f"state must be [B, {self.patterns.shape[1]}] {self.patterns.dtype}, got {list(state.shape)} {state.dtype}"
            )
