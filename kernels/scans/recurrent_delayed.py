"""A population whose output is fed back to it after delays: the whole recurrent time loop in one call.

Per step the input current is ``x[t] + sum over lags d = 1..D of W_d y[t - d]``, then come the
cell's update, spike and reset. The matrices ``W_d`` are either a bank ``[D, N, N]`` (the taps of
delays that are learned) or one matrix and a whole delay for each of its synapses. A step works
on the neurons that fired in it: with taps each adds D rows to currents to come, with whole
delays one. Backward carries the current's gradient through all D matrices in one product a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.compiler.program import Program
from neuro.kernels.compiler.reference import reference_scan
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.engines.operators import operator
from neuro.kernels.scans.recurrent import _kept
from neuro.kernels.scans.scan import ScanSpec, _check, _check_backend, _flags, _from_text, _shared, _table

__all__ = ["delayed_bank", "delayed_recurrent_reference", "delayed_recurrent_scan", "delayed_recurrent_trace"]


def delayed_bank(weight: Tensor, steps: Tensor, lags: int) -> Tensor:
    """``[D, N, N]`` (lag - 1, pre, post) of ``weight [N, N]`` and whole ``steps [N, N]``, both (pre, post); differentiable.

    >>> delayed_bank(torch.tensor([[5.0]]), torch.tensor([[2]]), 3).flatten().tolist()
    [0.0, 5.0, 0.0]
    """
    each = torch.arange(1, lags + 1, device=steps.device, dtype=steps.dtype).view(-1, 1, 1)
    return torch.where(steps == each, weight, torch.zeros_like(weight))


def delayed_recurrent_reference(
    program: Program,
    x: Tensor,
    state: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    bank: Tensor,
    before: Tensor,
    *,
    surrogate: Surrogate,
    route: Route,
    smooth: bool = False,
) -> tuple[Tensor, list[Tensor]]:
    """The definition: a plain torch loop, differentiable by autograd.

    Args:
        x: input current ``[T, B, N]``.
        state: one ``[B, N]`` tensor per state.
        coefficients: one tensor per coefficient, broadcastable to ``[N]``.
        bank: ``[D, N, N]`` (lag - 1, pre, post).
        before: outputs of the D steps before, oldest first, ``[D, B, N]``.
        smooth: differentiable spikes for gradient checks.

    Returns:
        Output ``[T, B, N]`` and the final states.
    """
    made, now = list(before.unbind(0)), list(state)
    for x_now in x.unbind(0):
        earlier = [y.detach() if route.cut_recurrence else y for y in made[-len(bank) :]]
        current = x_now + sum(y @ w for y, w in zip(reversed(earlier), bank, strict=True))
        y, now, _ = reference_scan(
            program, [current.unsqueeze(0)], now, coefficients, surrogate=surrogate, route=route, smooth=smooth
        )
        made.append(y[0])
    outputs = made[len(bank) :]
    return (torch.stack(outputs) if outputs else x * 0), now


def _engine(like: Tensor) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Forward, backward and gradient of the bank for the device of ``like``."""
    if like.is_cuda:
        from neuro.kernels.scans.recurrent_delayed_cuda import backward, bank_gradient, forward
    else:
        from neuro.kernels.scans.recurrent_delayed_numba import backward, bank_gradient, forward
    return forward, backward, bank_gradient


def _check_steps(steps: Tensor, lags: int) -> None:
    if steps.numel():
        low, high = int(steps.min()), int(steps.max())
        if low < 1 or high > lags:
            raise InputError(f"delays must be in 1..{lags} steps, which are held, got {low}..{high}")


