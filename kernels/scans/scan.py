"""The op every cell runs on: one program over a whole sequence, with a hand-derived backward.

Registered with ``torch.library`` (fake and autograd), so that autograd, ``torch.compile`` and
``opcheck`` work. The op itself takes tensors and plain values only; the program travels as a
:class:`ScanSpec` written to text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.program import Program, compile_program, derive_backward, saved_states
from neuro.kernels.compiler.reference import reference_scan
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.engines.cuda_backend import cuda_backward, cuda_forward
from neuro.kernels.engines.numba_backend import numba_backward, numba_forward
from neuro.kernels.engines.operators import operator

__all__ = ["BACKENDS", "ScanSpec", "scan", "scan_trace"]

BACKENDS = ("auto", "numba", "cuda", "reference")


@dataclass(frozen=True)
class ScanSpec:
    """All that makes one cell's kernel, apart from its numbers.

    Attributes:
        equations: the declaration.
        method: name of the discretisation.
        reset: name of the reset.
        surrogate: derivative used for the spike in backward.
        learned: names of the parameters whose gradient is wanted.
        refractory: whether a refractory period follows each spike.
    """

    equations: Equations
    method: str
    reset: str
    surrogate: Surrogate = field(default_factory=Surrogate)
    learned: frozenset[str] = frozenset()
    refractory: bool = False

    @property
    def program(self) -> Program:
        """The compiled program."""
        return compile_program(self.equations, self.method, self.reset, self.refractory)

    @property
    def learned_coefficients(self) -> tuple[int, ...]:
        """Indices of the coefficients that a learned parameter enters."""
        return self.program.learned(self.learned)

    def to_text(self) -> str:
        """JSON text from which :func:`from_text` makes an equal spec."""
        e = self.equations
        declaration = {
            "name": e.name,
            "text": e.text,
            "parameters": {k: asdict(p) for k, p in e.parameters.items()},
            "inputs": list(e.inputs),
        }
        options = {"method": self.method, "reset": self.reset, "surrogate": asdict(self.surrogate)}
        return json.dumps(declaration | options | {"learned": sorted(self.learned), "refractory": self.refractory})


@lru_cache(maxsize=512)
def _from_text(text: str) -> ScanSpec:
    made = json.loads(text)
    equations = Equations(
        made["name"],
        made["text"],
        {k: Parameter(**p) for k, p in made["parameters"].items()},
        tuple(made["inputs"]),
    )
    surrogate = Surrogate(**made["surrogate"])
    learned = frozenset(made["learned"])
    return ScanSpec(equations, made["method"], made["reset"], surrogate, learned, made["refractory"])


class _Plan(NamedTuple):
    """What the op asks of a spec under a route again and again; found by its text, which hashes at once."""

    spec: ScanSpec
    program: Program
    route: Route
    learned: tuple[int, ...]
    saved: tuple[int, ...]
    reads_inputs: bool


@lru_cache(maxsize=512)
def _plan(text: str, cut_time: bool, cut_reset: bool) -> _Plan:
    spec, route = _from_text(text), Route(cut_time, cut_reset)
    program, learned = spec.program, spec.learned_coefficients
    backward = derive_backward(program, route, learned)
    reads_inputs = any(backward.uses(x) for x in program.inputs)
    return _Plan(spec, program, route, learned, saved_states(program, backward), reads_inputs)


@operator("neuro::scan")
def _scan_op(
    inputs: Sequence[Tensor],
    state: Tensor,
    coefficients: Tensor,
    spec: str,
    cut_time: bool,
    cut_reset: bool,
    keep: bool,
    shared: str,
) -> tuple[Tensor, Tensor, Tensor]:
    made = _plan(spec, cut_time, cut_reset)
    saved = made.saved if keep else ()
    if inputs[0].is_cuda:
        return cuda_forward(made.program, inputs, state, coefficients, saved)
    return numba_forward(made.program, inputs, state, coefficients, saved, _flags(shared))


@_scan_op.register_fake
def _scan_fake(
    inputs: Sequence[Tensor],
    state: Tensor,
    coefficients: Tensor,
    spec: str,
    cut_time: bool,
    cut_reset: bool,
    keep: bool,
    shared: str,
) -> tuple[Tensor, Tensor, Tensor]:
    saved = _plan(spec, cut_time, cut_reset).saved if keep else ()
    shape = inputs[0].shape
    made = inputs[0].new_empty
    return made(shape), made(state.shape), made((len(saved), *shape))


@operator("neuro::scan_backward")
def _scan_backward_op(
    grad_output: Tensor,
    grad_state: Tensor,
    inputs: Sequence[Tensor],
    state: Tensor,
    coefficients: Tensor,
    trace: Tensor,
    spec: str,
    cut_time: bool,
    cut_reset: bool,
    shared: str,
) -> tuple[list[Tensor], Tensor, Tensor]:
    made = _plan(spec, cut_time, cut_reset)
    options = (made.program, made.route, made.learned, made.spec.surrogate)
    if grad_output.is_cuda:
        return cuda_backward(*options, grad_output, grad_state, inputs, state, coefficients, trace)
    return numba_backward(*options, grad_output, grad_state, inputs, state, coefficients, trace, _flags(shared))


@_scan_backward_op.register_fake
def _scan_backward_fake(
    grad_output: Tensor,
    grad_state: Tensor,
    inputs: Sequence[Tensor],
    state: Tensor,
    coefficients: Tensor,
    trace: Tensor,
    spec: str,
    cut_time: bool,
    cut_reset: bool,
    shared: str,
) -> tuple[list[Tensor], Tensor, Tensor]:
    learned = _plan(spec, cut_time, cut_reset).learned
    grads = [grad_output.new_empty(grad_output.shape) for _ in inputs]
    return grads, state.new_empty(state.shape), coefficients.new_empty((len(learned), coefficients.shape[1]))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    given, state, coefficients, ctx.spec, ctx.cut_time, ctx.cut_reset, _, ctx.shared = inputs
    ctx.shape = given[0].shape
    kept = list(given) if _plan(ctx.spec, ctx.cut_time, ctx.cut_reset).reads_inputs else []
    ctx.save_for_backward(state, coefficients, output[2], *kept)
    ctx.n_inputs = len(given)
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)


def _autograd(ctx: Any, grad_output: Tensor | None, grad_state: Tensor | None, _: None) -> tuple[Any, ...]:
    state, coefficients, trace, *kept = ctx.saved_tensors
    if grad_output is None:
        grad_output = state.new_zeros(ctx.shape)
    if grad_state is None:
        grad_state = torch.zeros_like(state)
    # Inputs the backward pass never reads are stood in for by the gradient of their shape.
    inputs = kept or [grad_output] * ctx.n_inputs
    options = (ctx.spec, ctx.cut_time, ctx.cut_reset, ctx.shared)
    grads, first, learned = _scan_backward_op(grad_output, grad_state, inputs, state, coefficients, trace, *options)
    whole = torch.zeros_like(coefficients)
    if learned.shape[0]:
        whole[list(_plan(ctx.spec, ctx.cut_time, ctx.cut_reset).learned)] = learned
    return grads, first, whole, None, None, None, None, None


_scan_op.register_autograd(_autograd, setup_context=_setup_context)


def scan(
    spec: ScanSpec,
    inputs: Sequence[Tensor],
    state: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    *,
    route: Route | None = None,
    backend: str = "auto",
    text: str | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Run a cell over a sequence.

    Args:
        spec: what to run.
        inputs: one ``[T, B, N]`` tensor per input of the cell.
        state: one ``[B, N]`` tensor per state, as left by the step before.
        coefficients: from :func:`neuro.kernels.compiler.reference.coefficients`.
        route: edges that backward ignores; all kept but the reset unless said.
        backend: ``"numba"`` or ``"cuda"``, the fused kernels; ``"auto"``, the one for the input's
            device; ``"reference"``, the plain torch loop.
        text: ``spec.to_text()`` where the caller has it at hand.

    Returns:
        Output ``[T, B, N]`` and the final states, each ``[B, N]``.

    Raises:
        InputError: wrong rank, dtype, device or backend, named with the value seen.
    """
    route = route or Route()
    if not torch.compiler.is_compiling():  # the checks walk the symbolic program, which a graph cannot hold
        _check(spec.program, inputs, state, coefficients)
        if backend == "reference":
            return reference_scan(spec.program, inputs, state, coefficients, surrogate=spec.surrogate, route=route)[:2]
        _check_backend(backend, inputs[0])
    neurons = inputs[0].shape[2]
    first = torch.stack(list(state))
    table = _table(coefficients, neurons, inputs[0])
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (*inputs, first, table))
    options = (text or spec.to_text(), route.cut_time, route.cut_reset, keep, _shared(coefficients))
    output, last, _ = _scan_op(list(inputs), first, table, *options)
    return output, list(last.unbind(0))


