"""The logistic function and sums over lanes in a form that Numba's loops compile to vector instructions.

``exp(x) = 2^n exp(r)``, ``n`` the integer nearest to ``x / ln 2``, ``|r| <= ln 2 / 2``. Of ``exp(r)``, in float32 the
polynomial of degree 6 through the Chebyshev points (off by 2.5e-9), in float64 the Taylor series up to where it
rounds. The calls to the C library that ``math.exp`` makes would stay scalar.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

__all__ = ["LANES", "add_lanes", "fused", "logistic"]

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


def _fused(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once: said, not left to the compiler, and so the same on every machine."""
    if a != b or b != c or a not in (types.float32, types.float64):
        return None

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.fma(*given)

    return a(a, a, a), generate


fused: Any = intrinsic(_fused)


def _add_lanes(typing: Any, rows: Any, total: Any) -> Any:
    """``(rows [4 * LANES], total [4])``: adds to ``total`` the sum of each quarter, halves of it added to halves."""
    fits = all(isinstance(kind, types.Array) and kind.layout == "C" for kind in (rows, total))
    if not fits or (rows.ndim, total.ndim) != (1, 1) or rows.dtype != total.dtype:
        return None

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        source, target = (
            context.make_array(k)(context, builder, v) for k, v in zip(signature.args, given, strict=True)
        )
        element = context.get_value_type(rows.dtype)
        align = rows.dtype.bitwidth // 8

        def mixed(a: Any, b: Any, places: list[int]) -> Any:
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places))

        def halved(row: int) -> Any:
            # No load wider than what the loop before may have stored: a wider one waits for the cache.
            kind = ir.VectorType(element, LANES // 2)
            halves = []
            for offset in (0, LANES // 2):
                place = builder.gep(source.data, [ir.IntType(64)(row * LANES + offset)])
                halves.append(builder.load(builder.bitcast(place, kind.as_pointer())))
                halves[-1].align = align
            half = builder.fadd(*halves)
            return builder.fadd(mixed(half, half, [0, 1, 2, 3]), mixed(half, half, [4, 5, 6, 7]))

        # Four rows of four: added across in two steps, both for two rows at a time.
        a, b, c, d = (halved(row) for row in range(4))
        ab = builder.fadd(mixed(a, b, [0, 1, 4, 5]), mixed(a, b, [2, 3, 6, 7]))
        cd = builder.fadd(mixed(c, d, [0, 1, 4, 5]), mixed(c, d, [2, 3, 6, 7]))
        sums = builder.fadd(mixed(ab, cd, [0, 2, 4, 6]), mixed(ab, cd, [1, 3, 5, 7]))
        place = builder.bitcast(target.data, sums.type.as_pointer())
        before = builder.load(place)
        before.align = align
        builder.store(builder.fadd(before, sums), place).align = align
        return context.get_dummy_value()

    return types.void(rows, total), generate


add_lanes: Any = intrinsic(_add_lanes)


def logistic(a: Any) -> Any:
    """``1 / (1 + exp(-a))`` of a scalar; in compiled loops the form described above."""
    return 1 / (1 + np.exp(-a))


@numba.njit(error_model="numpy", cache=True)
def _single(a: Any) -> Any:
    x = min(max(-a, _F(-87.0)), _F(87.0))  # in this order NaN stays NaN
    shifted = fused(x, _F(1.4426950408889634), _SHIFT_F)
    r = fused(shifted - _SHIFT_F, _F(-0.6931471805599453), x)
    p = fused(r, _F(0.0013941118940759135), _F(0.008375134774678761))
    p = fused(p, r, _F(0.041666352770387056))
    p = fused(p, r, _F(0.1666641541404117))
    p = fused(p, r, _F(0.500000004714632))
    p = fused(p, r, _F(1.0000000377388703))
    p = fused(p, r, _F(1))
    return _F(1) / fused(p, scale(shifted), _F(1))


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
