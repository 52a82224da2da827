"""Numba source text of a program: the fused time loop, forward and backward.

Layout: time-major ``[T, B, N]`` arrays, states ``[S, B, N]``, coefficients ``[K, N]``. A call
runs the whole sequence for the rows ``b0:b1`` and neurons ``n0:n1`` of one block, whose state
stays in cache; the innermost loop is over contiguous neurons and is vectorised by LLVM. Calls
on disjoint blocks share nothing, so any number of threads gives the same bits. Coefficients
that all neurons share are read once a call, not once a step and neuron.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType

import sympy

from neuro.kernels.compiler.equations import SPIKE, symbol
from neuro.kernels.compiler.printing import Dialect, to_text
from neuro.kernels.compiler.program import Backward, Program, current_states, uses_spike
from neuro.kernels.compiler.surrogate import SURROGATES

__all__ = ["backward_source", "forward_source"]

_NUMBA = Dialect(
    number=lambda value: f"F({value!r})",
    functions=MappingProxyType(
        {name: f"math.{name}" for name in ("exp", "log", "sqrt", "tanh", "sin", "cos", "atan", "erf")}
        | {"abs": "abs", "floor": "np.floor"}
    ),
    select=lambda condition, then, otherwise: f"({then} if {condition} else {otherwise})",
)
# Every exponential in a surrogate is of a number below zero, so that it can be one polynomial and squarings,
# which LLVM vectorises as it cannot a call of libm. Relative error below 1e-13 down to exp(-20).
_SURROGATE = replace(_NUMBA, functions=MappingProxyType({**_NUMBA.functions, "exp": "_exp_below"}))
_EXP_BELOW = """@numba.njit(error_model="numpy", nogil=True, cache=True)
def _exp_below(x):
    r = (x if x > F(-64) else F(-64)) * F(0.015625)
    p = {polynomial}
    p = p * p
    p = p * p
    p = p * p
    p = p * p
    p = p * p
    return p * p


"""
# No "contract" in fastmath: a fused multiply-add would round, and so spike, unlike the reference.
_HEADER = """import math

import numba
import numpy as np

F = np.{dtype}


