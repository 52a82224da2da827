"""Printed text evaluates to the expression, in order and without contraction."""

from __future__ import annotations

import math

import pytest
import sympy

from neuro.kernels.compiler.equations import symbol
from neuro.kernels.compiler.printing import Dialect, to_text

PLAIN = Dialect(
    number=repr,
    functions={n: f"math.{n}" for n in ("exp", "log", "sqrt", "tanh", "sin", "cos", "atan", "erf")} | {"abs": "abs"},
    select=lambda condition, then, otherwise: f"({then} if {condition} else {otherwise})",
)
A, B = symbol("a"), symbol("b")
EXPRESSIONS = [
    A + B - 3,
    -A - B,
    A * B / (1 + A**2),
    -A * B,
    1 / A**3,
    sympy.Rational(1, 3) * A,
    sympy.exp(-A / B) * sympy.log(B) + sympy.sqrt(B),
    sympy.Max(A, B, 0) - sympy.Min(A, 2 * B),
    sympy.Piecewise((A, A > B), (B, sympy.Abs(A) < 1), (A * B, True)),
    sympy.tanh(A) + sympy.sin(B) * sympy.cos(A) + sympy.atan(A) - sympy.erf(B),
    sympy.sqrt(sympy.pi) * A,
]


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
@pytest.mark.parametrize(("a", "b"), [(0.3, 2.0), (-1.7, 0.4), (2.5, 2.4)])
def test_text_evaluates_to_the_expression(expression: sympy.Expr, a: float, b: float) -> None:
    value = eval(to_text(expression, PLAIN), {"math": math, "a": a, "b": b})
    assert value == pytest.approx(float(expression.subs({A: a, B: b})), rel=1e-14)


def test_names_go_through_the_dialect() -> None:
    renamed = Dialect(PLAIN.number, PLAIN.functions, PLAIN.select, name=lambda n: f"{n}_")
    assert to_text(A * B, renamed) == "(a_ * b_)"


@pytest.mark.parametrize("expression", [A ** sympy.Rational(1, 3), sympy.gamma(A), A**7])
def test_what_has_no_text_is_refused(expression: sympy.Expr) -> None:
    with pytest.raises(NotImplementedError):
        to_text(expression, PLAIN)
