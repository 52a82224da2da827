"""The logistic function and sums over lanes in a form that Numba's loops compile to vector instructions.

``exp(x) = 2^n exp(r)``, ``n`` the integer nearest to ``x / ln 2``; of ``exp(r)``, ``|r| <= ln 2 / 2``, the
Taylor series up to where it rounds to the dtype. The calls to the C library that ``math.exp`` makes stay scalar.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

__all__ = ["LANES", "lane_sum", "logistic"]

LANES = 16
"""Samples that the loops of liquid cells carry side by side."""

_F = np.float32
_SHIFT = 6755399441055744.0  # 1.5 * 2^52: added to a number, it leaves the nearest integer in the last bits
_SHIFT_F = _F(12582912.0)  # 1.5 * 2^23
_HIGH = 0.693359375  # ln 2 in two parts; the first has few enough bits for n * _HIGH to be exact
_LOW = -2.1219444005469058e-4  # not log(2) - _HIGH: that is rounded where log(2) is


def _scale(typing: Any, shifted: Any) -> Any:
    """``2^n`` from the float ``n + 1.5 * 2^23`` (float64: ``2^52``)."""
    if shifted not in (types.float32, types.float64):
        return None
    mantissa, bias, bits = (23, 0x7F, 32) if shifted == types.float32 else (52, 0x3FF, 64)

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        word = ir.IntType(bits)
        moved = builder.shl(builder.bitcast(given[0], word), word(mantissa))
        return builder.bitcast(builder.add(moved, word(bias << mantissa)), given[0].type)

    return shifted(shifted), generate


scale: Any = intrinsic(_scale)


def _lane_sum(typing: Any, row: Any) -> Any:
    """``(row [LANES]) -> scalar``: its sum, halves added to halves: the same bits on every machine."""
    if not isinstance(row, types.Array) or row.ndim != 1 or row.layout != "C":
        return None

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, given[0])
        kind = ir.VectorType(context.get_value_type(row.dtype), LANES)
        total = builder.load(builder.bitcast(array.data, kind.as_pointer()))
        total.align = row.dtype.bitwidth // 8
        width = LANES
        while width > 1:
            width //= 2
            places = ir.VectorType(ir.IntType(32), width)
            low = builder.shuffle_vector(total, total, ir.Constant(places, list(range(width))))
            high = builder.shuffle_vector(total, total, ir.Constant(places, list(range(width, 2 * width))))
            total = builder.fadd(low, high)
        return builder.extract_element(total, ir.IntType(32)(0))

    return row.dtype(row), generate


lane_sum: Any = intrinsic(_lane_sum)


def logistic(a: Any) -> Any:
    """``1 / (1 + exp(-a))`` of a scalar; in compiled loops the form described above."""
    return 1 / (1 + np.exp(-a))


@numba.njit(error_model="numpy", cache=True)
def _single(a: Any) -> Any:
    x = min(max(-a, _F(-87.0)), _F(87.0))  # in this order NaN stays NaN
    shifted = x * _F(1.4426950408889634) + _SHIFT_F
    n = shifted - _SHIFT_F
    r = (x - n * _F(_HIGH)) - n * _F(_LOW)
    p = r * _F(1 / 5040) + _F(1 / 720)
    p = p * r + _F(1 / 120)
    p = p * r + _F(1 / 24)
    p = p * r + _F(1 / 6)
    p = p * r + _F(1 / 2)
    p = p * r + _F(1)
    p = p * r + _F(1)
    return _F(1) / (_F(1) + p * scale(shifted))


@numba.njit(error_model="numpy", cache=True)
def _double(a: Any) -> Any:
    x = min(max(-a, -700.0), 700.0)
    shifted = x * 1.4426950408889634 + _SHIFT
    n = shifted - _SHIFT
    r = (x - n * _HIGH) - n * _LOW
    p = r / 6227020800 + 1 / 479001600
    p = p * r + 1 / 39916800
    p = p * r + 1 / 3628800
    p = p * r + 1 / 362880
    p = p * r + 1 / 40320
    p = p * r + 1 / 5040
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    p = p * r + 1 / 2
    p = p * r + 1.0
    p = p * r + 1.0
    return 1.0 / (1.0 + p * scale(shifted))


@overload(logistic, inline="always")
def _logistic(a: Any) -> Any:
    def single(a: Any) -> Any:
        return _single(a)

    def double(a: Any) -> Any:
        return _double(a)

    return single if a == types.float32 else double
