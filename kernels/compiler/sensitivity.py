"""How a step carries a small change forward: the tangent of a program, derived by the symbolic Jacobian.

With ``e`` the sensitivity of a neuron's states to something (a synapse, a parameter), one step is
linear in it: ``e' = A e + B dx + E dc`` and the output changes by ``C . e + D dx + F dc``, where
``dx`` is what a unit of that something adds to the input current and ``dc`` to a coefficient.
Real-time recurrent learning is this recursion, carried for every synapse; its matrices are those
of :func:`~neuro.kernels.compiler.program.derive_backward` read the other way, so that the two
give the same gradient under every route.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import sympy

from neuro.kernels.compiler.equations import SPIKE, symbol
from neuro.kernels.compiler.program import Program
from neuro.kernels.compiler.route import Route

__all__ = ["Tangent", "derive_tangent"]

Row = tuple[sympy.Expr, ...]


@dataclass(frozen=True)
class Tangent:
    """The tangent of one step of a program with S states and L learned coefficients, with respect to one of its inputs.

    Symbols: ``p_S`` a state before the step, ``S`` after the update and before the reset, ``z``
    the spike, ``sd`` the surrogate derivative at the drive, the inputs and the coefficients.

    Attributes:
        state: A, ``S x S``: row k tells how the new state k follows the old states.
        input: B, ``S``: how the new states follow the input.
        coefficient: E, ``S x L``.
        output: C, ``S``: how the output follows the old states.
        direct: D: how the output follows the input of the same step.
        output_coefficient: F, ``L``.
    """

    state: tuple[Row, ...]
    input: Row
    coefficient: tuple[Row, ...]
    output: Row
    direct: sympy.Expr
    output_coefficient: Row

    def is_linear(self, program: Program) -> bool:
        """Whether A and B are made of coefficients alone.

        If all neurons also share those, one presynaptic trace per input serves every synapse that
        leaves it (the trace of OTTT; Xiao et al. 2022, "Online training through time for SNNs").
        """
        allowed = set(program.coefficient_symbols)
        return all(e.free_symbols <= allowed for e in (*self.input, *(e for row in self.state for e in row)))


@lru_cache(maxsize=256)
def derive_tangent(program: Program, route: Route, learned: tuple[int, ...], of: int = 0) -> Tangent:
    """The tangent of ``program`` under ``route``, with the ``learned`` coefficients; B and D are of input number ``of``."""
    states = [symbol(s) for s in program.states]
    before = {s: symbol(f"p_{s}") for s in states}
    x = symbol(program.inputs[of])
    coefficients = [program.coefficient_symbols[k] for k in learned]
    reset = dict(zip(states, program.reset, strict=True))
    carried = {s: s + SPIKE * (reset[s] - s) for s in states}
    drive = program.drive if program.drive is not None else sympy.Integer(0)
    slope = symbol("sd")

    def updated(variable: sympy.Symbol) -> Row:
        """How the states before the reset follow an old state, the input or a coefficient."""
        return tuple(sympy.diff(line, variable).xreplace(before) for line in program.update)

    def spike_follows(change: Row, variable: sympy.Symbol | None) -> sympy.Expr:
        own = sympy.diff(drive, variable) if variable is not None else sympy.Integer(0)
        return slope * (_dot([sympy.diff(drive, s) for s in states], change) + own)

    def new_states(change: Row, variable: sympy.Symbol | None = None) -> Row:
        spike = sympy.Integer(0) if route.cut_reset else spike_follows(change, variable)
        made = []
        for s in states:
            through = _dot([sympy.diff(carried[s], r) for r in states], change)
            own = sympy.diff(carried[s], variable) if variable is not None else sympy.Integer(0)
            made.append(through + own + spike * (reset[s] - s))
        return tuple(made)

    def new_output(change: Row, variable: sympy.Symbol | None = None) -> sympy.Expr:
        own = sympy.diff(program.output, variable) if variable is not None else sympy.Integer(0)
        through = _dot([sympy.diff(program.output, s) for s in states], change)
        return through + own + sympy.diff(program.output, SPIKE) * spike_follows(change, variable)

    zero = (sympy.Integer(0),) * len(states)
    by_state = [zero if route.cut_time else updated(s) for s in states]
    by_coefficient = [(updated(c), c) for c in coefficients]
    return Tangent(
        state=tuple(zip(*(new_states(change) for change in by_state), strict=True)),
        input=new_states(updated(x)),
        coefficient=tuple(zip(*(new_states(*pair) for pair in by_coefficient), strict=True)) or ((),) * len(states),
        output=tuple(new_output(change) for change in by_state),
        direct=new_output(updated(x)),
        output_coefficient=tuple(new_output(*pair) for pair in by_coefficient),
    )


def _dot(left: list[sympy.Expr], right: Row) -> sympy.Expr:
    return sum((a * b for a, b in zip(left, right, strict=True)), sympy.Integer(0))
