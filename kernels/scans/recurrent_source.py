"""Numba source text of the recurrent scan: one program whose output is fed back, forward and backward.

Layout as in :mod:`neuro.kernels.compiler.numba_source`. A call runs the rows ``b0:b1`` of the
batch, which share nothing, so any number of threads gives the same bits. The forward pass is the
whole time loop; it adds one row of the transposed weight per neuron that fired. The backward
pass runs the steps ``t0:t1``; between steps the caller multiplies the current's gradients with
the weight, all rows at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from neuro.kernels import engines
from neuro.kernels.compiler.equations import SPIKE
from neuro.kernels.compiler.numba_source import _Lines, _reset, _split, _t
from neuro.kernels.compiler.program import Backward, Program, current_states, uses_spike
from neuro.kernels.compiler.surrogate import SURROGATES

__all__ = ["cell_rows", "recurrent_backward_source", "recurrent_forward_source"]

# Of the steps the kernel calls: a change there makes a new module too, so that no stale compiled code is met.
_LANES = hashlib.sha256((Path(engines.__path__[0]) / "lanes_numba.py").read_bytes()).hexdigest()[:12]
_START = """# lanes {lanes}
import math

import numba
import numpy as np

from neuro.kernels.engines.lanes_numba import NARROW, WIDE, add_rows_narrow, add_rows_wide, mask_nonzero, trailing_zeros

F = np.{dtype}


"""
_DECORATOR = """@numba.njit(error_model="numpy", nogil=True, cache=True)
"""
# The text is part of every generated module: a change here makes a new module, so that no stale compiled code is met.
_GATHER = """def gather(before, index, value, weight, current):
    whole = before.shape[0] // 64 * 64
    events = 0
    graded = False
    for i in range(0, whole, 64):
        word = mask_nonzero(before, i)
        while word != np.uint64(0):
            index[events] = i + trailing_zeros(word)
            events += 1
            word &= word - np.uint64(1)
    for i in range(whole, before.shape[0]):
        if before[i] != 0:
            index[events] = i
            events += 1
    for k in range(events):
        value[k] = before[index[k]]
        graded |= value[k] != 1
    factor = value if graded else value[:0]
    n = 0
    while n + WIDE // current.itemsize <= current.shape[0]:
        add_rows_wide(current, n, weight, index, factor, 0, events, current)
        n += WIDE // current.itemsize
    while n + NARROW // current.itemsize <= current.shape[0]:
        add_rows_narrow(current, n, weight, index, factor, 0, events, current)
        n += NARROW // current.itemsize
    if n < current.shape[0]:
        for k in range(events):
            for m in range(n, current.shape[0]):
                current[m] += value[k] * weight[index[k], m]
