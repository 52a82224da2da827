"""Numba loops of propagation over compressed rows; see :mod:`neuro.kernels.propagation.propagate`.

``arrivals`` is ``[T + D + 1, B, O]``: what reaches each neuron in each step, the steps after the
last one included. ``weight`` and ``delay`` hold one entry for all synapses, or one for each.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["grad_input", "grad_weight", "scatter"]

Array = np.ndarray[Any, Any]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def scatter(
    start: Array,
    index: Array,
    value: Array,
    indptr: Array,
    indices: Array,
    weight: Array,
    delay: Array,
    arrivals: Array,
    time: int,
    b0: int,
    b1: int,
) -> None:
    """``arrivals[t + delay[s], b, indices[s]] += weight[s] * value`` for the events of samples ``b0:b1``."""
    batch = arrivals.shape[1]
    graded = value.shape[0] > 0
    own_weight = weight.shape[0] > 1
    own_delay = delay.shape[0] > 1
    for b in range(b0, b1):
        for t in range(time):
            r = t * batch + b
            for k in range(start[r], start[r + 1]):
                a = value[k] if graded else arrivals.dtype.type(1)
                first, last = indptr[index[k]], indptr[index[k] + 1]
                if first == last:
                    continue
                if own_delay:
                    for s in range(first, last):
                        arrivals[t + delay[s], b, indices[s]] += a * weight[s if own_weight else 0]
                else:
                    target = arrivals[t + delay[0], b]
                    if own_weight:
                        for s in range(first, last):
                            target[indices[s]] += a * weight[s]
                    else:
                        one = a * weight[0]
                        for s in range(first, last):
                            target[indices[s]] += one


@numba.njit(error_model="numpy", nogil=True, cache=True)
def grad_input(
    grad: Array,
    indptr: Array,
    indices: Array,
    weight: Array,
    delay: Array,
    out: Array,
    b0: int,
    b1: int,
    i0: int,
    i1: int,
) -> None:
    """``out[t, b, i] = sum_s weight[s] * grad[t + delay[s], b, indices[s]]`` over the synapses of i."""
    own_weight = weight.shape[0] > 1
    own_delay = delay.shape[0] > 1
    for t in range(out.shape[0]):
        for b in range(b0, b1):
            for i in range(i0, i1):
                total = grad.dtype.type(0)
                for s in range(indptr[i], indptr[i + 1]):
                    d = delay[s if own_delay else 0]
                    total += weight[s if own_weight else 0] * grad[t + d, b, indices[s]]
                out[t, b, i] = total


@numba.njit(error_model="numpy", nogil=True, cache=True)
def grad_weight(
    start: Array,
    index: Array,
    value: Array,
    grad: Array,
    indptr: Array,
    indices: Array,
    delay: Array,
    out: Array,
    shared: bool,
    time: int,
    i0: int,
    i1: int,
) -> None:
    """``out[s] += value * grad[t + delay[s], b, indices[s]]`` for the events of neurons ``i0:i1``.

    With ``shared`` (one weight for all) the sum over all of them goes to ``out[0]``.
    """
    batch = grad.shape[1]
    graded = value.shape[0] > 0
    own_delay = delay.shape[0] > 1
    total = grad.dtype.type(0)
    for r in range(time * batch):
        t, b = r // batch, r % batch
        k, last = start[r], start[r + 1]
        if i0 > 0 and k < last:
            k += np.searchsorted(index[k:last], i0)
        while k < last and index[k] < i1:
            a = value[k] if graded else grad.dtype.type(1)
            for s in range(indptr[index[k]], indptr[index[k] + 1]):
                one = a * grad[t + delay[s if own_delay else 0], b, indices[s]]
                if shared:
                    total += one
                else:
                    out[s] += one
            k += 1
    if shared:
        out[0] = total
