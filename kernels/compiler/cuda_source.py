"""CUDA C++ text of a program: one thread per neuron, the whole time loop inside.

The same text is compiled by NVRTC (through CuPy) on a GPU, by nvcc in tests, and by the
system's C++ compiler behind :mod:`neuro.kernels.engines.host_shim`. Arrays are laid out as for the
Numba kernels; ``M = B * N`` threads read and write neighbouring words, so every access is
coalesced, and coefficients stay in registers for the whole sequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import sympy

from neuro.kernels.compiler.equations import symbol
from neuro.kernels.compiler.printing import Dialect, to_text
from neuro.kernels.compiler.program import Backward, Program, current_states, uses_spike
from neuro.kernels.compiler.surrogate import SURROGATES

__all__ = ["AHEAD", "cuda_backward_source", "cuda_forward_source"]

AHEAD = 8
"""Time steps whose inputs a thread requests before it uses the first: enough bytes in flight to fill the memory bus."""

_CUDA = Dialect(
    number=lambda value: f"real({value!r})",
    functions=MappingProxyType(
        {n: n for n in ("exp", "log", "sqrt", "tanh", "sin", "cos", "atan", "erf", "floor")} | {"abs": "fabs"}
    ),
    select=lambda condition, then, otherwise: f"({condition} ? {then} : {otherwise})",
    name=lambda name: f"{name}_",
)
_TYPES: Mapping[str, str] = MappingProxyType({"float32": "float", "float64": "double"})


def _t(expression: sympy.Expr) -> str:
    return to_text(expression, _CUDA)


def _let(name: str, value: str) -> str:
    return f"real {name}_ = {value};"


def _reset(state: str, target: sympy.Expr) -> str:
    return f"{state}_" if target == symbol(state) else f"(fired ? {_t(target)} : {state}_)"


def _body(lines: Iterator[str], depth: int) -> str:
    return "\n".join("    " * depth + line for line in lines)


_FORWARD = """typedef {real} real;

extern "C" __global__ void scan_forward(
    real* __restrict__ state, const real* __restrict__ C, real* __restrict__ y, real* __restrict__ saved,
    long long T, long long M, long long N{parameters})
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M) return;
    const long long n = m % N;
{load}
    for (long long t0 = 0; t0 < T; t0 += {ahead}) {{
        const int steps = T - t0 < {ahead} ? (int)(T - t0) : {ahead};
{buffers}
        #pragma unroll
        for (int j = 0; j < {ahead}; ++j) if (j < steps) {{
            const long long at = (t0 + j) * M + m;
{fill}
        }}
        #pragma unroll
        for (int j = 0; j < {ahead}; ++j) if (j < steps) {{
            const long long at = (t0 + j) * M + m;
{step}
        }}
    }}
{store}
}}
"""


def cuda_forward_source(program: Program, dtype: str, saved: tuple[int, ...]) -> str:
    """Text of ``scan_forward(state, C, y, saved, T, M, N, *inputs)``; ``state`` is updated in place."""
    states = program.states
    return _FORWARD.format(
        real=_TYPES[dtype],
        ahead=AHEAD,
        parameters="".join(f", const real* __restrict__ in_{x}" for x in program.inputs),
        load=_body(_load(program), 1),
        buffers=_body((f"real ahead_{x}[{AHEAD}];" for x in program.inputs), 2),
        fill=_body((f"ahead_{x}[j] = in_{x}[at];" for x in program.inputs), 3),
        step=_body(_forward_step(program, saved), 3),
        store=_body((f"state[{k} * M + m] = {s}_;" for k, s in enumerate(states)), 1),
    )


def _load(program: Program) -> Iterator[str]:
    yield from (_let(s, f"state[{k} * M + m]") for k, s in enumerate(program.states))
    yield from (f"const {_let(str(c), f'C[{k} * N + n]')}" for k, c in enumerate(program.coefficient_symbols))


def _forward_step(program: Program, saved: tuple[int, ...]) -> Iterator[str]:
    yield from (_let(x, f"ahead_{x}[j]") for x in program.inputs)
    yield from (f"real new_{s} = {_t(line)};" for s, line in zip(program.states, program.update, strict=True))
    yield from (f"{s}_ = new_{s};" for s in program.states)
    if program.drive is not None:
        yield f"const bool fired = {_t(program.drive)} > real(0);"
        yield _let("z", "fired ? real(1) : real(0)")
    yield f"y[at] = {_t(program.output)};"
    yield from (f"saved[{j} * T * M + at] = {program.states[k]}_;" for j, k in enumerate(saved))
    # All resets read the values before any of them is applied.
    pairs = [(s, target) for s, target in zip(program.states, program.reset, strict=True) if target != symbol(s)]
    yield from (f"real after_{s} = {_reset(s, target)};" for s, target in pairs)
    yield from (f"{s}_ = after_{s};" for s, _ in pairs)


_BACKWARD = """typedef {real} real;

