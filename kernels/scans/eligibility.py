"""Gradients forward in time: eligibility traces that need neither the past nor the future.

For a population driven through weights, ``I[t] = W u[t]``, the sensitivity of the states to
each synapse is carried along, ``e[t] = A[t] e[t-1] + B[t] u[t]`` (the tangent of
:mod:`neuro.kernels.compiler.sensitivity`), and what it makes of the learning signal
``G[t] = dL/dy[t]`` is added up: ``dL/dW = sum_t G[t] (C[t] . e[t-1] + D[t] u[t])``. Memory does
not grow with time and pieces of a sequence give what the whole gives.

For neurons that act on themselves only, this is exact (real-time recurrent learning; Irie et al.
2024, "Exploring the promise and limits of real-time recurrent learning"). A cell with K inputs takes
them one below the other, as K O rows of one weight (gates of an eLSTM). Where neurons are also
coupled by recurrent synapses, it is what remains when the spikes that pass through those are
taken as given: e-prop (Bellec et al. 2020). Where the tangent is the same for all neurons, one
trace for each input serves all its synapses: OTTT (Xiao et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.compiler.program import Program
from neuro.kernels.compiler.reference import slope, torch_function
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.sensitivity import Tangent, derive_tangent
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.engines.operators import operator
from neuro.kernels.propagation.dense import product
from neuro.kernels.propagation.spikes import ranges
from neuro.kernels.scans.eligibility_cuda import cuda_sweep
from neuro.kernels.scans.scan import ScanSpec, _check_backend, scan_trace

__all__ = ["Eligibility", "Traces", "eligibility", "sweep_reference"]

_STEPS = 32  # time steps whose matrices are held at once
_NEURONS = 8  # postsynaptic neurons a task owns


@dataclass(frozen=True)
class Traces:
    """What is carried from step to step.

    Attributes:
        weight: ``[S, B, K O, I]``, or ``[S, B, I]`` where one trace serves all synapses of an input.
        coefficient: ``[S, L, B, O]``.
    """

    weight: Tensor
    coefficient: Tensor


@dataclass(frozen=True)
class Eligibility:
    """Result of :func:`eligibility`.

    Attributes:
        output: ``[T, B, O]``.
        state: after the last step, each ``[B, O]``.
        weight_grad: ``[K O, I]``, K the number of the cell's inputs.
        coefficient_grad: ``[L, O]``, for the learned coefficients of the spec, in order.
        traces: after the last step.
    """

    output: Tensor
    state: list[Tensor]
    weight_grad: Tensor
    coefficient_grad: Tensor
    traces: Traces


@dataclass(frozen=True)
class _Matrices:
    """The tangent at every step of a stretch: A ``[S, S, T, B, O]``, B ``[S, T, B, K O]``, C ``[S, T, B, O]``, and so on."""

    state: Tensor
    input: Tensor
    output: Tensor
    direct: Tensor
    coefficient: Tensor
    output_coefficient: Tensor


def sweep_reference(
    a: Tensor, b: Tensor, c: Tensor, d: Tensor, u: Tensor, signal: Tensor, trace: Tensor
) -> tuple[Tensor, Tensor]:
    """The definition: ``dL/dW [O, I]`` and the trace ``[S, B, O, I]`` after a stretch.

    Args:
        a: ``[S, S, T, B, O]``.
        b, c: ``[S, T, B, O]``.
        d: ``[T, B, O]``.
        u: presynaptic activity ``[T, B, I]``.
        signal: ``dL/dy``, ``[T, B, O]``.
        trace: ``[S, B, O, I]``.
    """
    grad = trace.new_zeros(trace.shape[2:])
    for t in range(u.shape[0]):
        follows = (c[:, t, :, :, None] * trace).sum(0) + d[t, :, :, None] * u[t, :, None, :]
        grad = grad + (signal[t, :, :, None] * follows).sum(0)
        trace = torch.einsum("kjbo,jboi->kboi", a[:, :, t], trace) + b[:, t, :, :, None] * u[t, None, :, None, :]
    return grad, trace


@operator("neuro::eligibility_sweep")
def _sweep(
    a: Tensor, b: Tensor, c: Tensor, d: Tensor, u: Tensor, signal: Tensor, trace: Tensor
) -> tuple[Tensor, Tensor]:
    after = trace.detach().clone(memory_format=torch.contiguous_format)
    grad = trace.new_zeros(trace.shape[2:])
    a, b, c, d, u, signal = (t.detach().contiguous() for t in (a, b, c, d, u, signal))
    if trace.is_cuda:
        cuda_sweep(a, b, c, d, u, signal, after, grad)
        return grad, after
    from neuro.kernels.scans.eligibility_numba import sweep

    arrays: Any = tuple(t.numpy() for t in (a, b, c, d, u, signal, after, grad))
    run_blocks([lambda o=o: sweep(*arrays, *o) for o in ranges(grad.shape[0], _NEURONS)])  # type: ignore[misc]
    return grad, after


@_sweep.register_fake
def _sweep_fake(
    a: Tensor, b: Tensor, c: Tensor, d: Tensor, u: Tensor, signal: Tensor, trace: Tensor
) -> tuple[Tensor, Tensor]:
    return trace.new_empty(trace.shape[2:]), trace.new_empty(trace.shape)


@torch.no_grad()
def eligibility(
    spec: ScanSpec,
    current: Tensor,
    presynaptic: Tensor,
    signal: Tensor,
    state: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    traces: Traces | None = None,
    *,
    route: Route | None = None,
    backend: str = "auto",
) -> Eligibility:
    """Run a population forward and its gradient with it.

    Args:
        spec: the cell; its ``learned`` parameters get a gradient too.
        current: what drives it, ``W u`` and anything else, ``[T, B, O]``; of a cell with K inputs ``[T, B, K O]``, one
            input after the other.
        presynaptic: u, what came through the weights whose gradient is wanted, ``[T, B, I]``.
        signal: ``dL/dy`` of each step by itself, ``[T, B, O]``.
        state: one ``[B, O]`` tensor per state, as left by the step before.
        coefficients: from :func:`neuro.kernels.compiler.reference.coefficients`.
        traces: as left by the step before; None, none yet.
        route: edges the gradient ignores, as in :func:`neuro.kernels.scans.scan.scan`.
        backend: ``"numba"``, ``"cuda"``, ``"reference"``, or ``"auto"``, the one for the input's device.

    Returns:
        Output, state and traces after the last step, and the gradients.

    Raises:
        InputError: shapes, dtypes or devices that do not fit; an unknown backend.

    >>> from neuro.neurons import LIF
    >>> from neuro.kernels.compiler.reference import coefficients
    >>> spec = ScanSpec(LIF.equations, "euler", "value")
    >>> values = {n: torch.tensor(p.default) for n, p in LIF.equations.parameters.items()}
    >>> table, u = coefficients(spec.program, values, 1e-3), torch.ones(3, 1, 2)
    >>> made = eligibility(spec, u.sum(2, keepdim=True), u, torch.ones(3, 1, 1), [torch.zeros(1, 1)], table)
    >>> made.weight_grad.shape, made.traces.weight.shape
    (torch.Size([1, 2]), torch.Size([1, 1, 1, 2]))
    """
    route, program = route or Route(), spec.program
    tangents = [derive_tangent(program, route, spec.learned_coefficients, k) for k in range(len(program.inputs))]
    if backend != "reference":
        _check_backend(backend, current)
    alike = all(c.numel() == 1 for c in coefficients)
    shared = len(tangents) == 1 and tangents[0].is_linear(program) and alike
    _check(current, presynaptic, signal, program)
    traces = _checked(traces, program, tangents, signal, presynaptic, shared)
    outputs, state = [signal.new_empty((0, *signal.shape[1:]))], list(state)
    sums: tuple[Tensor, Tensor] | None = None
    for t0, t1 in ranges(current.shape[0], _STEPS) or [(0, 0)]:
        output, matrices, state = _stretch(spec, tangents, current[t0:t1], state, coefficients)
        outputs.append(output)
        made, traces = _follow(matrices, presynaptic[t0:t1], signal[t0:t1], traces, shared, backend)
        sums = made if sums is None else (sums[0] + made[0], sums[1] + made[1])
    assert sums is not None
    return Eligibility(torch.cat(outputs), state, *sums, traces)


def _stretch(
    spec: ScanSpec, tangents: Sequence[Tangent], current: Tensor, state: list[Tensor], coefficients: Sequence[Tensor]
) -> tuple[Tensor, _Matrices, list[Tensor]]:
    program, tangent = spec.program, tangents[0]
    inputs = [part.contiguous() for part in current.chunk(len(tangents), 2)]
    output, after, traced = scan_trace(spec, inputs, state, coefficients)
    pre = [traced[s] for s in program.states]
    names = tuple(str(c) for c in program.coefficient_symbols)
    drive_of = torch_function(
        (program.drive if program.drive is not None else -1 + 0 * tangent.direct,), (*program.states, *names)
    )
    zero = torch.zeros_like(inputs[0])
    z = slopes = zero
    if program.drive is not None:
        drive = drive_of(*pre, *coefficients)[0] + zero
        z, slopes = (drive > 0).to(current.dtype), slope(drive, spec.surrogate)
    resets = torch_function(program.reset, (*program.states, *names))(*pre, *coefficients)
    left = [torch.where(z > 0, r, p) for r, p in zip(resets, pre, strict=True)]
    before = [torch.cat([s.unsqueeze(0), p[:-1]])[: len(zero)] for s, p in zip(state, left, strict=True)]
    named = (*(f"p_{s}" for s in program.states), *program.states, *program.inputs, "z", "sd", *names)
    given = (*before, *pre, *inputs, z, slopes, *coefficients)

    def evaluated(lines: Sequence[sympy.Expr]) -> Tensor:
        made = torch_function(tuple(lines), named)(*given)
        return torch.stack([zero + m for m in made]) if made else zero.new_empty((0, *zero.shape))

    rows = len(program.states)
    grid = [evaluated([e for row in matrix for e in row]) for matrix in (tangent.state, tangent.coefficient)]
    matrices = _Matrices(
        state=grid[0].view(rows, rows, *zero.shape),
        input=torch.cat([evaluated(one.input) for one in tangents], 3),
        output=evaluated(tangent.output),
        direct=torch.cat([evaluated([one.direct])[0] for one in tangents], 2),
        coefficient=grid[1].view(rows, len(tangent.output_coefficient), *zero.shape),
        output_coefficient=evaluated(tangent.output_coefficient),
    )
    return output, matrices, after


def _follow(
    m: _Matrices, u: Tensor, signal: Tensor, traces: Traces, shared: bool, backend: str
) -> tuple[tuple[Tensor, Tensor], Traces]:
    if shared:
        weight_grad, trace = _one_trace(m, u, signal, traces.weight)
    else:
        sweep = sweep_reference if backend == "reference" else _sweep
        copies = m.direct.shape[2] // max(1, signal.shape[2])  # of each neuron, one for each input
        a, c, g = (torch.cat([t] * copies, -1) if copies > 1 else t for t in (m.state, m.output, signal))
        weight_grad, trace = sweep(a, m.input, c, m.direct, u, g, traces.weight)
    e, grad = traces.coefficient, signal.new_zeros((m.output_coefficient.shape[0], signal.shape[2]))
    for t in range(len(u) if e.shape[1] else 0):
        follows = (m.output[:, None, t] * e).sum(0) + m.output_coefficient[:, t]
        grad = grad + (signal[t] * follows).sum(1)
        e = torch.einsum("kjbo,jlbo->klbo", m.state[:, :, t], e) + m.coefficient[:, :, t]
    return (weight_grad, grad), Traces(trace, e)


def _one_trace(m: _Matrices, u: Tensor, signal: Tensor, trace: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`sweep_reference` where A and B are one number each for all steps and neurons."""
    if not signal.numel() or not u.numel():
        return signal.new_zeros((signal.shape[2], u.shape[2])), trace
    a, b = m.state[:, :, 0, 0, 0], m.input[:, 0, 0, 0]
    held = []
    for now in u.unbind(0):
        held.append(trace)
        trace = torch.einsum("kj,jbi->kbi", a, trace) + b[:, None, None] * now
    earlier = torch.stack(held, 1)  # [S, T, B, I]
    grad = product((signal * m.direct).flatten(0, 1).t(), u.flatten(0, 1).t())
    for follows, one in zip(m.output, earlier, strict=True):
        grad = grad + product((signal * follows).flatten(0, 1).t(), one.flatten(0, 1).t())
    return grad, trace


