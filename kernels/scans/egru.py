r"""Event-based gated recurrent units over a whole sequence, fused around the products.

With ``a = x-drive [r, z, n]`` and ``h = R y[t-1] + b``, three rows of units each,

.. math:: r = \sigma(a_r + h_r), \quad z = \sigma(a_z + h_z), \quad n = \tanh(a_n + r h_n), \quad
    \tilde c = z c_{t-1} + (1 - z) n,

a unit sends an event where :math:`\tilde c > \vartheta`: the output is ``y = e c~``, the state left ``c = c~ - e theta``.
Only the columns of ``R`` of units that sent one are read where that is less work
(:func:`neuro.kernels.propagation.event_linear.event_linear`); all between the products is one pass each.
Rows are in the order of ``torch.nn.GRU``, whose weights fit.
Source: Subramoney et al. 2023, "Efficient recurrent architectures through activity sparsity and sparse
back-propagation through time" (ICLR). Registered with ``torch.library`` (fake and autograd).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.compiler.reference import _hard_spike, _smooth_spike, slope
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.engines.operators import operator
from neuro.kernels.propagation.dense import product
from neuro.kernels.propagation.event_linear import event_linear, event_weight_gradient
from neuro.kernels.propagation.spikes import count_entries, list_entries
from neuro.kernels.scans.scan import _check_backend

__all__ = ["egru_reference", "egru_scan", "run_backward", "run_forward"]

_SPARSE = 0.2  # share of units that sent an event up to which the weight's gradient goes event by event


def egru_reference(
    drive: Tensor,
    first: Tensor,
    first_output: Tensor,
    weight: Tensor,
    bias: Tensor,
    threshold: Tensor,
    *,
    surrogate: Surrogate,
    route: Route,
    smooth: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """The definition: a plain torch loop, differentiable by autograd. As :func:`egru_scan`, shapes included.

    Args:
        drive: ``[T, B, 3N]``, and so on.
        smooth: differentiable events, for gradient checks.
    """
    c, y, outputs, seen = first, first_output, [], []
    spike = _smooth_spike if smooth else _hard_spike
    for now in drive.unbind(0):
        c = c.detach() if route.cut_time else c
        back = (y.detach() if route.cut_recurrence else y) @ weight.t() + bias
        a, h = now.chunk(3, 1), back.chunk(3, 1)
        r, z = torch.sigmoid(a[0] + h[0]), torch.sigmoid(a[1] + h[1])
        made = z * c + (1 - z) * torch.tanh(a[2] + r * h[2])
        e = spike(made - threshold, surrogate)
        y, c = e * made, made - (e.detach() if route.cut_reset else e) * threshold
        outputs.append(y)
        seen.append(made)
    if not outputs:
        empty = drive.new_zeros((0, *first.shape)) + 0 * threshold
        return empty, c, empty
    return torch.stack(outputs), c, torch.stack(seen)


def _engine(like: Tensor) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What makes the steps between the products, forward and backward, for the device of ``like``."""
    if like.is_cuda:
        from neuro.kernels.scans.egru_cuda import backward_steps, forward_steps
    else:
        from neuro.kernels.scans.egru_numba import backward_steps, forward_steps
    return forward_steps, backward_steps


