"""Numba source text of the recurrent scan: one program whose output is fed back, forward and backward.

Layout as in :mod:`neuro.kernels.compiler.numba_source`. A call runs the whole sequence for the rows
``b0:b1`` of the batch; rows share nothing, so any number of threads gives the same bits. The
forward pass adds one contiguous row of the transposed weight per neuron that fired (four at a
time), the backward pass multiplies the current gradients of a block of rows with the weight,
four rows by four weight rows at a time in chunks that stay in the first-level cache.
"""

from __future__ import annotations

from collections.abc import Iterator

from neuro.kernels.compiler.equations import SPIKE
from neuro.kernels.compiler.numba_source import _Lines, _reset, _t
from neuro.kernels.compiler.program import Backward, Program, current_states, uses_spike
from neuro.kernels.compiler.surrogate import SURROGATES

__all__ = ["GROUP", "recurrent_backward_source", "recurrent_forward_source"]

GROUP = 4
"""Rows of the batch and of the weight handled at a time: both are padded to a multiple of it."""

_START = """import math

import numba
import numpy as np

F = np.{dtype}


"""
_DECORATOR = """@numba.njit(error_model="numpy", nogil=True, cache=True)
"""
# The text is part of every generated module: a change here makes a new module, so that no stale compiled code is met.
_GATHER = """def gather(before, index, weight, current):
    width = before.shape[0]
    events = 0
    for i in range(0, width, 8):
        if i + 8 <= width:
            first = (before[i] != 0) | (before[i + 1] != 0) | (before[i + 2] != 0) | (before[i + 3] != 0)
            last = (before[i + 4] != 0) | (before[i + 5] != 0) | (before[i + 6] != 0) | (before[i + 7] != 0)
            if not (first | last):
                continue
        for j in range(i, min(i + 8, width)):
            if before[j] != 0:
                index[events] = j
                events += 1
    k = 0
    while k + 4 <= events:
        i0, i1, i2, i3 = index[k], index[k + 1], index[k + 2], index[k + 3]
        a0, a1, a2, a3 = before[i0], before[i1], before[i2], before[i3]
        w0, w1, w2, w3 = weight[i0], weight[i1], weight[i2], weight[i3]
        for n in range(current.shape[0]):
            current[n] += (a0 * w0[n] + a1 * w1[n]) + (a2 * w2[n] + a3 * w3[n])
        k += 4
    while k < events:
        a = before[index[k]]
        row = weight[index[k]]
        for n in range(current.shape[0]):
            current[n] += a * row[n]
        k += 1
"""
_PRODUCT = """def product(rows, weight, out):
    out[:] = 0
    for m0 in range(0, weight.shape[0], 16):
        for r in range(0, rows.shape[0], 4):
            o0, o1, o2, o3 = out[r], out[r + 1], out[r + 2], out[r + 3]
            r0, r1, r2, r3 = rows[r], rows[r + 1], rows[r + 2], rows[r + 3]
            for m in range(m0, min(m0 + 16, weight.shape[0]), 4):
                w0, w1, w2, w3 = weight[m], weight[m + 1], weight[m + 2], weight[m + 3]
                a00, a01, a02, a03 = r0[m], r0[m + 1], r0[m + 2], r0[m + 3]
                a10, a11, a12, a13 = r1[m], r1[m + 1], r1[m + 2], r1[m + 3]
                a20, a21, a22, a23 = r2[m], r2[m + 1], r2[m + 2], r2[m + 3]
                a30, a31, a32, a33 = r3[m], r3[m + 1], r3[m + 2], r3[m + 3]
                for n in range(o0.shape[0]):
                    x0, x1, x2, x3 = w0[n], w1[n], w2[n], w3[n]
                    o0[n] += (a00 * x0 + a01 * x1) + (a02 * x2 + a03 * x3)
                    o1[n] += (a10 * x0 + a11 * x1) + (a12 * x2 + a13 * x3)
                    o2[n] += (a20 * x0 + a21 * x1) + (a22 * x2 + a23 * x3)
                    o3[n] += (a30 * x0 + a31 * x1) + (a32 * x2 + a33 * x3)
"""


def _whole(dtype: str, *functions: str) -> str:
    return _START.format(dtype=dtype) + "\n\n".join(_DECORATOR + text for text in functions)


