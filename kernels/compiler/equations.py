"""A cell is its equations: the declaration every engine is made from.

A declaration is a few lines of text, checked when the module that holds it is imported::

    dv/dt = ((v_leak - v) + r*x) / tau      # continuous dynamics, one line per state
    w' = exp(-dt/tau_w)*w + a*v'            # or a map from step to step
    start v = v_leak                        # where a state begins; zero unless said
    spike when v > v_threshold              # absent for a cell that never spikes; or v >= v_threshold
    reset value: v = v_reset                # one line per named kind of reset and state
    reset subtract: v = v - v_threshold
    output v                                # absent: the output is the spike z

``x`` is the input current; ``whole(a, b)`` counts how often ``b`` goes into ``a`` and passes no gradient. Names are states (left of a ``d/dt`` or a prime), inputs, declared
parameters and ``z``, the spike (in ``output`` only); maps and resets may use ``dt``, the step
in seconds. In dynamics ``v`` is the value before the step and ``v'`` the one after it (before
any reset), which lines below that of ``v`` may read. The states left of ``>`` or ``>=`` are the
membrane, which a refractory period holds. A mistake raises :class:`~neuro.errors.InputError` with the
line at fault.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from tokenize import TokenError
from types import MappingProxyType

import sympy
from sympy.parsing.sympy_parser import parse_expr

from neuro.errors import InputError

__all__ = ["COUNTDOWN", "DT", "PERIOD", "SPIKE", "Equations", "Parameter", "after_step", "lifted", "symbol", "whole"]


class lifted(sympy.Function):  # type: ignore[misc] # a mathematical function, as phi1 is
    """Its argument, but for zero just above it: engines fire above zero, a cell of ``>=`` at zero too."""

    def fdiff(self, argindex: int = 1) -> sympy.Integer:
        """The slope is that of the argument, at zero too."""
        return sympy.Integer(1)


class whole(sympy.Function):  # type: ignore[misc]
    """``whole(a, b)``, how many whole times ``b`` goes into ``a``: ``floor(a / b)``, of no derivative."""

    nargs = 2

    @classmethod
    def eval(cls, a: sympy.Expr, b: sympy.Expr) -> sympy.Integer | None:
        """A number where both are."""
        return sympy.floor(a / b) if a.is_Number and b.is_Number else None

    def _eval_is_real(self) -> bool:
        return True

    def fdiff(self, argindex: int = 1) -> sympy.Integer:
        """It counts: no gradient passes."""
        return sympy.Integer(0)


_CALLED = ("exp", "log", "sqrt", "tanh", "sin", "cos", "Abs", "Max", "Min", "whole")
_FUNCTIONS: Mapping[str, object] = MappingProxyType(
    {name: getattr(sympy, name) for name in _CALLED if name != "whole"}
    | {
        "whole": whole,
        "Symbol": sympy.Symbol,
        "Integer": sympy.Integer,
        "Float": sympy.Float,
        "Rational": sympy.Rational,
    }
)
# Parsing evaluates what it reads, so nothing but a formula may reach it.
_FORMULA = re.compile(r"(?:[A-Za-z_]\w*|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])|[\s+\-*/(),])*")
_FLOW = re.compile(r"d(?P<state>[A-Za-z_]\w*)/dt\s*=\s*(?P<right>.+)")
_MAP = re.compile(r"(?P<state>[A-Za-z_]\w*)'\s*=\s*(?P<right>.+)")
_START = re.compile(r"start\s+(?P<state>[A-Za-z_]\w*)\s*=\s*(?P<right>.+)")
_PRIMED = re.compile(r"\b([A-Za-z]\w*)'")
_SPIKE = re.compile(r"spike\s+when\s+(?P<left>.+?)>(?P<equal>=?)(?P<right>.+)")
_RESET = re.compile(r"reset\s+(?P<kind>\w+)\s*:\s*(?P<state>[A-Za-z_]\w*)\s*=\s*(?P<right>.+)")
# Names the compiler gives to its own quantities (coefficients, adjoints, the spike, the step).
_RESERVED = re.compile(r"c\d+|[gpq]_\w+|gy|sd|u|z|dt|_\w*|F|math|numba|np|torch|phi1|refractory(_period)?")
_OUTPUT = re.compile(r"output\s+(?P<right>.+)")


def symbol(name: str) -> sympy.Symbol:
    """The real SymPy symbol every part of the compiler uses for ``name``."""
    return sympy.Symbol(name, real=True)


def after_step(name: str) -> sympy.Symbol:
    """The symbol for the new value of state ``name``, written with a prime in a declaration."""
    return symbol(f"_after_{name}")


SPIKE = symbol("z")
DT = symbol("dt")
COUNTDOWN = "refractory"
"""Name of the state (steps left) that a refractory period adds to a cell."""
PERIOD = "refractory_period"
"""Name of its parameter [s]."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a cell.

    Attributes:
        default: value where the user gives none, in ``unit``.
        unit: SI unit as text: ``"s"``, ``"V"``, ``"ohm"``, ``"1"`` for a pure number.
        positive: whether only values above zero mean anything (time constants); held
            during training by a logarithmic parametrisation.
        doc: what it is, one line.
    """

    default: float
    unit: str = "1"
    positive: bool = False
    doc: str = ""


@dataclass(frozen=True)
class Equations:
    """The declaration of a cell.

    Args:
        name: name of the cell, as used in files and error messages.
        text: the lines described in the module docstring.
        parameters: every name that is neither state, input nor ``z``.
        inputs: names of the input currents, ``("x",)`` unless said.

    Attributes:
        flow: right-hand side of each state's line, in the order written.
        maps: the states whose line is a map, not a differential equation.
        start: where states begin, in parameters; zero for those left out.
        membrane: the states that a refractory period holds.

    Raises:
        InputError: an undefined symbol, a parameter never used, a drive that no state
            enters, a line of no known form, a non-finite value at the defaults; the
            message quotes the line at fault.

    >>> leaky = Equations("Leaky", '''
    ...     dv/dt = (x - v) / tau
    ...     spike when v > 1
    ...     reset value: v = 0
    ... ''', {"tau": Parameter(0.02, "s", positive=True)})
    >>> leaky.states, leaky.reset_kinds
    (('v',), ('value', 'none'))
    """

    name: str
    text: str
    parameters: Mapping[str, Parameter]
    inputs: tuple[str, ...] = ("x",)
    flow: Mapping[str, sympy.Expr] = field(init=False, repr=False, compare=False)
    maps: frozenset[str] = field(init=False, repr=False, compare=False)
    start: Mapping[str, sympy.Expr] = field(init=False, repr=False, compare=False)
    membrane: tuple[str, ...] = field(init=False, repr=False, compare=False)
    drive: sympy.Expr | None = field(init=False, repr=False, compare=False)
    resets: Mapping[str, Mapping[str, sympy.Expr]] = field(init=False, repr=False, compare=False)
    output: sympy.Expr = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        reading = _Reading(self)
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))
        object.__setattr__(self, "flow", MappingProxyType(reading.flow))
        object.__setattr__(self, "maps", frozenset(reading.maps))
        object.__setattr__(self, "start", MappingProxyType(reading.start))
        object.__setattr__(self, "membrane", reading.membrane)
        object.__setattr__(self, "drive", reading.drive)
        object.__setattr__(self, "resets", MappingProxyType(reading.resets))
        object.__setattr__(self, "output", reading.output)
        reading.check()

    def __hash__(self) -> int:
        return hash((self.name, self.text, tuple(self.parameters.items()), self.inputs))

    def __reduce__(self) -> tuple[type[Equations], tuple[object, ...]]:
        return Equations, (self.name, self.text, dict(self.parameters), self.inputs)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the state variables, in the order declared."""
        return tuple(self.flow)

    @property
    def reset_kinds(self) -> tuple[str, ...]:
        """Names of the resets declared, the default first, then ``"none"``."""
        return (*self.resets, "none")

    def reset(self, kind: str) -> Mapping[str, sympy.Expr]:
        """Value each state takes at a spike under ``kind`` (states left out keep theirs)."""
        return MappingProxyType({}) if kind == "none" else self.resets[kind]


