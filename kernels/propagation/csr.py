"""Sparse connections: who reaches whom, and after how many steps. The weights are held beside them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from neuro.errors import InputError

__all__ = ["CSR"]


@dataclass(frozen=True, eq=False)
class CSR:
    """Connections as compressed rows, one row for each presynaptic neuron.

    Args:
        indptr: ``[I + 1]`` (int64), where each row begins.
        indices: ``[S]`` (int32), the postsynaptic neuron of each synapse, in any order, repeats allowed.
        post: O, the number of postsynaptic neurons.
        delay: time steps from spike to arrival: one integer, or ``[S]`` (int32). 0 arrives in the same step.
        max_delay: D, the longest delay in steps that the ring has room for; by default the longest there is.

    Raises:
        InputError: falling ``indptr``, an index out of range, a delay that is negative or beyond the ring.

    >>> CSR(torch.tensor([0, 2, 3]), torch.tensor([0, 2, 1], dtype=torch.int32), 3).dense(torch.ones(3)).tolist()
    [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """

    indptr: Tensor
    indices: Tensor
    post: int
    delay: int | Tensor = 0
    max_delay: int = field(default=-1)

    def __post_init__(self) -> None:
        """Check that no loop over these arrays can leave them."""
        _check_rows(self.indptr, self.indices, self.post)
        low, high = _delays(self.delay, self.indices)
        if self.max_delay == -1:
            object.__setattr__(self, "max_delay", high)
        if not 0 <= low <= high <= self.max_delay:
            raise InputError(f"delay must be in 0..{max(self.max_delay, 0)} steps, got {low}..{high}")

    @property
    def pre(self) -> int:
        """I, the number of presynaptic neurons."""
        return self.indptr.shape[0] - 1

    @property
    def synapses(self) -> int:
        """S, the number of synapses."""
        return self.indices.shape[0]

    @classmethod
    def fixed_number(cls, targets: Tensor, post: int, *, delay: int | Tensor = 0, max_delay: int = -1) -> CSR:
        """The same number of synapses from each presynaptic neuron.

        Args:
            targets: ``[I, K]`` (int32), the postsynaptic neurons each reaches.
            post: O.
            delay: time steps; one integer, or ``[I, K]`` (int32).
            max_delay: as for :class:`CSR`, in steps.
        """
        if targets.dim() != 2:
            raise InputError(f"targets must be [I, K], got {list(targets.shape)}")
        if isinstance(delay, Tensor):
            if delay.shape != targets.shape:
                raise InputError(f"delay must be {list(targets.shape)} like targets, got {list(delay.shape)}")
            delay = delay.reshape(-1)
        indptr = torch.arange(targets.shape[0] + 1, device=targets.device) * targets.shape[1]
        return cls(indptr, targets.reshape(-1), post, delay, max_delay)

    @classmethod
    def of(cls, weight: Tensor) -> tuple[CSR, Tensor]:
        """The connections and weights ``[S]`` of a dense matrix ``weight [I, O]``; zeros are no synapses."""
        if weight.dim() != 2:
            raise InputError(f"weight must be [I, O], got {list(weight.shape)}")
        kept = weight != 0
        indptr = torch.cat([kept.new_zeros(1, dtype=torch.int64), kept.sum(1).cumsum(0)])
        return cls(indptr, kept.nonzero()[:, 1].int(), weight.shape[1]), weight[kept]

    def rows(self) -> Tensor:
        """``[S]``: the presynaptic neuron of each synapse."""
        return torch.repeat_interleave(torch.arange(self.pre, device=self.indptr.device), self.indptr.diff())

    def dense(self, weight: Tensor) -> Tensor:
        """The matrix ``[I, O]`` of weights ``[S]`` (or one weight); synapses of the same pair add up."""
        out = weight.new_zeros((self.pre, self.post))
        return out.index_put((self.rows(), self.indices.long()), weight.expand(self.synapses), accumulate=True)

    def dense_delays(self, weight: Tensor) -> Tensor:
        """The matrices ``[D + 1, I, O]``: entry d holds the synapses that take d steps."""
        out = weight.new_zeros((self.max_delay + 1, self.pre, self.post))
        delay = torch.as_tensor(self.delay).long().expand(self.synapses)
        return out.index_put((delay, self.rows(), self.indices.long()), weight.expand(self.synapses), accumulate=True)


def _check_rows(indptr: Tensor, indices: Tensor, post: int) -> None:
    if indptr.dim() != 1 or indptr.shape[0] == 0 or indptr.dtype != torch.int64:
        raise InputError(f"indptr must be [I + 1] int64, got {list(indptr.shape)} {indptr.dtype}")
    if indices.dim() != 1 or indices.dtype != torch.int32 or indices.device != indptr.device:
        raise InputError(
            f"indices must be [S] int32 on {indptr.device}, got {list(indices.shape)} {indices.dtype} on {indices.device}"
        )
    synapses = indices.shape[0]
    if int(indptr[0]) != 0 or int(indptr[-1]) != synapses:
        raise InputError(f"indptr must go from 0 to {synapses}, the number of indices, got {indptr[0]}..{indptr[-1]}")
    falls = (indptr.diff() < 0).nonzero()
    if falls.numel():
        at = int(falls[0])
        raise InputError(f"indptr must not fall, got {indptr[at]} then {indptr[at + 1]} at {at}")
    if synapses and not 0 <= int(indices.min()) <= int(indices.max()) < post:
        raise InputError(f"indices must be in 0..{post - 1}, got {indices.min()}..{indices.max()}")


def _delays(delay: int | Tensor, indices: Tensor) -> tuple[int, int]:
    if isinstance(delay, int):
        return delay, delay
    if delay.shape != indices.shape or delay.dtype != torch.int32 or delay.device != indices.device:
        raise InputError(
            f"delay must be an integer or {list(indices.shape)} int32 on {indices.device} like indices, "
            f"got {list(delay.shape)} {delay.dtype} on {delay.device}"
        )
    return (int(delay.min()), int(delay.max())) if delay.numel() else (0, 0)
