"""Vector steps Numba's loops cannot be brought to compile to: masks of comparisons, sums kept in registers.

Each is a few lines of LLVM over vectors of 64 bytes, lowered to what the processor has: one
register of AVX-512, two of AVX2. Offsets are trusted: the loops that call these stay within
their arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "NARROW",
    "WIDE",
    "add_rows_narrow",
    "add_rows_wide",
    "add_to_rows_narrow",
    "add_to_rows_wide",
    "mask_nonzero",
    "mask_ones",
    "population",
    "store_bits",
    "trailing_zeros",
]

_VECTOR = 64  # bytes
NARROW = _VECTOR  # bytes of a row the narrow steps work on
WIDE = 8 * _VECTOR  # and the wide ones: all the registers of AVX2, a quarter of those of AVX-512
_WORD = ir.IntType(64)
_FLOATS = (types.float32, types.float64)


def _is_row(kind: Any) -> bool:
    return isinstance(kind, types.Array) and kind.ndim == 1 and kind.layout == "C" and kind.dtype in _FLOATS


def _is_table(kind: Any, dtype: Any) -> bool:
    return isinstance(kind, types.Array) and kind.ndim == 2 and kind.layout == "C" and kind.dtype == dtype


class _Vectors:
    """Vectors of a contiguous array of floats."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any) -> None:
        self.builder = builder
        element = context.get_value_type(kind.dtype)
        self.bytes = kind.dtype.bitwidth // 8
        self.lanes = _VECTOR // self.bytes
        self.type = ir.VectorType(element, self.lanes)
        made = context.make_array(kind)(context, builder, array)
        self.data, self.shape = made.data, cgutils.unpack_tuple(builder, made.shape)

    def __call__(self, offset: Any, number: int = 0) -> Any:
        """Pointer to the vector ``number`` from element ``offset`` on."""
        place = self.builder.add(offset, offset.type(number * self.lanes))
        return self.builder.bitcast(self.builder.gep(self.data, [place]), self.type.as_pointer())

    def load(self, pointer: Any) -> Any:
        """The vector there; rows need not begin where a vector would."""
        value = self.builder.load(pointer)
        value.align = self.bytes
        return value

    def store(self, value: Any, pointer: Any) -> None:
        """Write a vector."""
        self.builder.store(value, pointer).align = self.bytes