class _Reading:
    """The text of a declaration, taken apart line by line."""

    def __init__(self, equations: Equations) -> None:
        self.name = equations.name
        self.parameters = equations.parameters
        self.inputs = equations.inputs
        self.flow: dict[str, sympy.Expr] = {}
        self.maps: set[str] = set()
        self.start: dict[str, sympy.Expr] = {}
        self.membrane: tuple[str, ...] = ()
        self.drive: sympy.Expr | None = None
        self.resets: dict[str, dict[str, sympy.Expr]] = {}
        self.output: sympy.Expr = SPIKE
        self.line = ""
        self.origin: list[tuple[str, sympy.Expr]] = []
        for name in (*self.inputs, *self.parameters):
            self._refuse_reserved(name)
        lines = list(self._lines(equations.text))
        self.states = tuple(m["state"] for _, m in lines if m.re in (_FLOW, _MAP))
        self._refuse_shared_names()
        for self.line, match in lines:
            self._take(match)

    def _error(self, problem: str) -> InputError:
        return InputError(f"cell {self.name!r}, line {self.line!r}: {problem}")

    def _refuse_reserved(self, name: str) -> None:
        if not name.isidentifier() or _RESERVED.fullmatch(name):
            raise InputError(f"cell {self.name!r}: the name {name!r} is reserved or no identifier; choose another")

    def _refuse_shared_names(self) -> None:
        kinds = {"state": set(self.states), "input": set(self.inputs), "parameter": set(self.parameters)}
        for one, other in (("state", "input"), ("state", "parameter"), ("input", "parameter")):
            if both := sorted(kinds[one] & kinds[other]):
                raise InputError(f"cell {self.name!r}: {both[0]!r} is both {one} and {other}; rename one of them")

    def _lines(self, text: str) -> Iterator[tuple[str, re.Match[str]]]:
        for raw in text.splitlines():
            self.line = raw.split("#")[0].strip()
            if not self.line:
                continue
            forms = (_FLOW, _MAP, _START, _SPIKE, _RESET, _OUTPUT)
            match = next((m for form in forms if (m := form.fullmatch(self.line))), None)
            if match is None:
                raise self._error(
                    "expected 'dS/dt = ...', \"S' = ...\", 'start S = ...', 'spike when a > b', "
                    "'reset KIND: S = ...' or 'output ...'"
                )
            yield self.line, match

    def _expression(self, text: str, extra: tuple[str, ...] = ()) -> sympy.Expr:
        return self._read(text, {*self.states, *self.inputs, *self.parameters, *extra})

    def _read(self, text: str, known: set[str]) -> sympy.Expr:
        for name in _PRIMED.findall(text):
            if str(after_step(name)) not in known:
                raise self._error(f"{name}' is the new value of a state and known only in dynamics below its line")
        table = {name: symbol(name) for name in known}
        text = _PRIMED.sub(lambda primed: str(after_step(primed[1])), text)
        if not _FORMULA.fullmatch(text):
            raise self._error("an expression is made of names, numbers, + - * / **, brackets, commas and functions")
        for called in re.findall(r"([A-Za-z_]\w*)\s*\(", text):
            if called not in _CALLED:
                raise self._error(f"unknown function {called!r}; there are {', '.join(_CALLED)}")
        try:
            expression = sympy.sympify(parse_expr(text, local_dict=table, global_dict=dict(_FUNCTIONS)))
        except (SyntaxError, TokenError, TypeError, AttributeError, NameError, ValueError) as error:
            raise self._error(f"cannot be read as an expression ({error})") from None
        unknown = sorted(str(s) for s in expression.free_symbols if str(s) not in known)
        if unknown:
            raise self._error(
                f"undefined symbol {unknown[0]!r}; declare it as a parameter (known: "
                f"{', '.join(n for n in sorted(known) if not n.startswith('_'))})"
            )
        self.origin.append((self.line, expression))
        return expression

    def _take(self, match: re.Match[str]) -> None:
        right = match["right"]
        if match.re in (_FLOW, _MAP):
            self._take_dynamics(match)
        elif match.re is _START:
            self._require_state(match["state"])
            self.start[match["state"]] = self._read(right, set(self.parameters))
        elif match.re is _SPIKE:
            if self.drive is not None:
                raise self._error("a cell has one spike condition")
            left = self._expression(match["left"])
            self.membrane = tuple(s for s in self.states if symbol(s) in left.free_symbols)
            self.drive = left - self._expression(right)
            if match["equal"]:
                self.drive = lifted(self.drive)
            if not any(symbol(s) in self.drive.free_symbols for s in self.states):
                raise self._error("the spike condition depends on no state, so it can never be driven")
        elif match.re is _RESET:
            self._require_state(match["state"])
            self.resets.setdefault(match["kind"], {})[match["state"]] = self._expression(right, ("dt",))
        else:
            self.output = self._expression(right, ("z",))

    def _take_dynamics(self, match: re.Match[str]) -> None:
        state = match["state"]
        self._refuse_reserved(state)
        if state in self.flow:
            raise self._error(f"state {state!r} has two lines")
        fresh = tuple(str(after_step(s)) for s in self.flow)
        if match.re is _MAP:
            self.maps.add(state)
            fresh = ("dt", *fresh)
        self.flow[state] = self._expression(match["right"], fresh)

    def _require_state(self, name: str) -> None:
        if name not in self.states:
            raise self._error(f"{name!r} is no state (states: {', '.join(self.states)})")

    def check(self) -> None:
        """Refuse what cannot be a cell, naming the line at fault."""
        if not self.flow:
            raise InputError(f"cell {self.name!r} declares no state; write a line 'dS/dt = ...' or \"S' = ...\"")
        if self.drive is None and (self.resets or SPIKE in self.output.free_symbols):
            raise InputError(f"cell {self.name!r} has no line 'spike when ...' but resets or outputs a spike")
        used = {str(s) for _, expression in self.origin for s in expression.free_symbols}
        for name, parameter in self.parameters.items():
            if name not in used:
                raise InputError(f"cell {self.name!r}: parameter {name!r} is used in no line; remove it")
            if not math.isfinite(parameter.default) or (parameter.positive and parameter.default <= 0):
                raise InputError(f"cell {self.name!r}: parameter {name!r} has the default {parameter.default}")
        self._check_finite()

    def _check_finite(self) -> None:
        point = {symbol(n): sympy.Float(p.default) for n, p in self.parameters.items()}
        # Off zero and all different, so that only a true singularity at the defaults is met.
        point |= {symbol(n): sympy.Float(0.01 * (k + 1)) for k, n in enumerate((*self.states, *self.inputs, "z"))}
        point |= {after_step(s): point[symbol(s)] for s in self.states} | {DT: sympy.Float(1e-3)}
        for line, expression in self.origin:
            self.line = line
            value = expression.subs(point)
            if not (value.is_number and bool(value.is_finite) and value.is_real):
                raise self._error(f"is not a finite real number at the default parameters ({value})")
