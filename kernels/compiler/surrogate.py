"""Surrogate derivatives of the spike: one table, explicit width and peak.

With ``u = drive / width`` the pseudo-derivative is ``peak * shape(u)`` and ``shape(0) = 1``,
so the same pair means the same sharpness in every family. (Neftci, Mostafa & Zenke 2019,
"Surrogate gradient learning in spiking neural networks".) Other libraries' ``alpha``:

================  =====================================  =============================================
family            shape(u)                               their alpha
================  =====================================  =============================================
atan              1 / (1 + u^2)                          width 2/(pi alpha), peak alpha/2
fast_sigmoid      1 / (1 + |u|)^2                        slope k: width 1/k, peak 1; SuperSpike: width 1,
                                                         peak alpha; soft sign: width 1/alpha, peak
                                                         alpha/2; q-pseudo-spike of q = 2: width 1/2, peak 1
sigmoid           4 s(u) (1 - s(u))                      width 1/alpha, peak alpha/4; slope of
                                                         tanh(k x): width 1/(2 k), peak k
triangle          max(0, 1 - |u|)                        width 1/alpha, peak alpha; dampened (LSNN): width
                                                         v_threshold, peak gamma/v_threshold
boxcar            1 where |u| < 1/2                      width 1/alpha, peak alpha
gaussian          exp(-u^2)                              width 1/alpha, peak alpha/sqrt(pi)
exponential       exp(-|u|)                              width 1/alpha, peak alpha c / 2
multi_gaussian    1.15 G(u) - .15/6 (G((u-1)/6) +        width sigma; may be negative (Yin et al. 2021,
                  G((u+1)/6)), G(u) = exp(-u^2/2),       "Accurate and efficient time-domain
                  over its value at 0                    classification with adaptive spiking RNNs")
reciprocal        min(1, 1/|u|)                          fake numerical gradient: width 1/alpha, peak alpha
straight_through  1                                      any width
step              1 where u > -1                         width window; Rockpool's piecewise linear: peak 1/v_threshold
================  =====================================  =============================================

Other asymmetric ones (leaky ReLU, S2NN) have two parameters more and are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import sympy

from neuro.errors import InputError, unknown_name
from neuro.kernels.compiler.equations import symbol

__all__ = ["SURROGATES", "Surrogate", "SurrogateFamily"]

U = symbol("u")


@dataclass(frozen=True)
class SurrogateFamily:
    """A shape and its antiderivative (zero at ``u = 0``), both in ``u = drive / width``."""

    shape: sympy.Expr
    primitive: sympy.Expr


def _multi_gaussian(height: sympy.Rational, scale: sympy.Integer) -> SurrogateFamily:
    """``(1 + h) N(0, s) - h N(s, k s) - h N(-s, k s)`` in ``u = drive / s``, one at zero."""
    root = sympy.sqrt(2)

    def wide(centre: int, function: Callable[[sympy.Expr], sympy.Expr]) -> sympy.Expr:
        return function((U - centre) / scale)

    def bell(u: sympy.Expr) -> sympy.Expr:
        return sympy.exp(-(u**2) / 2)

    def area(u: sympy.Expr) -> sympy.Expr:
        return sympy.sqrt(sympy.pi / 2) * sympy.erf(u / root)

    top = sympy.Float(float(1 + height - 2 * height / scale * sympy.exp(-1 / (2 * sympy.Float(scale) ** 2))))
    shape = (1 + height) * bell(U) - height / scale * (wide(1, bell) + wide(-1, bell))
    primitive = (1 + height) * area(U) - height * (wide(1, area) + wide(-1, area))
    return SurrogateFamily(shape / top, primitive / top)


def _where(condition: sympy.Basic, then: sympy.Expr, otherwise: sympy.Expr) -> sympy.Expr:
    return sympy.Piecewise((then, condition), (otherwise, True))


def _clip(bound: sympy.Expr) -> sympy.Expr:
    return sympy.Max(-bound, sympy.Min(bound, U))


_HALF = sympy.Rational(1, 2)

SURROGATES: Mapping[str, SurrogateFamily] = MappingProxyType(
    {
        "atan": SurrogateFamily(1 / (1 + U**2), sympy.atan(U)),
        "fast_sigmoid": SurrogateFamily(1 / (1 + sympy.Abs(U)) ** 2, U / (1 + sympy.Abs(U))),
        # 4 s (1 - s) written with an exponential of what is below zero, which cannot overflow.
        "sigmoid": SurrogateFamily(
            4 * sympy.exp(-sympy.Abs(U)) / (1 + sympy.exp(-sympy.Abs(U))) ** 2, 2 * sympy.tanh(U / 2)
        ),
        "triangle": SurrogateFamily(
            sympy.Max(0, 1 - sympy.Abs(U)), _clip(sympy.Integer(1)) * (1 - sympy.Abs(_clip(sympy.Integer(1))) / 2)
        ),
        "boxcar": SurrogateFamily(_where(sympy.Abs(U) < _HALF, sympy.Integer(1), sympy.Integer(0)), _clip(_HALF)),
        "gaussian": SurrogateFamily(sympy.exp(-(U**2)), sympy.sqrt(sympy.pi) / 2 * sympy.erf(U)),
        "exponential": SurrogateFamily(
            sympy.exp(-sympy.Abs(U)),
            _where(U > 0, sympy.Integer(1), -sympy.Integer(1)) * (1 - sympy.exp(-sympy.Abs(U))),
        ),
        "multi_gaussian": _multi_gaussian(sympy.Rational(3, 20), sympy.Integer(6)),
        "reciprocal": SurrogateFamily(
            1 / sympy.Max(1, sympy.Abs(U)),
            _where(U > 0, sympy.Integer(1), -sympy.Integer(1)) * sympy.log(sympy.Max(1, sympy.Abs(U)))
            + _clip(sympy.Integer(1)),
        ),
        "straight_through": SurrogateFamily(sympy.Integer(1), U),
        "step": SurrogateFamily(_where(U > -1, sympy.Integer(1), sympy.Integer(0)), sympy.Max(U, -1)),
    }
)


@dataclass(frozen=True)
class Surrogate:
    """The pseudo-derivative of the spike with respect to its drive.

    Args:
        family: a name in :data:`SURROGATES`.
        width: scale of the drive at which the derivative falls off, in the drive's unit.
        peak: value at threshold.

    Raises:
        InputError: unknown family, width or peak not positive and finite.

    >>> Surrogate("triangle", width=0.5).family
    'triangle'
    """

    family: str = "atan"
    width: float = 1.0 / math.pi
    peak: float = 1.0

    def __post_init__(self) -> None:
        if self.family not in SURROGATES:
            raise unknown_name("surrogate", self.family, SURROGATES)
        for name, value in (("width", self.width), ("peak", self.peak)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"surrogate {name} must be a positive finite number, got {value}")
