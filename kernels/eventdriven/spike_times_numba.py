"""Numba loop that sorts spikes of a grid by sample; see :mod:`neuro.kernels.eventdriven.spike_times`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["by_sample"]

Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def by_sample(first: Array, index: Array, batch: int, dt: float, start: Array, time: Array, neuron: Array) -> None:
    """Spikes listed for each row ``t * batch + b`` of ``first`` into ``time`` [s] and ``neuron``, sample after sample."""
    place = start[:-1].copy()
    for row in range(first.shape[0] - 1):
        b = row % batch
        for k in range(first[row], first[row + 1]):
            time[place[b]] = (row // batch) * dt
            neuron[place[b]] = index[k]
            place[b] += 1
