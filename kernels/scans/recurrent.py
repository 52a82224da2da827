"""A population whose output is fed back to it: the whole recurrent time loop in one call.

Per step the input current is ``x[t] + W y[t-1]``, then come the cell's update, spike and reset.
The forward pass reads only the synapses of neurons that fired; the backward pass runs the
cell's derived adjoint and carries the gradient of the current back through ``W``; the gradient
of ``W`` is accumulated spike by spike. Registered with ``torch.library`` (fake and autograd).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.compiler.program import Program, derive_backward, saved_states
from neuro.kernels.compiler.reference import reference_scan
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.engines.operators import operator
from neuro.kernels.scans.scan import ScanSpec, _check, _check_backend, _flags, _from_text, _shared, _table

__all__ = ["recurrent_reference", "recurrent_scan", "recurrent_trace"]


def recurrent_reference(
    program: Program,
    x: Tensor,
    state: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    weight: Tensor,
    first_output: Tensor,
    *,
    surrogate: Surrogate,
    route: Route,
    smooth: bool = False,
) -> tuple[Tensor, list[Tensor]]:
    """The definition: a plain torch loop over :func:`neuro.kernels.compiler.reference.reference_scan`, differentiable by autograd.

    Args:
        x: input current ``[T, B, N]``.
        state: one ``[B, N]`` tensor per state.
        coefficients: one tensor per coefficient, broadcastable to ``[N]``.
        weight: ``[N, N]`` (post, pre).
        first_output: output of the step before the first one, ``[B, N]``.
        smooth: differentiable spikes for gradient checks.

    Returns:
        Output ``[T, B, N]`` and the final states.
    """
    y, now = first_output, list(state)
    outputs = []
    for x_now in x.unbind(0):
        fed_back = y.detach() if route.cut_recurrence else y
        current = x_now + fed_back @ weight.t()
        made, now, _ = reference_scan(
            program, [current.unsqueeze(0)], now, coefficients, surrogate=surrogate, route=route, smooth=smooth
        )
        y = made[0]
        outputs.append(y)
    return (torch.stack(outputs) if outputs else x * 0), now


def _engine(like: Tensor) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Forward, backward and weight gradient for the device of ``like``."""
    if like.is_cuda:
        from neuro.kernels.scans.recurrent_cuda import backward, forward, weight_gradient
    else:
        from neuro.kernels.scans.recurrent_numba import backward, forward, weight_gradient
    return forward, backward, weight_gradient


def _kept(spec: ScanSpec, route: Route) -> tuple[tuple[int, ...], bool]:
    """What backward reads of the forward pass: which states, and whether the whole current."""
    backward = derive_backward(spec.program, route, spec.learned_coefficients)
    return saved_states(spec.program, backward), backward.uses(spec.program.inputs[0])