{functions}@numba.njit(error_model="numpy", nogil=True, cache=True)
"""


_Numbered = list[tuple[int, sympy.Symbol]]


@dataclass
class _Lines:
    """Source lines with an indentation."""

    depth: int = 0

    def __post_init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, *lines: str) -> None:
        self.lines += ["    " * self.depth + line for line in lines]

    def rows(self, arrays: Iterable[tuple[str, str]]) -> None:
        self(*(f"{name} = {array}[_n0:_n1]" for name, array in arrays))

    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def _t(expression: sympy.Expr) -> str:
    return to_text(expression, _NUMBA)


def forward_source(program: Program, dtype: str, saved: tuple[int, ...], shared: tuple[bool, ...] = ()) -> str:
    """Text of ``forward(state, C, y, saved, b0, b1, n0, n1, *inputs)``; ``state`` is updated in place.

    ``shared`` tells which coefficients have one value for all neurons; none, if empty.
    """
    once, each = _split(program, shared)
    out = _Lines()
    inputs = "".join(f", _in_{x}" for x in program.inputs)
    out(f"def kernel(_state, _C, _y, _saved, _b0, _b1, _n0, _n1{inputs}):")
    out.depth = 1
    out(*(f"{c} = _C[{k}, 0]" for k, c in once))
    out("for _t in range(_y.shape[0]):")
    out.depth = 2
    out("for _b in range(_b0, _b1):")
    out.depth = 3
    out.rows((*_forward_rows(program, saved), *((f"_c_{c}", f"_C[{k}]") for k, c in each)))
    out("for _n in range(_n1 - _n0):")
    out.depth = 4
    out(*(f"{s} = _s_{s}[_n]" for s in program.states))
    out(*(f"{x} = _x_{x}[_n]" for x in program.inputs))
    out(*(f"{c} = _c_{c}[_n]" for _, c in each))
    out(*(f"_new_{s} = {_t(line)}" for s, line in zip(program.states, program.update, strict=True)))
    out(*(f"{s} = _new_{s}" for s in program.states))
    if program.drive is not None:
        out(f"_fired = {_t(program.drive)} > F(0)", "z = F(1) if _fired else F(0)")
    out(f"_y_row[_n] = {_t(program.output)}")
    out(*(f"_save_{program.states[k]}[_n] = {program.states[k]}" for k in saved))
    out(*(f"_s_{s}[_n] = {_reset(s, target)}" for s, target in zip(program.states, program.reset, strict=True)))
    return _HEADER.format(dtype=dtype, functions="") + out.text()


def _forward_rows(program: Program, saved: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    yield from ((f"_x_{x}", f"_in_{x}[_t, _b]") for x in program.inputs)
    yield "_y_row", "_y[_t, _b]"
    yield from ((f"_save_{program.states[k]}", f"_saved[{j}, _t, _b]") for j, k in enumerate(saved))
    yield from ((f"_s_{s}", f"_state[{k}, _b]") for k, s in enumerate(program.states))


def _split(program: Program, shared: tuple[bool, ...]) -> tuple[_Numbered, _Numbered]:
    """The coefficients, with their places, that all neurons share, and those that each has for itself."""
    numbered = list(enumerate(program.coefficient_symbols))
    if not shared:
        return [], numbered
    return [c for c in numbered if shared[c[0]]], [c for c in numbered if not shared[c[0]]]


def _reset(state: str, target: sympy.Expr) -> str:
    return state if target == symbol(state) else f"{_t(target)} if _fired else {state}"


def backward_source(
    program: Program,
    backward: Backward,
    dtype: str,
    saved: tuple[int, ...],
    family: str,
    shared: tuple[bool, ...] = (),
) -> str:
    """Text of ``backward(gy, g, first, C, saved, gC, inverse_width, peak, b0, b1, n0, n1, *inputs, *input_grads)``.

    ``g`` comes in as the adjoint of the final state and leaves as that of the first one;
    ``gC[K', N]`` belongs to the block and is added to. ``shared`` as for :func:`forward_source`.
    """
    writer = _BackwardWriter(program, backward, saved, family, shared)
    text = writer.write()
    functions = _EXP_BELOW.format(polynomial=_exponential_series(12)) if "_exp_below" in text else ""
    return _HEADER.format(dtype=dtype, functions=functions) + text


def _exponential_series(order: int) -> str:
    """Horner form of ``exp(r)``, for ``r`` in -1..0."""
    text = "F(1)"
    for k in range(order, 0, -1):
        text = f"F(1) + r * F({1 / k!r}) * ({text})"
    return text


class _BackwardWriter:
    def __init__(
        self, program: Program, backward: Backward, saved: tuple[int, ...], family: str, shared: tuple[bool, ...]
    ) -> None:
        self.program, self.backward, self.saved, self.family = program, backward, saved, family
        self.once, self.each = _split(program, shared)
        self.before = [s for s in program.states if backward.uses(f"p_{s}")]
        self.out = _Lines()

    def write(self) -> str:
        inputs = "".join(f", _in_{x}" for x in self.program.inputs)
        grads = "".join(f", _gin_{x}" for x in self.program.inputs)
        self.out(
            f"def kernel(_gy, _g, _first, _C, _saved, _gC, _inverse_width, _peak, _b0, _b1, _n0, _n1{inputs}{grads}):"
        )
        self.out.depth = 1
        self.out(*(f"{c} = _C[{k}, 0]" for k, c in self.once))
        # The state before step 0 was given, not reset here, so that step stands apart.
        self.out(f"for _t in range(_gy.shape[0] - 1, {0 if self.before else -1}, -1):")
        self._sweep(first=False)
        if self.before:
            self.out("for _t in range(min(1, _gy.shape[0])):")
            self._sweep(first=True)
        return self.out.text()

    def _sweep(self, *, first: bool) -> None:
        out = self.out
        out.depth = 2
        out("for _b in range(_b0, _b1):")
        out.depth = 3
        out.rows(self._rows(first=first))
        out("for _n in range(_n1 - _n0):")
        out.depth = 4
        self._load(first=first)
        self._step()
        out.depth = 1

    def _rows(self, *, first: bool) -> Iterator[tuple[str, str]]:
        program = self.program
        yield "_gy_row", "_gy[_t, _b]"
        for x in program.inputs:
            yield f"_gx_{x}", f"_gin_{x}[_t, _b]"
            if self.backward.uses(x):
                yield f"_x_{x}", f"_in_{x}[_t, _b]"
        yield from ((f"_g_{s}", f"_g[{k}, _b]") for k, s in enumerate(program.states))
        yield from ((f"_save_{program.states[k]}", f"_saved[{j}, _t, _b]") for j, k in enumerate(self.saved))
        if first:
            yield from ((f"_first_{s}", f"_first[{program.states.index(s)}, _b]") for s in self.before)
        elif self.before:
            yield from ((f"_last_{program.states[k]}", f"_saved[{j}, _t - 1, _b]") for j, k in enumerate(self.saved))
        yield from ((f"_c_{c}", f"_C[{k}]") for k, c in self.each)
        yield from ((f"_gc_{k}", f"_gC[{j}]") for j, k in enumerate(self.backward.coefficients))

    def _load(self, *, first: bool) -> None:
        out, program = self.out, self.program
        out(*(f"{c} = _c_{c}[_n]" for _, c in self.each))
        if first:
            out(*(f"p_{s} = _first_{s}[_n]" for s in self.before))
        elif self.before:
            out(*(f"{program.states[k]} = _last_{program.states[k]}[_n]" for k in self.saved))
            if program.drive is not None:
                out(f"_fired = {_t(program.drive)} > F(0)")
            resets = dict(zip(program.states, program.reset, strict=True))
            out(*(f"p_{s} = {_reset(s, resets[s])}" for s in self.before))
        now = current_states(program, self.backward)
        out(*(f"{s} = _save_{s}[_n]" for s in program.states if s in now))
        out(*(f"{x} = _x_{x}[_n]" for x in program.inputs if self.backward.uses(x)))
        out("gy = _gy_row[_n]", *(f"g_{s} = _g_{s}[_n]" for s in program.states))

    def _step(self) -> None:
        out, program, backward = self.out, self.program, self.backward
        if uses_spike(program, backward):
            assert program.drive is not None
            out(f"_drive = {_t(program.drive)}", "u = _drive * _inverse_width")
            out(f"sd = _peak * {to_text(SURROGATES[self.family].shape, _SURROGATE)}")
            if backward.uses(str(SPIKE)):
                out("z = F(1) if _drive > F(0) else F(0)")
        out(*(f"q_{s} = {_t(line)}" for s, line in zip(program.states, backward.pre_reset, strict=True)))
        out(*(f"_gx_{x}[_n] = {_t(line)}" for x, line in zip(program.inputs, backward.inputs, strict=True)))
        out(*(f"_g_{s}[_n] = {_t(line)}" for s, line in zip(program.states, backward.previous, strict=True)))
        out(*(f"_gc_{k}[_n] += {_t(line)}" for k, line in backward.coefficients.items()))