extern "C" __global__ void scan_backward(
    const real* __restrict__ gy, real* __restrict__ g, const real* __restrict__ first, const real* __restrict__ C,
    const real* __restrict__ saved, real* __restrict__ gC, real inverse_width, real peak,
    long long T, long long M, long long N{parameters})
{{
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= M) return;
    const long long n = m % N;
    (void)n;  // a cell whose backward step reads no coefficient has no use for it
{load}
    for (long long t1 = T; t1 > 0; t1 -= {ahead}) {{
        const int steps = t1 < {ahead} ? (int)t1 : {ahead};
{buffers}
        #pragma unroll
        for (int j = 0; j < {ahead}; ++j) if (j < steps) {{
            const long long at = (t1 - 1 - j) * M + m;
{fill}
        }}
        #pragma unroll
        for (int j = 0; j < {ahead}; ++j) if (j < steps) {{
            const long long t = t1 - 1 - j;
            const long long at = t * M + m;
{step}
        }}
    }}
{store}
}}
"""


def cuda_backward_source(program: Program, backward: Backward, dtype: str, saved: tuple[int, ...], family: str) -> str:
    """Text of ``scan_backward(gy, g, first, C, saved, gC, inverse_width, peak, T, M, N, *inputs, *input_grads)``.

    ``gC[K', M]`` receives each thread's own sum; the caller adds them up in a fixed order.
    """
    writer = _BackwardWriter(program, backward, saved, family)
    inputs = "".join(f", const real* __restrict__ in_{x}" for x in program.inputs)
    grads = "".join(f", real* __restrict__ gin_{x}" for x in program.inputs)
    return _BACKWARD.format(
        real=_TYPES[dtype],
        ahead=AHEAD,
        parameters=inputs + grads,
        load=_body(writer.load(), 1),
        buffers=_body((f"real {b}[{AHEAD}];" for b, _ in writer.buffers), 2),
        fill=_body((f"{b}[j] = {source}[at];" for b, source in writer.buffers), 3),
        step=_body(writer.step(), 3),
        store=_body(writer.store(), 1),
    )


class _BackwardWriter:
    def __init__(self, program: Program, backward: Backward, saved: tuple[int, ...], family: str) -> None:
        self.program, self.backward, self.saved, self.family = program, backward, saved, family
        self.before = [s for s in program.states if backward.uses(f"p_{s}")]
        self.buffers = [("ahead_gy", "gy")]
        self.buffers += [(f"ahead_{x}", f"in_{x}") for x in program.inputs if backward.uses(x)]
        self.buffers += [(f"ahead_{program.states[k]}", f"(saved + {j} * T * M)") for j, k in enumerate(saved)]

    def load(self) -> Iterator[str]:
        program = self.program
        yield from (_let(f"g_{s}", f"g[{k} * M + m]") for k, s in enumerate(program.states))
        read = set(re.findall(r"\w+", "\n".join(self.step())))
        for k, c in enumerate(program.coefficient_symbols):
            if f"{c}_" in read:
                yield f"const {_let(str(c), f'C[{k} * N + n]')}"
        yield from (f"real gc_{k} = real(0);" for k in self.backward.coefficients)

    def step(self) -> Iterator[str]:
        program, backward = self.program, self.backward
        yield from self._previous()
        now = current_states(program, backward)
        yield from (_let(s, f"ahead_{s}[j]") for s in program.states if s in now)
        yield from (_let(x, f"ahead_{x}[j]") for x in program.inputs if backward.uses(x))
        yield _let("gy", "ahead_gy[j]")
        if program.drive is not None and uses_spike(program, backward):
            yield f"const real drive = {_t(program.drive)};"
            yield f"const {_let('u', 'drive * inverse_width')}"
            yield f"const {_let('sd', f'peak * {_t(SURROGATES[self.family].shape)}')}"
            yield f"const {_let('z', 'drive > real(0) ? real(1) : real(0)')}"
        yield from (_let(f"q_{s}", _t(e)) for s, e in zip(program.states, backward.pre_reset, strict=True))
        yield from (f"gin_{x}[at] = {_t(e)};" for x, e in zip(program.inputs, backward.inputs, strict=True))
        yield from (f"gc_{k} += {_t(e)};" for k, e in backward.coefficients.items())
        yield from (f"real down_{s} = {_t(e)};" for s, e in zip(program.states, backward.previous, strict=True))
        yield from (f"g_{s}_ = down_{s};" for s in program.states)

    def _previous(self) -> Iterator[str]:
        """The state each step began with: what the step before left, or at t = 0 what was given."""
        program = self.program
        if not self.before:
            return
        yield from (_let(f"p_{s}", f"first[{program.states.index(s)} * M + m]") for s in self.before)
        yield "if (t > 0) {"
        for j, k in enumerate(self.saved):
            s = program.states[k]
            # The next buffered step is the one before; past the buffer it is read again.
            yield f"    {_let(s, f'j + 1 < steps ? ahead_{s}[j + 1 < {AHEAD} ? j + 1 : j] : saved[{j} * T * M + at - M]')}"
        if program.drive is not None:
            yield f"    const bool fired = {_t(program.drive)} > real(0);"
        resets = dict(zip(program.states, program.reset, strict=True))
        yield from (f"    p_{s}_ = {_reset(s, resets[s])};" for s in self.before)
        yield "}"

    def store(self) -> Iterator[str]:
        yield from (f"g[{k} * M + m] = g_{s}_;" for k, s in enumerate(self.program.states))
        yield from (f"gC[{j} * M + m] = gc_{k};" for j, k in enumerate(self.backward.coefficients))
