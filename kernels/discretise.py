"""From continuous dynamics to one time step: forward Euler or the exact exponential.

The discretisation is named, never implied. ``"euler"`` takes ``s + dt * ds/dt`` with every
right-hand side at the old state. ``"exponential"`` solves the linear system exactly for an
input held constant over the step (exponential integrator; Rotter & Diesmann 1999, Biol.
Cybern. 81:381), also for a state driven by another one (the two exponentials of CuBa-LIF).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import sympy

from neuro.errors import InputError, unknown_name
from neuro.kernels.equations import DT, Equations, symbol

__all__ = ["METHODS", "discretise", "phi1"]


class phi1(sympy.Function):  # type: ignore[misc] # a mathematical function, named as in the literature
    """phi1(a) = (exp(a) - 1) / a, continuous at a = 0."""


def _euler(equations: Equations) -> dict[str, sympy.Expr]:
    # Kept as v + (dt/tau)*(...) instead of expanded: the rounding NIR's reference has.
    return {s: symbol(s) + DT * flow for s, flow in equations.flow.items()}


def _exponential(equations: Equations) -> dict[str, sympy.Expr]:
    states = [symbol(s) for s in equations.states]
    inputs = [symbol(x) for x in equations.inputs]
    matrix, offset = _linear_form(equations, states)
    update: dict[str, sympy.Expr] = {}
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


def _linear_form(equations: Equations, states: list[sympy.Symbol]) -> tuple[sympy.Matrix, list[sympy.Expr]]:
    flows = list(equations.flow.values())
    matrix = sympy.Matrix([[sympy.simplify(sympy.diff(f, s)) for s in states] for f in flows])
    varying = {*states, *(symbol(x) for x in equations.inputs)}
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
    terms = [sympy.simplify(expanded.coeff(x)) * gain * x for x in inputs]
    rest = expanded.subs(dict.fromkeys(inputs, 0))
    return [*terms, sympy.simplify(rest) * gain]


METHODS: Mapping[str, Callable[[Equations], dict[str, sympy.Expr]]] = MappingProxyType(
    {"euler": _euler, "exponential": _exponential}
)


def discretise(equations: Equations, method: str) -> dict[str, sympy.Expr]:
    r"""State after one step (before any reset), as expressions in states, inputs, parameters and dt.

    Raises:
        InputError: unknown ``method``, or equations that it cannot solve.

    >>> from neuro.kernels.equations import Parameter
    >>> leaky = Equations("Leaky", "dv/dt = (x - v)/tau", {"tau": Parameter(0.02, "s", positive=True)})
    Traceback (most recent call last):
    neuro.errors.InputError: cell 'Leaky' has no line 'spike when ...' but resets or outputs a spike
    >>> leaky = Equations("Leaky", "dv/dt = (x - v)/tau\noutput v", {"tau": Parameter(0.02, "s", positive=True)})
    >>> discretise(leaky, "euler")["v"]
    dt*(-v + x)/tau + v
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    return METHODS[method](equations)
