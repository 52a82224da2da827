"""Rules on spike times: STDP, with or without reward, and the product of traces."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.plasticity.law import TimingLaw
from neuro.kernels.plasticity.modulated import modulated_stdp
from neuro.kernels.plasticity.outer import exponential_trace, gated_outer
from neuro.kernels.plasticity.stdp import stdp
from neuro.plasticity.rule import Activity, LocalRule

__all__ = ["STDP", "ModulatedSTDP", "TraceProduct", "reward_error"]


def _mean_over(batch: int, law: TimingLaw) -> TimingLaw:
    names = ("a2_plus", "a2_minus", "a3_plus", "a3_minus")
    return replace(law, **{name: getattr(law, name) / max(1, batch) for name in names})


@dataclass(frozen=True)
class STDP(LocalRule):
    """Pair or triplet STDP between the spikes that come in and those of the neurons behind.

    The change is the mean over the batch of what :func:`neuro.kernels.plasticity.stdp.stdp` does. Weights that an
    optimizer has left outside the law's bounds are taken as at the bound.
    """

    reads: ClassVar[tuple[str, ...]] = ("pre", "post")
    law: TimingLaw = field(default_factory=TimingLaw)

    def change(self, value: Tensor, seen: Activity, state: Any = None) -> tuple[Tensor, Any]:
        """As in :meth:`LocalRule.change`; the state is the traces."""
        inside = value.detach().clamp(self.law.w_min, self.law.w_max)
        law = _mean_over(seen.pre.shape[1], self.law)
        changed, traces = stdp(inside, seen.pre, seen.post, law, state)
        return changed - value.detach(), traces


@dataclass(frozen=True)
class ModulatedSTDP(LocalRule):
    """STDP that waits in an eligibility for a modulator: ``w += M(t) e(t)``; reward-modulated STDP.

    Izhikevich, "Solving the distal reward problem through linkage of STDP and dopamine signaling", 2007.
    See :func:`reward_error` for ``M``.

    Args:
        law: windows, triplets, bounds.
        tau: time constant of the eligibility in seconds.
    """

    reads: ClassVar[tuple[str, ...]] = ("pre", "post", "modulator")
    law: TimingLaw = field(default_factory=TimingLaw)
    tau: float = 0.5

    def change(self, value: Tensor, seen: Activity, state: Any = None) -> tuple[Tensor, Any]:
        """As in :meth:`LocalRule.change`; the state is traces and eligibilities."""
        if seen.modulator is None:
            raise InputError("ModulatedSTDP needs a modulator [T, B]: give write_grad(..., modulator=...)")
        inside = value.detach().clamp(self.law.w_min, self.law.w_max)
        law = _mean_over(seen.pre.shape[1], self.law)
        changed, state = modulated_stdp(inside, seen.pre, seen.post, seen.modulator, law, tau=self.tau, state=state)
        return changed - value.detach(), state


@dataclass(frozen=True)
class TraceProduct(LocalRule):
    """``dW = < M(t) o(t) r(t)^T >``: the traces of both sides, and a modulator if there is one.

    ``r[t] = exp(-dt / tau_pre) r[t-1] + x[t]`` and ``o`` alike; a time constant of 0 takes the activity as it is.

    Args:
        tau_pre, tau_post: time constants in seconds.
        dt: time step in seconds.

    Raises:
        InputError: a negative time constant; ``dt`` not positive.
    """

    reads: ClassVar[tuple[str, ...]] = ("pre", "post", "modulator")
    tau_pre: float = 20e-3
    tau_post: float = 0.0
    dt: float = 1e-3

    def __post_init__(self) -> None:
        """Check all three."""
        if not (0 <= self.tau_pre < math.inf and 0 <= self.tau_post < math.inf and 0 < self.dt < math.inf):
            raise InputError(
                "tau_pre and tau_post must be 0 or positive, dt positive (seconds), "
                f"got {self.tau_pre}, {self.tau_post} and {self.dt}"
            )

    def change(self, value: Tensor, seen: Activity, state: Any = None) -> tuple[Tensor, Any]:
        """As in :meth:`LocalRule.change`; the state is the trace of each side, ``[B, I]`` and ``[B, O]``."""
        past = state or (None, None)
        pre, pre_end = self._trace(seen.pre, self.tau_pre, past[0])
        post, post_end = self._trace(seen.post, self.tau_post, past[1])
        return gated_outer(seen.gated(post), pre) / max(1, pre.shape[0] * pre.shape[1]), (pre_end, post_end)

    def _trace(self, x: Tensor, tau: float, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return exponential_trace(x, math.exp(-self.dt / tau), state) if tau > 0 else (x, None)


def reward_error(reward: Tensor, expected: float = 0.0, *, rate: float = 0.05) -> tuple[Tensor, float]:
    """Reward less what was expected, and the expectation after it: the modulator of reward-modulated STDP.

    Args:
        reward: ``[B]``, one for each sample.
        expected: running mean of earlier rewards.
        rate: share of the mean reward that the expectation takes up, without unit.

    Returns:
        ``[B]``, and the new expectation.

    >>> import torch
    >>> reward_error(torch.tensor([1.0, 0.0]), 0.5, rate=0.1)
    (tensor([ 0.5000, -0.5000]), 0.5)
    """
    if not 0 < rate <= 1:
        raise InputError(f"rate must be above 0 and at most 1, got {rate}")
    return reward - expected, expected + rate * (float(reward.mean()) - expected)
