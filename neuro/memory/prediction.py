"""What theory says of Hebbian memories of random patterns, in the limit of many neurons."""

from __future__ import annotations

import math
from collections.abc import Callable

from neuro.errors import InputError

__all__ = ["one_step_overlap", "resting_overlap"]


def one_step_overlap(load: float, *, interaction: int = 2, flipped: float = 0.0) -> float:
    """Overlap with the pattern meant after one step, ``erf(m^(p - 1) / sqrt(2 load (2p - 3)!!))``, ``m = 1 - 2 flipped``.

    The field of a neuron is a signal ``m^(p - 1)`` and the crosstalk of the other patterns, Gaussian with variance
    ``K (2p - 3)!! / N^(p - 1)``. Krotov & Hopfield, "Dense associative memory for pattern recognition" (NeurIPS
    2016, eq. 5); order 2: Hertz, Krogh & Palmer, "Introduction to the theory of neural computation" (1991, 2.17).

    Args:
        load: ``K / N^(p - 1)``, K patterns of N neurons.
        interaction: p, from 2 on.
        flipped: share of the query's entries that are wrong.

    Raises:
        InputError: ``load`` not positive; p below 2; a share outside 0 to 1.

    >>> round(one_step_overlap(0.138), 4)
    0.9929
    """
    _check_load(load)
    if not isinstance(interaction, int) or isinstance(interaction, bool) or interaction < 2:
        raise InputError(f"interaction must be a whole number from 2 on, got {interaction!r}")
    if not 0 <= flipped <= 1:
        raise InputError(f"flipped must be from 0 to 1, got {flipped}")
    crosstalk = load * math.prod(range(2 * interaction - 3, 0, -2))
    return math.erf((1 - 2 * flipped) ** (interaction - 1) / math.sqrt(2 * crosstalk))


def resting_overlap(load: float) -> float:
    """Overlap at which a memory of order 2 comes to rest near a pattern; 0 above the critical load of about 0.138.

    ``m = erf(y)`` with the largest y that solves ``erf(y) = y (sqrt(2 load) + 2 exp(-y^2) / sqrt(pi))``. Amit, Gutfreund &
    Sompolinsky, "Storing infinite numbers of patterns in a spin-glass model of neural networks", PRL 1985. (A finite memory keeps a
    remnant of 0.3 to 0.4 above it.)

    Args:
        load: ``K / N``, K patterns of N neurons.

    Raises:
        InputError: ``load`` not positive.

    >>> round(resting_overlap(0.1), 3), round(resting_overlap(0.137), 2), resting_overlap(0.15)
    (0.998, 0.98, 0.0)
    """
    _check_load(load)

    def excess(y: float) -> float:
        return math.erf(y) - y * (math.sqrt(2 * load) + 2 * math.exp(-y * y) / math.sqrt(math.pi))

    # Negative for large y: the first sign change from above is the stable solution.
    high = 1 / math.sqrt(2 * load) + 1e-9
    steps = 4000
    for k in range(steps - 1, 0, -1):
        low = high * k / steps
        if excess(low) > 0:
            return math.erf(_root(excess, low, low + high / steps))
    return 0.0


def _root(excess: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that is positive at ``low`` and not at ``high`` is zero."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return low


def _check_load(load: float) -> None:
    if not 0 < load < math.inf:
        raise InputError(f"load must be above 0 and finite, got {load}")