def recurrent_forward_source(program: Program, dtype: str, saved: tuple[int, ...], keep_current: bool) -> str:
    """Text of ``kernel(x, before, state, C, weight, y, saved, current, b0, b1)``.

    ``state [S, B, N]`` is updated in place, ``weight [N, N]`` is transposed (pre, post),
    ``before [B, N]`` is the output of the step before the first one, ``current [T, B, N]``
    receives the whole input current where ``keep_current`` asks for it.
    """
    (x,) = program.inputs
    out = _Lines()
    out("def kernel(_x, _before, _state, _C, _weight, _y, _saved, _current, _b0, _b1):")
    out.depth = 1
    out("_index = np.empty(_x.shape[2], np.int32)", "_row = np.empty(_x.shape[2], F)")
    out("for _t in range(_x.shape[0]):")
    out.depth = 2
    out("for _b in range(_b0, _b1):")
    out.depth = 3
    out(*(["_row = _current[_t, _b]"] if keep_current else []), "_row[:] = _x[_t, _b]")
    out("gather(_before[_b] if _t == 0 else _y[_t - 1, _b], _index, _weight, _row)")
    out("_y_row = _y[_t, _b]")
    out(*(f"_save_{program.states[k]} = _saved[{j}, _t, _b]" for j, k in enumerate(saved)))
    out(*_state_rows(program, "_s", "_state"), *_coefficient_rows(program))
    out("for _n in range(_row.shape[0]):")
    out.depth = 4
    out(*(f"{s} = _s_{s}[_n]" for s in program.states), f"{x} = _row[_n]")
    out(*(f"{c} = _c_{c}[_n]" for c in program.coefficient_symbols))
    out(*(f"_new_{s} = {_t(line)}" for s, line in zip(program.states, program.update, strict=True)))
    out(*(f"{s} = _new_{s}" for s in program.states))
    if program.drive is not None:
        out(f"_fired = {_t(program.drive)} > F(0)", "z = F(1) if _fired else F(0)")
    out(f"_y_row[_n] = {_t(program.output)}")
    out(*(f"_save_{program.states[k]}[_n] = {program.states[k]}" for k in saved))
    out(*(f"_s_{s}[_n] = {_reset(s, target)}" for s, target in zip(program.states, program.reset, strict=True)))
    return _whole(dtype, _GATHER, out.text())


def _state_rows(program: Program, prefix: str, array: str) -> Iterator[str]:
    yield from (f"{prefix}_{s} = {array}[{k}, _b]" for k, s in enumerate(program.states))


def _coefficient_rows(program: Program) -> Iterator[str]:
    yield from (f"_c_{c} = _C[{k}]" for k, c in enumerate(program.coefficient_symbols))


def recurrent_backward_source(
    program: Program, backward: Backward, dtype: str, saved: tuple[int, ...], family: str, feedback: bool
) -> str:
    """Text of ``kernel(gy, g, first, C, saved, current, weight, gx, gbefore, gC, inverse_width, peak, b0, b1)``.

    ``g [S, B, N]`` comes in as the adjoint of the final state and leaves as that of the first
    one, ``gx [T, B, N]`` and ``gbefore [B, N]`` receive the gradients of the current and of the
    output before the first step, ``gC [K', N]`` belongs to the block and is added to. ``weight``
    is ``[M, N]`` (post, pre), its rows padded with zeros to a multiple of :data:`GROUP`.
    Without ``feedback`` nothing flows back into the presynaptic output.
    """
    return _whole(dtype, _PRODUCT, _BackwardText(program, backward, saved, family, feedback).write())


class _BackwardText:
    def __init__(
        self, program: Program, backward: Backward, saved: tuple[int, ...], family: str, feedback: bool
    ) -> None:
        self.program, self.backward, self.saved = program, backward, saved
        self.family, self.feedback = family, feedback
        self.before = [s for s in program.states if backward.uses(f"p_{s}")]
        self.out = _Lines()

    def write(self) -> str:
        out = self.out
        out(
            "def kernel(_gy, _g, _first, _C, _saved, _current, _weight, _gx, _gbefore, _gC, "
            "_inverse_width, _peak, _b0, _b1):"
        )
        out.depth = 1
        out(*(f"_p_{s} = np.empty(_gy.shape[2], F)" for s in self.before))
        if self.feedback:
            out(f"_padded = (_b1 - _b0 + {GROUP - 1}) // {GROUP} * {GROUP}")
            out("_grads = np.zeros((_padded, _weight.shape[0]), F)", "_up = np.zeros((_padded, _gy.shape[2]), F)")
        out("for _t in range(_gy.shape[0] - 1, -1, -1):")
        out.depth = 2
        out("for _b in range(_b0, _b1):")
        out.depth = 3
        self._rows()
        if self.before:
            self._previous()
        out("for _n in range(_gy.shape[2]):")
        out.depth = 4
        self._step()
        if self.feedback:
            out.depth = 3
            out("_grads[_b - _b0, : _gx.shape[2]] = _gx[_t, _b]")
            out.depth = 2
            out("product(_grads, _weight, _up)")
            out.depth = 1
            out("_gbefore[_b0:_b1] = _up[: _b1 - _b0]")
        return out.text()

    def _rows(self) -> None:
        out, program = self.out, self.program
        out("_gy_row = _gy[_t, _b]", "_gx_row = _gx[_t, _b]")
        if self.feedback:
            out("_up_row = _up[_b - _b0]")
        if self.backward.uses(program.inputs[0]):
            out("_x_row = _current[_t, _b]")
        out(*_state_rows(program, "_g", "_g"), *_coefficient_rows(program))
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
        out(*(f"{c} = _c_{c}[_n]" for c in program.coefficient_symbols))
        out(*(f"{program.states[k]} = _last_{program.states[k]}[_n]" for k in self.saved))
        if program.drive is not None:
            out(f"_fired = {_t(program.drive)} > F(0)")
        resets = dict(zip(program.states, program.reset, strict=True))
        out(*(f"_p_{s}[_n] = {_reset(s, resets[s])}" for s in self.before))
        out.depth -= 2

    def _step(self) -> None:
        out, program, backward = self.out, self.program, self.backward
        (x,) = program.inputs
        out(*(f"{c} = _c_{c}[_n]" for c in program.coefficient_symbols))
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
