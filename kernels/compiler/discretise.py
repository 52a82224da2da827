"""From continuous dynamics to one time step: forward Euler or the exact exponential.

The discretisation is named, never implied. ``"euler"`` takes ``s + dt * ds/dt`` with every
right-hand side at the old state. ``"exponential"`` solves the linear system exactly for an
input held constant over the step (exponential integrator; Rotter & Diesmann 1999, Biol.
Cybern. 81:381), also for a state driven by another one (the two exponentials of CuBa-LIF).
Lines that are maps from step to step are taken as they stand under either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import sympy

from neuro.errors import InputError, unknown_name
from neuro.kernels.compiler.equations import COUNTDOWN, DT, Equations, after_step, symbol

__all__ = ["METHODS", "discretise", "phi1"]


class phi1(sympy.Function):  # type: ignore[misc] # a mathematical function, named as in the literature
    """phi1(a) = (exp(a) - 1) / a, continuous at a = 0."""


def _euler(equations: Equations) -> dict[str, sympy.Expr]:
    # Kept as v + (dt/tau)*(...) instead of expanded: the rounding NIR's reference has.
    return {s: line if s in equations.maps else symbol(s) + DT * line for s, line in equations.flow.items()}


def _exponential(equations: Equations) -> dict[str, sympy.Expr]:
    states = [symbol(s) for s in equations.states if s not in equations.maps]
    # What the flow does not move is constant over the step, as an input is.
    fresh = [after_step(s) for s in equations.states]
    inputs = [*(symbol(x) for x in (*equations.inputs, *sorted(equations.maps))), *fresh]
    matrix, offset = _linear_form(equations, states, inputs)
    update = {s: equations.flow[s] for s in equations.states}
    for k, state in enumerate(states):
        rate = matrix[k, k]
        drivers = [j for j in range(len(states)) if j != k and matrix[k, j] != 0]
        if any(matrix[j, i] != 0 for j in drivers for i in range(len(states)) if i != j):
            raise InputError(
                f"cell {equations.name!r}: method 'exponential' solves states driven by at most one other "
                f"state in a row, {state} is driven by a chain; use method='euler'"
            )
        decay = sympy.exp(rate * DT)
        reach = _reach(rate)
        terms = [decay * state, *_by_input(offset[k], reach, inputs)]
        for j in drivers:
            other = matrix[j, j]
            if other == 0:
                raise InputError(f"cell {equations.name!r}: {states[j]} never decays; use method='euler'")
            passed = DT * decay * phi1((other - rate) * DT)  # of the old value of the driving state
            settled = (reach - passed) / (-other)  # of its constant input
            terms += [
                matrix[k, j] * passed * states[j],
                *_by_input(offset[j], matrix[k, j] * settled, inputs),
            ]
        update[str(state)] = sympy.Add(*terms)
    return update


def _linear_form(
    equations: Equations, states: list[sympy.Symbol], inputs: list[sympy.Symbol]
) -> tuple[sympy.Matrix, list[sympy.Expr]]:
    flows = [equations.flow[str(s)] for s in states]
    matrix = sympy.Matrix([[sympy.simplify(sympy.diff(f, s)) for s in states] for f in flows])
    varying = {*states, *inputs}
    if any(entry.free_symbols & varying for entry in matrix):
        raise InputError(
            f"cell {equations.name!r} is not linear in its states, so it has no exact exponential step; "
            "use method='euler'"
        )
    return matrix, [f.subs(dict.fromkeys(states, 0)) for f in flows]


def _reach(rate: sympy.Expr) -> sympy.Expr:
    """Integral of exp(rate * s) over one step."""
    return DT if rate == 0 else (1 - sympy.exp(rate * DT)) / (-rate)


def _by_input(offset: sympy.Expr, gain: sympy.Expr, inputs: list[sympy.Symbol]) -> list[sympy.Expr]:
    """``gain * offset`` as one term per input and one constant, so that each is one coefficient."""
    expanded = sympy.expand(offset)
    if any(sympy.diff(expanded, a, b) != 0 for a in inputs for b in inputs):
        return [offset * gain]
    terms = [sympy.simplify(expanded.coeff(x)) * gain * x for x in inputs]
    rest = expanded.subs(dict.fromkeys(inputs, 0))
    return [*terms, sympy.simplify(rest) * gain]


METHODS: Mapping[str, Callable[[Equations], dict[str, sympy.Expr]]] = MappingProxyType(
    {"euler": _euler, "exponential": _exponential}
)


def discretise(equations: Equations, method: str, *, refractory: bool = False) -> dict[str, sympy.Expr]:
    r"""State after one step (before any reset), as expressions in states, inputs, parameters and dt.

    With ``refractory`` there is one more state, :data:`~neuro.kernels.compiler.equations.COUNTDOWN`: the
    steps the membrane is still held for, this one included. A spike sets it one higher than the
    steps to hold, each step takes one off.

    Raises:
        InputError: unknown ``method``, or equations that it cannot solve.

    >>> from neuro.kernels.compiler.equations import Parameter
    >>> leaky = Equations("Leaky", "dv/dt = (x - v)/tau", {"tau": Parameter(0.02, "s", positive=True)})
    Traceback (most recent call last):
    neuro.errors.InputError: cell 'Leaky' has no line 'spike when ...' but resets or outputs a spike
    >>> leaky = Equations("Leaky", "dv/dt = (x - v)/tau\noutput v", {"tau": Parameter(0.02, "s", positive=True)})
    >>> discretise(leaky, "euler")["v"]
    dt*(-v + x)/tau + v
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    lines = METHODS[method](equations)
    if refractory:
        left = symbol(COUNTDOWN)
        held = left > sympy.Rational(3, 2)
        lines |= {s: sympy.Piecewise((symbol(s), held), (lines[s], True)) for s in equations.membrane}
        lines[COUNTDOWN] = sympy.Piecewise((left - 1, left > sympy.Rational(1, 2)), (sympy.Integer(0), True))
    update: dict[str, sympy.Expr] = {}
    for state, line in lines.items():
        update[state] = line.xreplace({after_step(s): new for s, new in update.items()})
    return update