def _check(current: Tensor, presynaptic: Tensor, signal: Tensor, program: Program) -> None:
    inputs = len(program.inputs)
    if current.dim() != 3 or current.shape[2] % inputs:
        wanted = "O" if inputs == 1 else f"{inputs} O"
        raise InputError(f"current must be [T, B, {wanted}], got {list(current.shape)}")
    if presynaptic.dim() != 3 or presynaptic.shape[:2] != current.shape[:2]:
        raise InputError(f"presynaptic must be [T, B, I] with {list(current.shape[:2])}, got {list(presynaptic.shape)}")
    outputs = (*current.shape[:2], current.shape[2] // inputs)
    if signal.shape != outputs:
        raise InputError(f"signal must be [T, B, O] = {list(outputs)}, got {list(signal.shape)}")
    for name, x in (("presynaptic", presynaptic), ("signal", signal)):
        if x.dtype != current.dtype or x.device != current.device:
            raise InputError(f"{name} is {x.dtype} on {x.device}, current {current.dtype} on {current.device}")


def _checked(
    traces: Traces | None,
    program: Program,
    tangents: Sequence[Tangent],
    current: Tensor,
    presynaptic: Tensor,
    shared: bool,
) -> Traces:
    _, batch, neurons = current.shape
    states, inputs = len(program.states), presynaptic.shape[2]
    wanted = (
        (states, batch, inputs) if shared else (states, batch, len(tangents) * neurons, inputs),
        (states, len(tangents[0].output_coefficient), batch, neurons),
    )
    if traces is None:
        return Traces(*(current.new_zeros(shape) for shape in wanted))
    for name, trace, shape in zip(("weight", "coefficient"), (traces.weight, traces.coefficient), wanted, strict=True):
        if trace.shape != shape or trace.dtype != current.dtype or trace.device != current.device:
            raise InputError(
                f"traces.{name} must be {list(shape)} {current.dtype}, got {list(trace.shape)} {trace.dtype}"
            )
    return traces