"""


def _whole(dtype: str, *functions: str) -> str:
    return _START.format(dtype=dtype, lanes=_LANES) + "\n\n".join(_DECORATOR + text for text in functions)


def recurrent_forward_source(
    program: Program, dtype: str, saved: tuple[int, ...], keep_current: bool, shared: tuple[bool, ...] = ()
) -> str:
    """Text of ``kernel(x, before, state, C, weight, y, saved, current, b0, b1)``.

    ``state [S, B, N]`` is updated in place, ``weight [N, N]`` is transposed (pre, post),
    ``before [B, N]`` is the output of the step before the first one, ``current [T, B, N]``
    receives the whole input current where ``keep_current`` asks for it. ``shared`` tells which
    coefficients have one value for all neurons; none, if empty.
    """
    once, each = _split(program, shared)
    out = _Lines()
    out("def kernel(_x, _before, _state, _C, _weight, _y, _saved, _current, _b0, _b1):")
    out.depth = 1
    out(
        "_index = np.empty(_x.shape[2], np.int32)",
        "_value = np.empty(_x.shape[2], F)",
        "_row = np.empty(_x.shape[2], F)",
    )
    out(*(f"{c} = _C[{k}, 0]" for k, c in once), "for _t in range(_x.shape[0]):")
    out.depth = 2
    out("for _b in range(_b0, _b1):")
    out.depth = 3
    out(*(["_row = _current[_t, _b]"] if keep_current else []), "_row[:] = _x[_t, _b]")
    out("gather(_before[_b] if _t == 0 else _y[_t - 1, _b], _index, _value, _weight, _row)")
    cell_rows(out, program, saved, each)
    return _whole(dtype, _GATHER, out.text())


def cell_rows(out: _Lines, program: Program, saved: tuple[int, ...], each: Sequence[tuple[int, str]]) -> None:
    """Lines that run the cell once over ``_row``, one row of currents at step ``_t`` of sample ``_b``."""
    (x,) = program.inputs
    out("_y_row = _y[_t, _b]")
    out(*(f"_save_{program.states[k]} = _saved[{j}, _t, _b]" for j, k in enumerate(saved)))
    out(*_state_rows(program, "_s", "_state"), *(f"_c_{c} = _C[{k}]" for k, c in each))
    out("for _n in range(_row.shape[0]):")
    out.depth += 1
    out(*(f"{s} = _s_{s}[_n]" for s in program.states), f"{x} = _row[_n]")
    out(*(f"{c} = _c_{c}[_n]" for _, c in each))
    out(*(f"_new_{s} = {_t(line)}" for s, line in zip(program.states, program.update, strict=True)))
    out(*(f"{s} = _new_{s}" for s in program.states))
    if program.drive is not None:
        out(f"_fired = {_t(program.drive)} > F(0)", "z = F(1) if _fired else F(0)")
    out(f"_y_row[_n] = {_t(program.output)}")
    out(*(f"_save_{program.states[k]}[_n] = {program.states[k]}" for k in saved))
    out(*(f"_s_{s}[_n] = {_reset(s, target)}" for s, target in zip(program.states, program.reset, strict=True)))
    out.depth -= 1


def _state_rows(program: Program, prefix: str, array: str) -> Iterator[str]:
    yield from (f"{prefix}_{s} = {array}[{k}, _b]" for k, s in enumerate(program.states))


def recurrent_backward_source(
    program: Program,
    backward: Backward,
    dtype: str,
    saved: tuple[int, ...],
    family: str,
    feedback: bool,
    shared: tuple[bool, ...] = (),
) -> str:
    """Text of ``kernel(gy, up, g, first, C, saved, current, gx, gC, inverse_width, peak, t0, t1, b0, b1)``.

    ``g [S, B, N]`` comes in as the adjoint of the state after step ``t1 - 1`` and leaves as that
    before step ``t0``, ``gx [T, B, N]`` receives the gradients of the current, ``gC [K', N]``
    belongs to the block and is added to. With ``feedback``, ``up [B, N]`` is what flows back to
    the output through the weight from the step after; without it nothing does.
    """
    return _whole(dtype, _BackwardText(program, backward, saved, family, feedback, shared).write())


class _BackwardText:
    def __init__(
        self,
        program: Program,
        backward: Backward,
        saved: tuple[int, ...],
        family: str,
        feedback: bool,
        shared: tuple[bool, ...],
    ) -> None:
        self.once, self.each = _split(program, shared)
        self.program, self.backward, self.saved = program, backward, saved
        self.family, self.feedback = family, feedback
        self.before = [s for s in program.states if backward.uses(f"p_{s}")]
        self.out = _Lines()

    def write(self) -> str:
        out = self.out
        out(
            "def kernel(_gy, _up, _g, _first, _C, _saved, _current, _gx, _gC, "
            "_inverse_width, _peak, _t0, _t1, _b0, _b1):"
        )
        out.depth = 1
        out(*(f"_p_{s} = np.empty(_gy.shape[2], F)" for s in self.before))
        out(*(f"{c} = _C[{k}, 0]" for k, c in self.once), "for _t in range(_t1 - 1, _t0 - 1, -1):")
        out.depth = 2
        out("for _b in range(_b0, _b1):")
        out.depth = 3
        self._rows()
        if self.before:
            self._previous()
        out("for _n in range(_gy.shape[2]):")
        out.depth = 4
        self._step()
        return out.text()

    def _rows(self) -> None:
        out, program = self.out, self.program
        out("_gy_row = _gy[_t, _b]", "_gx_row = _gx[_t, _b]")
        if self.feedback:
            out("_up_row = _up[_b]")
        if self.backward.uses(program.inputs[0]):
            out("_x_row = _current[_t, _b]")
        out(*_state_rows(program, "_g", "_g"), *(f"_c_{c} = _C[{k}]" for k, c in self.each))
        out(*(f"_save_{program.states[k]} = _saved[{j}, _t, _b]" for j, k in enumerate(self.saved)))
        out(*(f"_gc_{k} = _gC[{j}]" for j, k in enumerate(self.backward.coefficients)))

    def _previous(self) -> None:
        """The state each step began with: what the step before left, or at step 0 what was given."""
        out, program = self.out, self.program
        out("if _t == 0:")
        out(*(f"    _p_{s}[:] = _first[{program.states.index(s)}, _b]" for s in self.before))
        out("else:")
        out.depth += 1
        out(*(f"_last_{program.states[k]} = _saved[{j}, _t - 1, _b]" for j, k in enumerate(self.saved)))
        out("for _n in range(_gy.shape[2]):")
        out.depth += 1
        out(*(f"{c} = _c_{c}[_n]" for _, c in self.each))
        out(*(f"{program.states[k]} = _last_{program.states[k]}[_n]" for k in self.saved))
        if program.drive is not None:
            out(f"_fired = {_t(program.drive)} > F(0)")
        resets = dict(zip(program.states, program.reset, strict=True))
        out(*(f"_p_{s}[_n] = {_reset(s, resets[s])}" for s in self.before))
        out.depth -= 2

    def _step(self) -> None:
        out, program, backward = self.out, self.program, self.backward
        (x,) = program.inputs
        out(*(f"{c} = _c_{c}[_n]" for _, c in self.each))
        out(*(f"p_{s} = _p_{s}[_n]" for s in self.before))
        now = current_states(program, backward)
        out(*(f"{s} = _save_{s}[_n]" for s in program.states if s in now))
        if backward.uses(x):
            out(f"{x} = _x_row[_n]")
        out("gy = _gy_row[_n]" + (" + _up_row[_n]" if self.feedback else ""))
        out(*(f"g_{s} = _g_{s}[_n]" for s in program.states))
        if program.drive is not None and uses_spike(program, backward):
            out(f"_drive = {_t(program.drive)}", "u = _drive * _inverse_width")
            out(f"sd = _peak * {_t(SURROGATES[self.family].shape)}")
            if backward.uses(str(SPIKE)):
                out("z = F(1) if _drive > F(0) else F(0)")
        out(*(f"q_{s} = {_t(line)}" for s, line in zip(program.states, backward.pre_reset, strict=True)))
        out(f"_gx_row[_n] = {_t(backward.inputs[0])}")
        out(*(f"_g_{s}[_n] = {_t(line)}" for s, line in zip(program.states, backward.previous, strict=True)))
        out(*(f"_gc_{k}[_n] += {_t(line)}" for k, line in backward.coefficients.items()))