@operator("neuro::egru_scan")
def _egru_op(
    drive: Tensor,
    first: Tensor,
    first_output: Tensor,
    weight: Tensor,
    bias: Tensor,
    threshold: Tensor,
    surrogate: str,
    width: float,
    peak: float,
    route: Sequence[bool],
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    given: Any = (*(t.detach() for t in (drive, first, first_output, weight, bias, threshold)), keep)
    return run_forward(_engine(drive)[0], *given)


@torch.no_grad()
def run_forward(
    steps: Callable[..., Any],
    drive: Tensor,
    first: Tensor,
    first_output: Tensor,
    weight: Tensor,
    bias: Tensor,
    threshold: Tensor,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The time loop; ``steps`` makes what stands between the products.

    Args:
        steps: ``forward_steps`` of a backend.
        drive: as for :func:`egru_scan`, and so the others, ``[T, B, 3N]``.
        first, first_output: ``[B, N]``.
        weight: ``[3N, N]``.
        bias: ``[3N]``.
        threshold: ``[N]``.
        keep: whether a backward pass follows.

    Returns:
        Output ``[T, B, N]``, last state ``[B, N]``; if kept, the states before the reset ``[T, B, N]``, and r, z, n and
        the fed back part of n, ``[T, B, 4N]``; else one step of each.
    """
    time, (batch, neurons) = drive.shape[0], first.shape
    rows = time if keep else min(time, 1)
    out, state = drive.new_empty((time, batch, neurons)), first.clone(memory_format=torch.contiguous_format)
    seen, gates = drive.new_empty((rows, batch, neurons)), drive.new_empty((rows, batch, 4 * neurons))
    by_column = weight.t().contiguous().t()  # the synapses of one unit contiguous
    step = steps(drive.contiguous(), threshold.contiguous(), state, seen, gates, out)
    y = first_output.contiguous()
    for t in range(time):
        back = product(y, by_column, bias) if y.is_cuda else event_linear(y, by_column, bias)
        step(t, t if keep else 0, back)
        y = out[t]
    return out, state, seen, gates


@_egru_op.register_fake
def _egru_fake(
    drive: Tensor,
    first: Tensor,
    first_output: Tensor,
    weight: Tensor,
    bias: Tensor,
    threshold: Tensor,
    surrogate: str,
    width: float,
    peak: float,
    route: Sequence[bool],
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    time, (batch, neurons) = drive.shape[0], first.shape
    rows = time if keep else min(time, 1)
    made = (time, batch, neurons), (batch, neurons), (rows, batch, neurons), (rows, batch, 4 * neurons)
    one, two, three, four = (drive.new_empty(shape) for shape in made)
    return one, two, three, four


@operator("neuro::egru_scan_backward")
def _egru_backward_op(
    grad: Tensor,
    grad_state: Tensor,
    first: Tensor,
    first_output: Tensor,
    weight: Tensor,
    threshold: Tensor,
    out: Tensor,
    seen: Tensor,
    gates: Tensor,
    surrogate: str,
    width: float,
    peak: float,
    route: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    tensors = (grad, grad_state, first, first_output, weight, threshold, out, seen, gates)
    given: Any = (*(t.detach() for t in tensors), Surrogate(surrogate, width, peak), Route(*route))
    return run_backward(_engine(grad)[1], *given)


@torch.no_grad()
def run_backward(
    steps: Callable[..., Any],
    grad: Tensor,
    grad_state: Tensor,
    first: Tensor,
    first_output: Tensor,
    weight: Tensor,
    threshold: Tensor,
    out: Tensor,
    seen: Tensor,
    gates: Tensor,
    surrogate: Surrogate,
    route: Route,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The adjoint of :func:`run_forward`.

    Args:
        steps: ``backward_steps`` of a backend.
        grad: gradient of the output, ``[T, B, N]``.
        grad_state: of the last state, ``[B, N]``.
        first, first_output, weight, threshold: as there.
        out, seen, gates: what it returned.
        surrogate: derivative of an event.
        route: edges to ignore.

    Returns:
        Gradients of ``drive``, ``first``, ``first_output``, ``weight``, ``bias`` and ``threshold``, each shaped as it is.
    """
    time, batch, neurons = grad.shape
    carried = grad_state.clone(memory_format=torch.contiguous_format)
    arriving = grad.clone(memory_format=torch.contiguous_format)
    drive, back = grad.new_empty((time, batch, 3 * neurons)), grad.new_empty((time, batch, 3 * neurons))
    sums = grad.new_zeros((batch, neurons))
    slopes = slope(seen - threshold, surrogate).contiguous()
    given = (first.contiguous(), threshold.contiguous(), seen, gates, slopes, arriving, carried, drive, back, sums)
    step = steps(*given, route.cut_time, route.cut_reset)
    below = grad.new_zeros((batch, neurons))
    for t in range(time - 1, -1, -1):
        step(t)
        if route.cut_recurrence:
            continue
        through = product(back[t], weight.t())
        if t > 0:
            arriving[t - 1] += through
        else:
            below = through
    before = torch.cat([first_output.unsqueeze(0), out])[:time].reshape(-1, neurons)
    table = _weight_gradient(back.view(-1, 3 * neurons), before)
    return drive, carried, below, table, back.view(-1, 3 * neurons).sum(0), sums.sum(0)


def _weight_gradient(grad: Tensor, rows: Tensor) -> Tensor:
    """``grad^T rows``: ``[R, 3N]``, ``[R, N]`` -> ``[3N, N]``, event by event where few of ``rows`` are not zero."""
    if rows.is_cuda:
        return grad.t() @ rows
    counts = count_entries(rows)
    if int(counts[0].sum()) <= _SPARSE * rows.numel():
        return event_weight_gradient(grad, *list_entries(rows, counts), rows.shape[1])
    return product(rows.t(), grad.t()).t()


@_egru_backward_op.register_fake
def _egru_backward_fake(
    grad: Tensor,
    grad_state: Tensor,
    first: Tensor,
    first_output: Tensor,
    weight: Tensor,
    threshold: Tensor,
    out: Tensor,
    seen: Tensor,
    gates: Tensor,
    surrogate: str,
    width: float,
    peak: float,
    route: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    time, batch, neurons = grad.shape
    made = (time, batch, 3 * neurons), (batch, neurons), (batch, neurons), (neurons, 3 * neurons)
    drive, state, output, table = (grad.new_empty(shape) for shape in made)
    return drive, state, output, table.t(), grad.new_empty(3 * neurons), grad.new_empty(neurons)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, first, first_output, weight, _, threshold, ctx.surrogate, ctx.width, ctx.peak, ctx.route, _ = inputs
    out, _, seen, gates = output
    ctx.save_for_backward(first, first_output, weight, threshold, out, seen, gates)
    ctx.mark_non_differentiable(seen, gates)


def _autograd(ctx: Any, grad: Tensor, grad_state: Tensor, *_: Tensor) -> tuple[Any, ...]:
    options = (ctx.surrogate, ctx.width, ctx.peak, ctx.route)
    made = _egru_backward_op(grad, grad_state, *ctx.saved_tensors, *options)
    return (*made, None, None, None, None, None)


_egru_op.register_autograd(_autograd, setup_context=_setup_context)


def egru_scan(
    drive: Tensor,
    first: Tensor,
    first_output: Tensor,
    weight: Tensor,
    bias: Tensor,
    threshold: Tensor,
    *,
    surrogate: Surrogate,
    route: Route | None = None,
    backend: str = "auto",
    keep_states: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run event-based gated recurrent units over a sequence; the equations stand at the top of the module.

    Args:
        drive: what the gates r, z and the candidate n get from the input, biases included, ``[T, B, 3N]``.
        first: state before the first step, ``[B, N]``.
        first_output: output of the step before it, ``[B, N]``.
        weight: ``[3N, N]``, what they get from the output of the step before.
        bias: ``[3N]``, added to that.
        threshold: ``[N]``.
        surrogate: derivative that stands in for that of an event.
        route: edges that backward ignores; the paper's algorithm ignores none, ``Route(cut_reset=False)``.
        backend: ``"auto"`` (the device's own), ``"numba"``, ``"cuda"`` or ``"reference"``.
        keep_states: whether the states of all steps are wanted.

    Returns:
        Output ``[T, B, N]`` and state ``[B, N]`` after the last step, both differentiable; the states of all steps
        before the reset ``[T, B, N]`` if wanted (of some of them otherwise), without gradient.

    Raises:
        InputError: shapes, dtypes or devices that do not fit, a backend that is not there.

    >>> zero, drive = torch.zeros, torch.tensor([[[0.0, 0.0, 9.0]], [[0.0, 0.0, 0.0]]])
    >>> spike = Surrogate("triangle", 1.0, 0.7)
    >>> y, c, _ = egru_scan(drive, zero(1, 1), zero(1, 1), zero(3, 1), zero(3), torch.tensor([0.3]), surrogate=spike)
    >>> [round(v, 3) for v in (*y.flatten().tolist(), c.item())]
    [0.5, 0.0, 0.1]
    """
    route = route or Route()
    given = (drive, first, first_output, weight, bias, threshold)
    if not torch.compiler.is_compiling():
        _check(given)
        if backend == "reference":
            return egru_reference(*given, surrogate=surrogate, route=route)
        _check_backend(backend, drive)
    keep = keep_states or (torch.is_grad_enabled() and any(t.requires_grad for t in given))
    cuts = [route.cut_time, route.cut_reset, route.cut_recurrence]
    options = (surrogate.family, surrogate.width, surrogate.peak, cuts, keep)
    output, state, seen, _ = _egru_op(*given, *options)
    return output, state, seen


def _check(given: tuple[Tensor, ...]) -> None:
    drive, first = given[:2]
    for name, tensor in (("drive", drive), ("first", first)):
        if not isinstance(tensor, Tensor):
            raise InputError(f"{name} must be a tensor, got {type(tensor).__name__}")
    if drive.dim() != 3 or drive.shape[2] % 3 or drive.dtype not in (torch.float32, torch.float64):
        raise InputError(f"drive must be [T, B, 3N], float32 or float64, got {list(drive.shape)} {drive.dtype}")
    _, batch, rows = drive.shape
    neurons = rows // 3
    shapes = {
        "first": (batch, neurons),
        "first_output": (batch, neurons),
        "weight": (rows, neurons),
        "bias": (rows,),
        "threshold": (neurons,),
    }
    for (name, shape), tensor in zip(shapes.items(), given[1:], strict=True):
        if tuple(tensor.shape) != shape:
            raise InputError(f"{name} must be {list(shape)}, got {list(tensor.shape)}")
        if tensor.dtype != drive.dtype or tensor.device != drive.device:
            seen = f"{name} {tensor.dtype} on {tensor.device}"
            raise InputError(f"drive is {drive.dtype} on {drive.device}, {seen}; convert one with .to()")
