"""Tasks that ask for memory of a chosen length: the parity of the last N bits, and delayed match to sample.

Khajehabdollahi et al. 2024, "Emergent mechanisms for long timescales depend on training curriculum and affect
performance in memory tasks" (ICLR). Made on the fly, so every batch is new and no two need agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from neuro.errors import InputError

__all__ = ["MEMORY_TASKS", "delayed_match", "parity"]


def parity(lags: Sequence[int], batch: int, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Bits, and for each ``N`` in ``lags`` whether an odd number of the last N is set (N-parity).

    All sequences of a batch have one length, drawn from ``[L + 2, 4 L + 2)`` where L is the longest lag. Each has its own
    share of set bits, uniform in [0, 1]: with a share of one half, parities of different N would tell nothing of each other.

    Args:
        lags: the N, one for each head, from 1 on.
        batch: number of sequences.
        generator: of random numbers; torch's own unless given.

    Returns:
        Bits ``[T, batch, 1]`` (0.0 or 1.0), one each step, and classes ``[batch, len(lags)]`` (0 or 1) at the last step.

    Raises:
        InputError: no lag, a lag or a batch below 1.

    >>> x, y = parity((2, 5), 3, generator=torch.Generator().manual_seed(0))
    >>> bool((x[-5:].sum(0)[:, 0] % 2 == y[:, 1]).all())
    True
    """
    time = _length(lags, batch, generator)
    share = torch.rand((1, batch), generator=generator)
    bits = torch.rand((time, batch), generator=generator) < share
    counts = bits.flip(0).cumsum(0)
    return bits.float().unsqueeze(2), torch.stack([counts[n - 1] % 2 for n in lags], 1)


def delayed_match(
    lags: Sequence[int], batch: int, *, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Bits, and for each ``N`` in ``lags`` whether the last bit is that of N - 1 steps before (N-DMS).

    Lengths are those of :func:`parity`; half of the bits are set.

    Args:
        lags: the N, one for each head, from 1 on.
        batch: number of sequences.
        generator: of random numbers; torch's own unless given.

    Returns:
        Bits ``[T, batch, 1]`` (0.0 or 1.0), one each step, and classes ``[batch, len(lags)]`` (1 where they match).

    Raises:
        InputError: no lag, a lag or a batch below 1.

    >>> x, y = delayed_match((3,), 4, generator=torch.Generator().manual_seed(0))
    >>> bool(((x[-1] == x[-3]) == y).all())
    True
    """
    time = _length(lags, batch, generator)
    bits = torch.rand((time, batch), generator=generator) < 0.5
    return bits.float().unsqueeze(2), torch.stack([(bits[-1] == bits[-n]).long() for n in lags], 1)


def _length(lags: Sequence[int], batch: int, generator: torch.Generator | None) -> int:
    if not lags or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in lags):
        raise InputError(f"lags must be whole numbers from 1 on, at least one, got {tuple(lags)}")
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise InputError(f"batch must be a whole number from 1 on, got {batch!r}")
    longest = max(lags)
    return int(torch.randint(longest + 2, 4 * longest + 2, (), generator=generator))


MEMORY_TASKS: Mapping[str, Callable[..., tuple[Tensor, Tensor]]] = MappingProxyType(
    {"parity": parity, "delayed_match": delayed_match}
)
"""The tasks by name: ``(lags, batch, generator=) -> (bits [T, B, 1], classes [B, lags])``."""
