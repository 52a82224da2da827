"""Numba source text of the recurrent scan with delays, forward; backward is that of :mod:`neuro.kernels.scans.recurrent_source`.

A spike is added to the currents still to come when it happens: with taps to each of the D
steps ahead, with whole delays to one step for each synapse. Both add in the same order, time
then presynaptic neuron, so that whole delays and taps that are one or zero give the same bits.
"""

from __future__ import annotations

from neuro.kernels.compiler.numba_source import _Lines, _split
from neuro.kernels.compiler.program import Program
from neuro.kernels.scans.recurrent_source import _whole, cell_rows

__all__ = ["delayed_forward_source"]

# The text is part of every generated module: a change here makes a new module, so that no stale compiled code is met.
_TAPS = """def spread(row, pending, slot, first, table, steps):
    lags = pending.shape[0]
    for n in range(row.shape[0]):
        value = row[n]
        if value != 0:
            for lag in range(first, lags + 1):
                at = slot + lag
                target = pending[at - lags if at >= lags else at]
                weight = table[lag - 1, n]
                for m in range(target.shape[0]):
                    target[m] += value * weight[m]
"""
_WHOLE_STEPS = """def spread(row, pending, slot, first, table, steps):
    lags = pending.shape[0]
    for n in range(row.shape[0]):
        value = row[n]
        if value != 0:
            weight = table[n]
            lag = steps[n]
            for m in range(weight.shape[0]):
                if lag[m] >= first:
                    at = slot + lag[m]
                    pending[at - lags if at >= lags else at, m] += value * weight[m]
"""


def delayed_forward_source(
    program: Program, dtype: str, saved: tuple[int, ...], keep_current: bool, rounded: bool, shared: tuple[bool, ...]
) -> str:
    """Text of ``kernel(x, before, state, C, table, steps, y, saved, current, b0, b1)``.

    ``before [D, B, N]`` are the outputs of the steps before, oldest first; ``table`` is
    ``[D, N, N]`` (lag - 1, pre, post), or with ``rounded`` ``[N, N]`` (pre, post) beside
    ``steps [N, N]`` within 1..D. The others are as for the scan with one step of delay.
    """
    once, each = _split(program, shared)
    out = _Lines()
    out("def kernel(_x, _before, _state, _C, _table, _steps, _y, _saved, _current, _b0, _b1):")
    out.depth = 1
    out("_lags = _before.shape[0]", "_row = np.empty(_x.shape[2], F)", "_pending = np.empty((_lags, _x.shape[2]), F)")
    out(*(f"{c} = _C[{k}, 0]" for k, c in once), "for _b in range(_b0, _b1):")
    out.depth = 2
    out("_pending[:] = F(0)", "for _k in range(_lags):")
    out("    spread(_before[_k, _b], _pending, _k, _lags - _k, _table, _steps)")
    out("for _t in range(_x.shape[0]):")
    out.depth = 3
    out("_slot = _t % _lags", *(["_row = _current[_t, _b]"] if keep_current else []))
    out("_row[:] = _x[_t, _b] + _pending[_slot]", "_pending[_slot] = F(0)")
    cell_rows(out, program, saved, each)
    out("spread(_y_row, _pending, _slot, 1, _table, _steps)")
    return _whole(dtype, _WHOLE_STEPS if rounded else _TAPS, out.text())