def _mask(unordered: bool, relation: str, constant: float) -> Callable[..., Any]:
    """``(row, offset) -> uint64``: bit k tells whether entry ``offset + k`` is in ``relation`` to ``constant``."""

    def typed(typing: Any, row: Any, offset: Any) -> Any:
        if not _is_row(row):
            return None

        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            vectors = _Vectors(context, builder, signature.args[0], given[0])
            compare = builder.fcmp_unordered if unordered else builder.fcmp_ordered
            against = ir.Constant(vectors.type, [constant] * vectors.lanes)
            word = _WORD(0)
            for part in range(64 // vectors.lanes):
                holds = compare(relation, vectors.load(vectors(given[1], part)), against)
                bits = builder.zext(builder.bitcast(holds, ir.IntType(vectors.lanes)), _WORD)
                word = builder.or_(word, builder.shl(bits, _WORD(part * vectors.lanes)))
            return word

        return types.uint64(row, types.int64), generate

    return typed


mask_nonzero: Any = intrinsic(_mask(True, "!=", 0.0))  # NaN counts as an entry: it must not vanish
mask_ones: Any = intrinsic(_mask(False, "==", 1.0))


def _store_bits(typing: Any, row: Any, offset: Any, word: Any) -> Any:
    """``(row, offset, uint64)``: entry ``offset + k`` becomes bit k, as 0 or 1."""
    if not _is_row(row):
        return None

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        vectors = _Vectors(context, builder, signature.args[0], given[0])
        for part in range(64 // vectors.lanes):
            shifted = builder.lshr(given[2], _WORD(part * vectors.lanes))
            bits = builder.bitcast(
                builder.trunc(shifted, ir.IntType(vectors.lanes)), ir.VectorType(ir.IntType(1), vectors.lanes)
            )
            vectors.store(builder.uitofp(bits, vectors.type), vectors(given[1], part))
        return context.get_dummy_value()

    return types.void(row, types.int64, types.uint64), generate


store_bits: Any = intrinsic(_store_bits)


def _trailing_zeros(typing: Any, word: Any) -> Any:
    """``(uint64) -> int64``: place of the lowest bit that is set, 64 if none is."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.cttz(given[0], ir.IntType(1)(0))

    return types.int64(types.uint64), generate


def _population(typing: Any, word: Any) -> Any:
    """``(uint64) -> int64``: number of bits that are set."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.ctpop(given[0])

    return types.int64(types.uint64), generate


trailing_zeros: Any = intrinsic(_trailing_zeros)
population: Any = intrinsic(_population)


def _over_events(context: Any, builder: Any, signature: Any, given: Any, each: Callable[[Any, Any], None]) -> None:
    """Loop over events ``k0:k1``; ``each`` gets the first element of row ``index[k]`` and the value, if there is one."""
    kinds = signature.args
    table = _Vectors(context, builder, kinds[2], given[2])
    index, value = (context.make_array(kinds[n])(context, builder, given[n]) for n in (3, 4))
    first, end = given[5], given[6]
    graded = builder.icmp_signed("!=", cgutils.unpack_tuple(builder, value.shape)[0], first.type(0))

    def loop(with_value: bool) -> None:
        with cgutils.for_range_slice(builder, first, end, first.type(1), intp=first.type) as (k, _):
            row = builder.sext(builder.load(builder.gep(index.data, [k])), _WORD)
            scalar = builder.load(builder.gep(value.data, [k])) if with_value else None
            each(builder.add(builder.mul(row, table.shape[1]), given[1]), scalar)

    with builder.if_else(graded) as (then, otherwise):
        with then:
            loop(True)
        with otherwise:
            loop(False)


def _splat(builder: Any, scalar: Any, vector: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))


def _typed_rows(row: Any, table: Any, index: Any, value: Any) -> Any:
    fits = _is_row(row) and _is_table(table, row.dtype) and _is_row(value) and value.dtype == row.dtype
    if not fits or not isinstance(index, types.Array) or index.dtype != types.int32:
        return None
    return types.void(row, types.int64, table, index, value, types.int64, types.int64)


def _add_rows(width: int) -> Callable[..., Any]:
    """``(out, o, table, index, value, k0, k1, first)``: ``out[o:] = first[o:] + sum_k value[k] * table[index[k], o:]``.

    The sum is taken in the order of the events; ``first`` may be ``out``.
    """

    def typed(typing: Any, out: Any, o: Any, table: Any, index: Any, value: Any, k0: Any, k1: Any, first: Any) -> Any:
        signature = _typed_rows(out, table, index, value)
        if signature is None or not _is_row(first) or first.dtype != out.dtype:
            return None
        return types.void(*signature.args, first), generate

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        target = _Vectors(context, builder, signature.args[0], given[0])
        source = _Vectors(context, builder, signature.args[2], given[2])
        begin = _Vectors(context, builder, signature.args[7], given[7])
        numbers = range(width // _VECTOR)
        sums = [cgutils.alloca_once_value(builder, begin.load(begin(given[1], n))) for n in numbers]

        def each(first: Any, scalar: Any) -> None:
            factor = None if scalar is None else _splat(builder, scalar, source.type)
            for n, total in zip(numbers, sums, strict=True):
                row = source.load(source(first, n))
                term = row if factor is None else builder.fmul(factor, row)
                builder.store(builder.fadd(builder.load(total), term), total)

        _over_events(context, builder, signature, given, each)
        for n, total in zip(numbers, sums, strict=True):
            target.store(builder.load(total), target(given[1], n))
        return context.get_dummy_value()

    return typed


def _add_to_rows(width: int) -> Callable[..., Any]:
    """``(row, o, table, index, value, k0, k1)``: ``table[index[k], o:] += value[k] * row[o:]`` for each k."""

    def typed(typing: Any, row: Any, o: Any, table: Any, index: Any, value: Any, k0: Any, k1: Any) -> Any:
        signature = _typed_rows(row, table, index, value)
        return None if signature is None else (signature, generate)

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        source = _Vectors(context, builder, signature.args[0], given[0])
        target = _Vectors(context, builder, signature.args[2], given[2])
        parts = [source.load(source(given[1], n)) for n in range(width // _VECTOR)]

        def each(first: Any, scalar: Any) -> None:
            factor = None if scalar is None else _splat(builder, scalar, source.type)
            for n, part in enumerate(parts):
                place = target(first, n)
                term = part if factor is None else builder.fmul(factor, part)
                target.store(builder.fadd(target.load(place), term), place)

        _over_events(context, builder, signature, given, each)
        return context.get_dummy_value()

    return typed


add_rows_wide: Any = intrinsic(_add_rows(WIDE))
add_rows_narrow: Any = intrinsic(_add_rows(NARROW))
add_to_rows_wide: Any = intrinsic(_add_to_rows(WIDE))
add_to_rows_narrow: Any = intrinsic(_add_to_rows(NARROW))
