"""SymPy expressions as source text, one small printer for every engine.

The text keeps the order of operations of the expression and contracts nothing, so that two
engines printing the same program round alike and spike alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sympy

from neuro.kernels.compiler.discretise import phi1
from neuro.kernels.compiler.equations import lifted, whole

__all__ = ["Dialect", "to_text"]

_LEAST = 1e-37  # just above the smallest normal number of float32


@dataclass(frozen=True)
class Dialect:
    """How an engine writes numbers, function calls and a choice.

    Args:
        number: a literal for a Python number.
        functions: name of each elementary function (``exp`` ...) in the target language.
        select: text for (condition, then, otherwise).
        name: how a symbol is spelled, where its plain name could be a keyword.
    """

    number: Callable[[float], str]
    functions: Mapping[str, str]
    select: Callable[[str, str, str], str]
    name: Callable[[str], str] = str


def to_text(expression: sympy.Expr, dialect: Dialect) -> str:
    """Source text of ``expression`` in ``dialect``, fully parenthesised where it matters.

    Raises:
        NotImplementedError: a function the dialect has no name for.
    """
    return _Printer(dialect).text(expression)


class _Printer:
    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect

    def text(self, e: sympy.Expr) -> str:
        if e.is_Symbol:
            return self.dialect.name(str(e))
        if e.is_number and not e.is_Function:
            return self.dialect.number(float(e))
        for kind, method in self._table:
            if isinstance(e, kind):
                return method(self, e)
        raise NotImplementedError(f"no text for {type(e).__name__} in {e}")

    def _add(self, e: sympy.Expr) -> str:
        first, *rest = sorted(e.args, key=_is_negative)
        parts = [self.text(first)]
        parts += [f" - {self.text(-a)}" if _is_negative(a) else f" + {self.text(a)}" for a in rest]
        return f"({''.join(parts)})"

    def _mul(self, e: sympy.Expr) -> str:
        if _is_negative(e):
            return f"(-{self.text(-e)})"
        above = [a for a in e.args if not _is_reciprocal(a)]
        below = [1 / a for a in e.args if _is_reciprocal(a)]
        top = " * ".join(self.text(a) for a in above) or self.dialect.number(1.0)
        return f"({' / '.join([top, *(self.text(a) for a in below)])})"

    def _pow(self, e: sympy.Expr) -> str:
        base, exponent = e.args
        if exponent.is_Integer and 1 < abs(int(exponent)) <= 4:
            product = " * ".join([self.text(base)] * abs(int(exponent)))
            return f"({product})" if exponent > 0 else f"({self.dialect.number(1.0)} / ({product}))"
        if exponent == -1:
            return f"({self.dialect.number(1.0)} / {self.text(base)})"
        if exponent == sympy.Rational(1, 2):
            return self._call("sqrt", base)
        raise NotImplementedError(f"no text for the power {e}")

    def _call(self, name: str, *arguments: sympy.Expr) -> str:
        if name not in self.dialect.functions:
            raise NotImplementedError(f"no function {name!r} in this engine")
        return f"{self.dialect.functions[name]}({', '.join(self.text(a) for a in arguments)})"

    def _extremum(self, e: sympy.Expr) -> str:
        sign = ">" if isinstance(e, sympy.Max) else "<"
        result = self.text(e.args[0])
        for other in (self.text(a) for a in e.args[1:]):
            result = self.dialect.select(f"{result} {sign} {other}", result, other)
        return result

    def _piecewise(self, e: sympy.Expr) -> str:
        *cases, (otherwise, _) = e.args
        result = self.text(otherwise)
        for value, condition in reversed(cases):
            left, right = self.text(condition.lhs), self.text(condition.rhs)
            result = self.dialect.select(f"{left} {condition.rel_op} {right}", self.text(value), result)
        return result

    def _lifted(self, e: sympy.Expr) -> str:
        value = self.text(e.args[0])
        # Written out here, since SymPy would reorder the sum: the number is lost in any but that with zero itself.
        above = f"({value} + {self.dialect.number(_LEAST)})"
        return self.dialect.select(f"{value} >= {self.dialect.number(0.0)}", above, value)

    def _whole(self, e: sympy.Expr) -> str:
        above, below = (self.text(a) for a in e.args)
        return f"{self.dialect.functions['floor']}({above} / {below})"  # divided: a reciprocal would round once more

    def _function(self, e: sympy.Expr) -> str:
        return self._call(type(e).__name__.lower(), *e.args)

    _table: tuple[tuple[type, Callable[[_Printer, sympy.Expr], str]], ...] = (
        (sympy.Add, _add),
        (sympy.Mul, _mul),
        (sympy.Pow, _pow),
        (sympy.Max, _extremum),
        (sympy.Min, _extremum),
        (sympy.Piecewise, _piecewise),
        (phi1, _function),
        (lifted, _lifted),
        (whole, _whole),
        (sympy.Function, _function),
    )


def _is_negative(e: sympy.Expr) -> bool:
    return bool(e.is_Number and e < 0) or (e.is_Mul and e.args[0].is_Number and bool(e.args[0] < 0))


def _is_reciprocal(e: sympy.Expr) -> bool:
    return bool(e.is_Pow and e.args[1] == -1)