@operator("neuro::recurrent_scan")
def _recurrent_op(
    x: Tensor,
    state: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    first_output: Tensor,
    spec: str,
    route: Sequence[bool],
    keep: bool,
    shared: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    made = _from_text(spec)
    saved, current = _kept(made, Route(*route)) if keep else ((), False)
    forward, _, _ = _engine(x)
    options = () if x.is_cuda else (_flags(shared),)
    return forward(made.program, x, state, coefficients, weight, first_output, saved, current, *options)  # type: ignore[no-any-return]


@_recurrent_op.register_fake
def _recurrent_fake(
    x: Tensor,
    state: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    first_output: Tensor,
    spec: str,
    route: Sequence[bool],
    keep: bool,
    shared: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    saved, current = _kept(_from_text(spec), Route(*route)) if keep else ((), False)
    time, *rest = x.shape
    return (
        x.new_empty(x.shape),
        state.new_empty(state.shape),
        x.new_empty((len(saved), time, *rest)),
        x.new_empty((time if current else 0, *rest)),
    )


@operator("neuro::recurrent_scan_backward")
def _recurrent_backward_op(
    grad_output: Tensor,
    grad_state: Tensor,
    state: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    first_output: Tensor,
    output: Tensor,
    trace: Tensor,
    current: Tensor,
    spec: str,
    route: Sequence[bool],
    wants_weight: bool,
    shared: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    made = _from_text(spec)
    _, backward, weight_gradient = _engine(grad_output)
    options = (made.program, Route(*route), made.learned_coefficients, made.surrogate)
    given = (grad_output, grad_state, state, coefficients, weight, trace, current)
    grads = backward(*options, *given, *(() if grad_output.is_cuda else (_flags(shared),)))
    table = weight_gradient(output, first_output, grads[0]) if wants_weight else weight.new_zeros((0, 0))
    return (*grads, table)


@_recurrent_backward_op.register_fake
def _recurrent_backward_fake(
    grad_output: Tensor,
    grad_state: Tensor,
    state: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    first_output: Tensor,
    output: Tensor,
    trace: Tensor,
    current: Tensor,
    spec: str,
    route: Sequence[bool],
    wants_weight: bool,
    shared: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    learned = _from_text(spec).learned_coefficients
    neurons = weight.shape[0] if wants_weight else 0
    return (
        grad_output.new_empty(grad_output.shape),
        state.new_empty(state.shape),
        coefficients.new_empty((len(learned), coefficients.shape[1])),
        first_output.new_empty(first_output.shape),
        weight.new_empty((neurons, neurons)).t(),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, state, coefficients, weight, first_output, ctx.spec, ctx.route, _, ctx.shared = inputs
    y, _, trace, current = output
    ctx.shape = x.shape
    ctx.save_for_backward(state, coefficients, weight, first_output, y, trace, current)
    ctx.mark_non_differentiable(trace, current)
    ctx.set_materialize_grads(False)


def _autograd(ctx: Any, grad_output: Tensor | None, grad_state: Tensor | None, *_: None) -> tuple[Any, ...]:
    state, coefficients, weight, *kept = ctx.saved_tensors
    if grad_output is None:
        grad_output = state.new_zeros(ctx.shape)
    if grad_state is None:
        grad_state = torch.zeros_like(state)
    wants_weight = ctx.needs_input_grad[3]
    grad_x, first, learned, before, table = _recurrent_backward_op(
        grad_output, grad_state, state, coefficients, weight, *kept, ctx.spec, ctx.route, wants_weight, ctx.shared
    )
    whole = torch.zeros_like(coefficients)
    whole[list(_from_text(ctx.spec).learned_coefficients)] = learned
    return grad_x, first, whole, table if wants_weight else None, before, None, None, None, None


_recurrent_op.register_autograd(_autograd, setup_context=_setup_context)


def recurrent_scan(
    spec: ScanSpec,
    x: Tensor,
    state: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    weight: Tensor,
    first_output: Tensor | None = None,
    *,
    route: Route | None = None,
    backend: str = "auto",
    text: str | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Run a cell over a sequence, its output fed back with one step of delay.

    ``I[t] = x[t] + W y[t-1]``; the cell then maps ``I[t]`` to ``y[t]`` as in :func:`neuro.kernels.scans.scan`.
    Work follows the outputs that are not zero (forward, gradient of ``W``); the gradient of the
    output of each step is one dense product with ``W``, left out under ``route.cut_recurrence``.

    Args:
        spec: what to run; a cell with one input.
        x: input current ``[T, B, N]``, in the unit of the cell's input, as is what ``weight`` makes of an output.
        state: one ``[B, N]`` tensor per state.
        coefficients: from :func:`neuro.kernels.compiler.reference.coefficients`, broadcastable to ``[N]``.
        weight: ``[N, N]``, row: postsynaptic, column: presynaptic neuron; best stored column by column.
        first_output: output of the step before the first one, ``[B, N]``; zero unless given.
        route: edges that backward ignores.
        backend: one of :data:`neuro.kernels.scans.scan.BACKENDS`; ``"auto"`` is the device's own.
        text: ``spec.to_text()``, where it is at hand.

    Returns:
        Output ``[T, B, N]`` (its last step is the ``first_output`` of what follows) and the final states.

    Raises:
        InputError: shapes, dtypes or devices that do not fit; a cell with several inputs;
            a backend that is not there.

    >>> from neuro.kernels.compiler.reference import coefficients
    >>> from neuro.neurons import LIF
    >>> spec = ScanSpec(LIF.equations, "euler", "value")
    >>> values = {n: torch.tensor(p.default) for n, p in LIF.equations.parameters.items()}
    >>> x = torch.zeros(2, 1, 2)
    >>> x[0, 0, 0] = 30.0  # neuron 0 fires once and makes neuron 1 fire a step later
    >>> weight = torch.tensor([[0.0, 0.0], [30.0, 0.0]])
    >>> y, _ = recurrent_scan(spec, x, [torch.zeros(1, 2)], coefficients(spec.program, values, 1e-3), weight)
    >>> y.flatten().tolist()
    [1.0, 0.0, 0.0, 1.0]
    """
    route = route or Route()
    if first_output is None and isinstance(x, Tensor) and x.dim() == 3:
        first_output = x.new_zeros(x.shape[1:])
    if not torch.compiler.is_compiling():
        _check_recurrent(spec.program, x, state, coefficients, weight, first_output)
        assert first_output is not None
        if backend == "reference":
            return recurrent_reference(
                spec.program, x, state, coefficients, weight, first_output, surrogate=spec.surrogate, route=route
            )
        _check_backend(backend, x)
    assert first_output is not None
    first = torch.stack(list(state))
    table = _table(coefficients, x.shape[2], x)
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (x, first, table, weight, first_output))
    cuts = [route.cut_time, route.cut_reset, route.cut_recurrence]
    options = (text or spec.to_text(), cuts, keep, _shared(coefficients) if x.numel() else "")
    output, last, _, _ = _recurrent_op(x, first, table, weight, first_output, *options)
    return output, list(last.unbind(0))


def _check_recurrent(
    program: Program,
    x: Tensor,
    state: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    weight: Tensor,
    first_output: Tensor | None,
) -> None:
    if len(program.inputs) != 1:
        raise InputError(f"cell {program.name!r} has inputs {program.inputs}; a recurrent scan takes a cell with one")
    for name, tensor in (("x", x), ("weight", weight)):
        if not isinstance(tensor, Tensor):
            raise InputError(f"{name} must be a tensor, got {type(tensor).__name__}")
    _check(program, [x], state, coefficients)
    neurons = x.shape[2]
    if weight.shape != (neurons, neurons):
        raise InputError(f"weight must be [N, N] = {(neurons, neurons)} (post, pre), got {tuple(weight.shape)}")
    if first_output is None or first_output.shape != x.shape[1:]:
        got = None if first_output is None else tuple(first_output.shape)
        raise InputError(f"first_output must be [B, N] = {tuple(x.shape[1:])}, got {got}")
    for name, tensor in (("weight", weight), ("first_output", first_output)):
        if tensor.dtype != x.dtype or tensor.device != x.device:
            raise InputError(
                f"x is {x.dtype} on {x.device}, {name} is {tensor.dtype} on {tensor.device}; convert one with .to()"
            )


@torch.no_grad()
def recurrent_trace(
    spec: ScanSpec,
    x: Tensor,
    state: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    weight: Tensor,
    first_output: Tensor,
) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
    """Like :func:`recurrent_scan`, without gradients, also returning every state before its reset.

    Args:
        x: input current ``[T, B, N]``; the others as there.

    Returns:
        Output ``[T, B, N]``, final states (each ``[B, N]``), and by name each state's
        ``[T, B, N]`` values after the update and before the reset.
    """
    program = spec.program
    _check_recurrent(program, x, state, coefficients, weight, first_output)
    everything = tuple(range(len(program.states)))
    forward, _, _ = _engine(x)
    table = _table(coefficients, x.shape[2], x)
    output, last, trace, _ = forward(
        program, x, torch.stack(list(state)), table, weight, first_output, everything, False
    )
    return output, list(last.unbind(0)), dict(zip(program.states, trace.unbind(0), strict=True))