def _check_backend(backend: str, like: Tensor) -> None:
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    native = "cuda" if like.is_cuda else "numba"
    if backend not in ("auto", native) or like.device.type not in ("cpu", "cuda"):
        cure = ".cuda()" if backend == "cuda" else ".cpu()"
        raise InputError(f"backend {backend!r} does not run on {like.device}, where the input is; use {cure}")


def _table(coefficients: Sequence[Tensor], neurons: int, like: Tensor) -> Tensor:
    if not coefficients:
        return like.new_zeros((0, neurons))
    return torch.stack([c.expand(neurons) for c in coefficients])


def _shared(coefficients: Sequence[Tensor]) -> str:
    """For each coefficient ``s`` if all neurons share it, else ``o``: a word, as an op takes it."""
    return "".join("s" if c.numel() == 1 else "o" for c in coefficients)


def _flags(shared: str) -> tuple[bool, ...]:
    return tuple(letter == "s" for letter in shared)


def _check(program: Program, inputs: Sequence[Tensor], state: Sequence[Tensor], coefficients: Sequence[Tensor]) -> None:
    if len(inputs) != len(program.inputs) or len(state) != len(program.states):
        raise InputError(
            f"cell {program.name!r} takes {len(program.inputs)} inputs and {len(program.states)} states, "
            f"got {len(inputs)} and {len(state)}"
        )
    first = inputs[0]
    if first.dtype not in (torch.float32, torch.float64):
        raise InputError(f"cell {program.name!r} runs in float32 or float64, the input is {first.dtype}")
    for name, x in zip(program.inputs, inputs, strict=True):
        if x.dim() != 3 or x.shape != first.shape:
            raise InputError(f"input {name!r} must be [T, B, N] = {tuple(first.shape)}, got {tuple(x.shape)}")
    for name, s in zip(program.states, state, strict=True):
        if s.shape != first.shape[1:]:
            raise InputError(f"state {name!r} must be [B, N] = {tuple(first.shape[1:])}, got {tuple(s.shape)}")
    for t in (*inputs, *state, *coefficients):
        if t.dtype != first.dtype or t.device != first.device:
            raise InputError(
                f"cell {program.name!r}: the input is {first.dtype} on {first.device}, "
                f"a state or parameter is {t.dtype} on {t.device}; convert one of them with .to()"
            )


def scan_trace(
    spec: ScanSpec, inputs: Sequence[Tensor], state: Sequence[Tensor], coefficients: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
    """Like :func:`scan`, without gradients, also returning every state before its reset.

    Returns:
        Output ``[T, B, N]``, final states (each ``[B, N]``), and by name each state's
        ``[T, B, N]`` values after the update and before the reset.
    """
    program = spec.program
    _check(program, inputs, state, coefficients)
    everything = tuple(range(len(program.states)))
    with torch.no_grad():
        table = _table(coefficients, inputs[0].shape[2], inputs[0])
        given = (program, inputs, torch.stack(list(state)), table, everything)
        made = cuda_forward(*given) if inputs[0].is_cuda else numba_forward(*given, _flags(_shared(coefficients)))
    output, last, trace = made
    return output, list(last.unbind(0)), dict(zip(program.states, trace.unbind(0), strict=True))
