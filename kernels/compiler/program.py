"""From discretised equations to the program every engine runs.

All that depends on parameters and ``dt`` alone is hoisted out of the time loop into
*coefficients* (``exp(-dt/tau)`` is computed once a call, in torch, where autograd carries its
gradient on to ``tau``); the loop is left with arithmetic in states, inputs and coefficients.
The backward step is derived here by the symbolic Jacobian.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import sympy

from neuro.errors import InputError, unknown_name
from neuro.kernels.compiler.discretise import discretise
from neuro.kernels.compiler.equations import COUNTDOWN, DT, PERIOD, SPIKE, Equations, symbol
from neuro.kernels.compiler.route import Route

__all__ = ["Backward", "Program", "compile_program", "current_states", "derive_backward", "saved_states", "uses_spike"]


@dataclass(frozen=True)
class Program:
    """One time step of a cell, in order: update, drive, output, reset.

    Expressions are in the state symbols (old in ``update``, updated but not yet reset
    elsewhere), the inputs, ``z`` and the coefficient symbols ``c0, c1, ...``.
    """

    name: str
    states: tuple[str, ...]
    inputs: tuple[str, ...]
    coefficients: tuple[sympy.Expr, ...]
    update: tuple[sympy.Expr, ...]
    drive: sympy.Expr | None
    output: sympy.Expr
    reset: tuple[sympy.Expr, ...]

    @property
    def coefficient_symbols(self) -> tuple[sympy.Symbol, ...]:
        """Symbols of the coefficients, in order."""
        return tuple(symbol(f"c{k}") for k in range(len(self.coefficients)))

    def learned(self, parameters: frozenset[str]) -> tuple[int, ...]:
        """Indices of the coefficients that depend on any of ``parameters``."""
        wanted = {symbol(name) for name in parameters}
        return tuple(k for k, c in enumerate(self.coefficients) if c.free_symbols & wanted)


class _Hoist:
    """Collects the maximal parts of expressions that depend on parameters and dt only."""

    def __init__(self, parameters: Iterable[str]) -> None:
        self.constant = {DT, *(symbol(name) for name in parameters)}
        self.found: dict[sympy.Expr, sympy.Symbol] = {}

    def _is_pure(self, expression: sympy.Expr) -> bool:
        return bool(expression.free_symbols) and expression.free_symbols <= self.constant

    def _name(self, expression: sympy.Expr) -> sympy.Symbol:
        return self.found.setdefault(expression, symbol(f"c{len(self.found)}"))

    def __call__(self, expression: sympy.Expr) -> sympy.Expr:
        if self._is_pure(expression):
            return self._name(expression)
        if not expression.free_symbols & self.constant:
            return expression
        if expression.is_Add or expression.is_Mul:
            return self._nary(expression)
        if isinstance(expression, sympy.Piecewise):
            return sympy.Piecewise(*((self(value), self._condition(c)) for value, c in expression.args), evaluate=False)
        return expression.func(*(self(a) for a in expression.args))

    def _condition(self, condition: sympy.Basic) -> sympy.Basic:
        if condition == sympy.true:
            return condition
        return condition.func(self(condition.lhs), self(condition.rhs))

    def _nary(self, expression: sympy.Expr) -> sympy.Expr:
        pure = [a for a in expression.args if self._is_pure(a)]
        rest = [self(a) for a in expression.args if a not in pure]
        whole = expression.func(*pure) if pure else None
        return expression.func(*([self._name(whole)] if whole is not None else []), *rest)


def _branches(expression: sympy.Expr) -> sympy.Expr:
    """``Max``, ``Min`` and ``Abs`` as choices, whose derivative every engine takes on the same side.

    Conditions keep theirs: they are printed, never differentiated.
    """
    if not expression.has(sympy.Max, sympy.Min, sympy.Abs):
        return expression
    if isinstance(expression, sympy.Max | sympy.Min):
        return _extremum(type(expression), *expression.args)
    if isinstance(expression, sympy.Abs):
        (inside,) = expression.args
        folded = sympy.piecewise_fold(inside)
        if isinstance(folded, sympy.Piecewise):
            return sympy.Piecewise(*((_branches(sympy.Abs(value)), condition) for value, condition in folded.args))
        value = _branches(inside)
        return sympy.Piecewise((value, inside > 0), (-value, True))
    if isinstance(expression, sympy.Piecewise):
        return sympy.Piecewise(*((_branches(value), condition) for value, condition in expression.args))
    return expression.func(*map(_branches, expression.args))


def _extremum(kind: type[sympy.Expr], first: sympy.Expr, *others: sympy.Expr) -> sympy.Expr:
    if not others:
        return _branches(first)
    # A choice among the values (a membrane held after a spike) is made first: none may stand in a condition.
    for k, value in enumerate((first, *others)):
        folded = sympy.piecewise_fold(value)
        if isinstance(folded, sympy.Piecewise):
            values = [first, *others]
            made = [(_extremum(kind, *values[:k], v, *values[k + 1 :]), condition) for v, condition in folded.args]
            return sympy.Piecewise(*made)
    second, *rest = others
    condition = first > second if kind is sympy.Max else first < second
    return sympy.Piecewise((_extremum(kind, first, *rest), condition), (_extremum(kind, second, *rest), True))


@lru_cache(maxsize=256)
def compile_program(equations: Equations, method: str, reset: str, refractory: bool = False) -> Program:
    """The program of ``equations`` under a named discretisation and reset.

    With ``refractory`` a spike is followed by ``round(refractory / dt)`` steps in which the
    membrane is held and neither spikes nor has a surrogate derivative (Bellec et al. 2020);
    :data:`~neuro.kernels.compiler.equations.PERIOD` [s] is one more parameter.

    Raises:
        InputError: unknown method or reset; equations the method cannot solve; a refractory
            period of a cell that never spikes.
    """
    if reset not in equations.reset_kinds:
        raise unknown_name("reset", reset, equations.reset_kinds)
    update = discretise(equations, method, refractory=refractory)
    target, drive = dict(equations.reset(reset)), equations.drive
    if refractory:
        if drive is None:
            raise InputError(f"cell {equations.name!r} never spikes, so it has no refractory period")
        left = symbol(COUNTDOWN)
        drive = sympy.Piecewise((sympy.Integer(-1), left > sympy.Rational(1, 2)), (drive, True))
        target[COUNTDOWN] = sympy.floor(symbol(PERIOD) / DT + sympy.Rational(1, 2)) + 1
    hoist = _Hoist((*equations.parameters, PERIOD))
    lines = {
        "update": tuple(hoist(_branches(line)) for line in update.values()),
        "output": hoist(_branches(equations.output)),
        "reset": tuple(hoist(_branches(target.get(s, symbol(s)))) for s in update),
    }
    drive = None if drive is None else hoist(_branches(drive))
    return Program(
        name=equations.name,
        states=tuple(update),
        inputs=equations.inputs,
        coefficients=tuple(hoist.found),
        drive=drive,
        **lines,
    )


@dataclass(frozen=True)
class Backward:
    """The adjoint of one step, in the order it runs (time goes down).

    Symbols: ``g_S`` the adjoint of state S after the step, ``gy`` of the output, ``sd`` the
    surrogate derivative at the drive, ``p_S`` the state before the step, ``q_S`` the adjoint
    of S before the reset; state symbols are the updated, not yet reset values.
    """

    pre_reset: tuple[sympy.Expr, ...]
    inputs: tuple[sympy.Expr, ...]
    previous: tuple[sympy.Expr, ...]
    coefficients: Mapping[int, sympy.Expr]

    def uses(self, name: str) -> bool:
        """Whether any line reads the symbol ``name``."""
        wanted = symbol(name)
        lines = (*self.pre_reset, *self.inputs, *self.previous, *self.coefficients.values())
        return any(wanted in line.free_symbols for line in lines)


@lru_cache(maxsize=256)
def derive_backward(program: Program, route: Route, learned: tuple[int, ...]) -> Backward:
    """Backward step of ``program`` under ``route``, with gradients of the ``learned`` coefficients."""
    states = [symbol(s) for s in program.states]
    before = {s: symbol(f"p_{s}") for s in states}
    after = {s: symbol(f"g_{s}") for s in states}
    pre = {s: symbol(f"q_{s}") for s in states}
    gy, slope = symbol("gy"), symbol("sd")
    reset = dict(zip(states, program.reset, strict=True))
    carried = {s: s + SPIKE * (reset[s] - s) for s in states}  # the reset as one formula, z in {0, 1}

    spike = gy * sympy.diff(program.output, SPIKE)
    if not route.cut_reset:
        spike += sum((after[s] * (reset[s] - s) for s in states), sympy.Integer(0))
    drive = program.drive if program.drive is not None else sympy.Integer(0)

    def through_output(variable: sympy.Symbol) -> sympy.Expr:
        into_state = sum((after[s] * sympy.diff(carried[s], variable) for s in states), sympy.Integer(0))
        return gy * sympy.diff(program.output, variable) + into_state + spike * slope * sympy.diff(drive, variable)

    def through_update(variable: sympy.Symbol) -> sympy.Expr:
        lines = zip(states, program.update, strict=True)
        total = sum((pre[s] * sympy.diff(line, variable) for s, line in lines), sympy.Integer(0))
        return total.xreplace(before)

    def coefficient(k: int) -> sympy.Expr:
        c = program.coefficient_symbols[k]
        return through_output(c) + through_update(c)

    return Backward(
        pre_reset=tuple(through_output(s) for s in states),
        inputs=tuple(through_update(symbol(x)) for x in program.inputs),
        previous=tuple(sympy.Integer(0) if route.cut_time else through_update(s) for s in states),
        coefficients={k: coefficient(k) for k in learned},
    )


def saved_states(program: Program, backward: Backward) -> tuple[int, ...]:
    """Indices of the states whose value before reset the backward pass reads, at this step or the one before."""
    read = current_states(program, backward) | {s for s in program.states if backward.uses(f"p_{s}")}
    if any(backward.uses(f"p_{s}") for s in program.states):
        read |= _spike_states(program)  # whether the step before was reset
    return tuple(k for k, s in enumerate(program.states) if s in read)


def current_states(program: Program, backward: Backward) -> set[str]:
    """States whose value before reset the backward pass of the same step reads."""
    read = _spike_states(program) if uses_spike(program, backward) else set()
    return read | {s for s in program.states if backward.uses(s)}


def _spike_states(program: Program) -> set[str]:
    if program.drive is None:
        return set()
    return {s for s in program.states if symbol(s) in program.drive.free_symbols}


def uses_spike(program: Program, backward: Backward) -> bool:
    """Whether the backward pass has to know where the cell fired."""
    return program.drive is not None and (backward.uses("z") or backward.uses("sd"))