@operator("neuro::delayed_recurrent_scan")
def _delayed_op(
    x: Tensor,
    state: Tensor,
    coefficients: Tensor,
    table: Tensor,
    steps: Tensor,
    before: Tensor,
    spec: str,
    route: Sequence[bool],
    keep: bool,
    shared: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _check_steps(steps, len(before))
    made = _from_text(spec)
    saved, current = _kept(made, Route(*route)) if keep else ((), False)
    forward, _, _ = _engine(x)
    options = () if x.is_cuda else (_flags(shared),)
    return forward(made.program, x, state, coefficients, table, steps, before, saved, current, *options)  # type: ignore[no-any-return]


@_delayed_op.register_fake
def _delayed_fake(
    x: Tensor,
    state: Tensor,
    coefficients: Tensor,
    table: Tensor,
    steps: Tensor,
    before: Tensor,
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


@operator("neuro::delayed_recurrent_scan_backward")
def _delayed_backward_op(
    grad_output: Tensor,
    grad_state: Tensor,
    state: Tensor,
    coefficients: Tensor,
    table: Tensor,
    steps: Tensor,
    before: Tensor,
    output: Tensor,
    trace: Tensor,
    current: Tensor,
    spec: str,
    route: Sequence[bool],
    wants_table: bool,
    shared: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    made = _from_text(spec)
    _, backward, bank_gradient = _engine(grad_output)
    rounded = table.dim() == 2
    bank = delayed_bank(table, steps, len(before)) if rounded else table
    options = (made.program, Route(*route), made.learned_coefficients, made.surrogate)
    given = (grad_output, grad_state, state, coefficients, bank, trace, current)
    grads = backward(*options, *given, *(() if grad_output.is_cuda else (_flags(shared),)))
    if not wants_table:
        return (*grads, table.new_zeros((0,) * table.dim()))
    whole = bank_gradient(output, before, grads[0])
    return (*grads, whole.gather(0, steps.long().unsqueeze(0) - 1)[0] if rounded else whole)


@_delayed_backward_op.register_fake
def _delayed_backward_fake(
    grad_output: Tensor,
    grad_state: Tensor,
    state: Tensor,
    coefficients: Tensor,
    table: Tensor,
    steps: Tensor,
    before: Tensor,
    output: Tensor,
    trace: Tensor,
    current: Tensor,
    spec: str,
    route: Sequence[bool],
    wants_table: bool,
    shared: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    learned = _from_text(spec).learned_coefficients
    return (
        grad_output.new_empty(grad_output.shape),
        state.new_empty(state.shape),
        coefficients.new_empty((len(learned), coefficients.shape[1])),
        before.new_empty(before.shape),
        table.new_empty(table.shape if wants_table else (0,) * table.dim()),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, state, coefficients, table, steps, before, ctx.spec, ctx.route, _, ctx.shared = inputs
    y, _, trace, current = output
    ctx.shape = x.shape
    ctx.save_for_backward(state, coefficients, table, steps, before, y, trace, current)
    ctx.mark_non_differentiable(trace, current)
    ctx.set_materialize_grads(False)


def _autograd(ctx: Any, grad_output: Tensor | None, grad_state: Tensor | None, *_: None) -> tuple[Any, ...]:
    state, coefficients, *kept = ctx.saved_tensors
    if grad_output is None:
        grad_output = state.new_zeros(ctx.shape)
    if grad_state is None:
        grad_state = torch.zeros_like(state)
    wants_table = ctx.needs_input_grad[3]
    grad_x, first, learned, before, table = _delayed_backward_op(
        grad_output, grad_state, state, coefficients, *kept, ctx.spec, ctx.route, wants_table, ctx.shared
    )
    whole = torch.zeros_like(coefficients)
    whole[list(_from_text(ctx.spec).learned_coefficients)] = learned
    return grad_x, first, whole, table if wants_table else None, None, before, None, None, None, None


_delayed_op.register_autograd(_autograd, setup_context=_setup_context)


def delayed_recurrent_scan(
    spec: ScanSpec,
    x: Tensor,
    state: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    table: Tensor,
    before: Tensor,
    *,
    steps: Tensor | None = None,
    route: Route | None = None,
    backend: str = "auto",
    text: str | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Run a cell over a sequence, its output fed back after 1..D steps.

    ``I[t] = x[t] + sum_d W_d y[t - d]``, ``W_d[post, pre] = table[d - 1, pre, post]``, or with
    ``steps`` ``table[pre, post]`` where the synapse's delay is d and zero elsewhere.

    Args:
        spec: what to run; a cell with one input.
        x: input current ``[T, B, N]``, in the unit of the cell's input.
        state: one ``[B, N]`` tensor per state.
        coefficients: from :func:`neuro.kernels.compiler.reference.coefficients`, broadcastable to ``[N]``.
        table: ``[D, N, N]`` (lag - 1, pre, post), or ``[N, N]`` (pre, post) with ``steps``.
        before: outputs of the D steps before, oldest first, ``[D, B, N]``.
        steps: whole delays ``[N, N]`` (pre, post), int32 within 1..D.
        route: edges that backward ignores.
        backend: one of :data:`neuro.kernels.scans.scan.BACKENDS`; ``"auto"`` is the device's own.
        text: ``spec.to_text()``, where it is at hand.

    Returns:
        Output ``[T, B, N]`` and the final states.

    Raises:
        InputError: shapes, dtypes or devices that do not fit; delays that are not within the D
            steps held; a cell with several inputs; a backend that is not there.

    >>> from neuro.kernels.compiler.reference import coefficients
    >>> from neuro.neurons import LIF
    >>> spec = ScanSpec(LIF.equations, "euler", "value")
    >>> values = coefficients(spec.program, {n: torch.tensor(p.default) for n, p in LIF.equations.parameters.items()}, 1e-3)
    >>> x, steps = torch.zeros(6, 1, 1), torch.tensor([[2]], dtype=torch.int32)
    >>> x[0] = 30.0  # it fires, and hears itself two steps later
    >>> echo = torch.tensor([[30.0]])
    >>> y, _ = delayed_recurrent_scan(spec, x, [torch.zeros(1, 1)], values, echo, torch.zeros(3, 1, 1), steps=steps)
    >>> y.flatten().tolist()
    [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]
    """
    route = route or Route()
    if steps is None:
        steps = torch.empty((0, 0), dtype=torch.int32, device=x.device)
    if not torch.compiler.is_compiling():
        _check_delayed(spec.program, x, state, coefficients, table, steps, before)
        if backend == "reference":
            bank = table if table.dim() == 3 else delayed_bank(table, steps, len(before))
            options = {"surrogate": spec.surrogate, "route": route}
            return delayed_recurrent_reference(spec.program, x, state, coefficients, bank, before, **options)  # type: ignore[arg-type]
        _check_backend(backend, x)
    first, values = torch.stack(list(state)), _table(coefficients, x.shape[2], x)
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (x, first, values, table, before))
    cuts = [route.cut_time, route.cut_reset, route.cut_recurrence]
    shared = _shared(coefficients) if x.numel() else ""
    output, last, _, _ = _delayed_op(x, first, values, table, steps, before, text or spec.to_text(), cuts, keep, shared)
    return output, list(last.unbind(0))


def _check_delayed(
    program: Program,
    x: Tensor,
    state: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    table: Tensor,
    steps: Tensor,
    before: Tensor,
) -> None:
    if len(program.inputs) != 1:
        raise InputError(f"cell {program.name!r} has inputs {program.inputs}; a recurrent scan takes a cell with one")
    _check(program, [x], state, coefficients)
    _, batch, neurons = x.shape
    if before.dim() != 3 or before.shape[0] < 1 or tuple(before.shape[1:]) != (batch, neurons):
        raise InputError(f"before must be [D, B, N] = [D, {batch}, {neurons}], D at least 1, got {list(before.shape)}")
    if table.dim() == 2 and steps.dtype == torch.int32 and steps.shape == table.shape == (neurons, neurons):
        _check_steps(steps, len(before))
    elif steps.numel() or table.shape != (len(before), neurons, neurons):
        raise InputError(
            f"table must be [D, N, N] = {[len(before), neurons, neurons]}, or [N, N] beside int32 steps [N, N]; "
            f"got {list(table.shape)} and steps {list(steps.shape)} {steps.dtype}"
        )
    for name, tensor in (("table", table), ("before", before)):
        if tensor.dtype != x.dtype or tensor.device != x.device:
            raise InputError(
                f"x is {x.dtype} on {x.device}, {name} is {tensor.dtype} on {tensor.device}; convert one with .to()"
            )


@torch.no_grad()
def delayed_recurrent_trace(
    spec: ScanSpec,
    x: Tensor,
    state: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    table: Tensor,
    before: Tensor,
    *,
    steps: Tensor | None = None,
) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
    """Like :func:`delayed_recurrent_scan`, without gradients, also returning every state before its reset.

    Args:
        x: input current ``[T, B, N]``; the others as there.

    Returns:
        Output ``[T, B, N]``, final states (each ``[B, N]``), and by name each state's
        ``[T, B, N]`` values after the update and before the reset.
    """
    program = spec.program
    if steps is None:
        steps = torch.empty((0, 0), dtype=torch.int32, device=x.device)
    _check_delayed(program, x, state, coefficients, table, steps, before)
    everything = tuple(range(len(program.states)))
    forward, _, _ = _engine(x)
    values = _table(coefficients, x.shape[2], x)
    output, last, trace, _ = forward(
        program, x, torch.stack(list(state)), values, table, steps, before, everything, False
    )
    return output, list(last.unbind(0)), dict(zip(program.states, trace.unbind(0), strict=True))
