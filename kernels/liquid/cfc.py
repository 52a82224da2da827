r"""Closed-form continuous-time cells over a whole sequence, fused around the dense products.

A hidden layer sees input and state, ``z = 1.7159 tanh(0.666 (W_x x + W_h h + b))``, heads read it, and

.. math:: h' = f_1 (1 - s) + s f_2, \quad f_k = \tanh(W_k z + b_k), \quad s = \sigma((W_a z + b_a) \Delta t + W_b z + b_b)

(``"default"``); ``h' = f_1 + s f_2`` (``"no_gate"``); or ``h' = A - A e^{-\Delta t (|w_\tau| + |f|)} f`` with one
linear head ``f`` (``"pure"``). The products run in BLAS, each step in two; all between is one pass each.
Source: Hasani et al. 2022, "Closed-form continuous-time neural networks", equations 2 to 4.
Registered with ``torch.library`` (fake and autograd).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.kernels.engines.operators import operator
from neuro.kernels.liquid.ltc import check_backend, check_elapsed

__all__ = ["HEADS", "MODES", "cfc_reference", "cfc_scan"]

MODES = ("default", "no_gate", "pure")
HEADS = (4, 4, 1)
"""Heads of each mode: f1, f2, a, b; or f alone."""

_GAIN, _SLOPE = 1.7159, 0.666


def cfc_reference(
    drive: Tensor,
    first: Tensor,
    elapsed: Tensor,
    w_state: Tensor,
    w_heads: Tensor,
    b_heads: Tensor,
    extra: Tensor,
    *,
    mode: str = "default",
) -> Tensor:
    """The definition: a plain torch loop, differentiable by autograd. Arguments as for :func:`cfc_scan`."""
    h, states = first, []
    for now, dt in zip(drive.unbind(0), elapsed.unsqueeze(2).unbind(0), strict=True):
        z = _GAIN * torch.tanh(_SLOPE * (now + h @ w_state.t()))
        heads = (z @ w_heads.t() + b_heads).chunk(HEADS[MODES.index(mode)], 1)
        if mode == "pure":
            w_tau, ceiling = extra
            h = ceiling - ceiling * torch.exp(-dt * (w_tau.abs() + heads[0].abs())) * heads[0]
        else:
            f1, f2, s = torch.tanh(heads[0]), torch.tanh(heads[1]), torch.sigmoid(heads[2] * dt + heads[3])
            h = f1 + s * f2 if mode == "no_gate" else f1 * (1 - s) + s * f2
        states.append(h)
    return torch.stack(states) if states else drive.new_zeros((0, *first.shape))


def _engine(like: Tensor) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What makes the steps between the products, forward and backward, for the device of ``like``."""
    if like.is_cuda:
        from neuro.kernels.liquid.cfc_cuda import backward_steps, forward_steps
    else:
        from neuro.kernels.liquid.cfc_numba import backward_steps, forward_steps
    return forward_steps, backward_steps


@operator("neuro::cfc_scan")
def _cfc_op(
    drive: Tensor,
    first: Tensor,
    elapsed: Tensor,
    w_state: Tensor,
    w_heads: Tensor,
    b_heads: Tensor,
    extra: Tensor,
    mode: int,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return run_forward(_engine(drive)[0], drive, first, elapsed, w_state, w_heads, b_heads, extra, mode, keep)


def run_forward(
    steps: Callable[..., Any],
    drive: Tensor,
    first: Tensor,
    elapsed: Tensor,
    w_state: Tensor,
    w_heads: Tensor,
    b_heads: Tensor,
    extra: Tensor,
    mode: int,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The time loop; ``steps`` makes what stands between the products.

    Args:
        steps: ``forward_steps`` of a backend.
        drive: as for :func:`cfc_scan`, and so the others, ``[T, B, H]``.
        first: state ``[B, N]``.
        elapsed: ``[T, B]``, seconds.
        w_state: ``[H, N]``.
        w_heads: ``[K N, H]``.
        b_heads: ``[K N]``.
        extra: ``[2, N]`` or empty.
        mode: place in :data:`MODES`.
        keep: whether a backward pass follows.

    Returns:
        States ``[T, B, N]``; hidden layer ``[T, B, H]`` and heads ``[T, B, K N]`` after their functions if kept.
    """
    time, batch, hidden = drive.shape
    rows = time if keep else min(time, 1)
    out = drive.new_empty((time, *first.shape))
    z, heads = drive.new_empty((rows, batch, hidden)), drive.new_empty((rows, batch, w_heads.shape[0]))
    activate, combine = steps(z, heads, elapsed.contiguous(), extra.contiguous(), out, mode)
    before, to_hidden, to_heads = first, w_state.t(), w_heads.t()
    for t in range(time):
        k = t if keep else 0
        torch.addmm(drive[t], before, to_hidden, out=z[k])
        activate(k)
        torch.addmm(b_heads, z[k], to_heads, out=heads[k])
        combine(k, t)
        before = out[t]
    return (out, z, heads) if keep else (out, z[:0], heads[:0])


@_cfc_op.register_fake
def _cfc_fake(
    drive: Tensor,
    first: Tensor,
    elapsed: Tensor,
    w_state: Tensor,
    w_heads: Tensor,
    b_heads: Tensor,
    extra: Tensor,
    mode: int,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    time, batch, hidden = drive.shape
    rows = time if keep else 0
    kept = (rows, batch, hidden), (rows, batch, w_heads.shape[0])
    return drive.new_empty((time, *first.shape)), drive.new_empty(kept[0]), drive.new_empty(kept[1])


@operator("neuro::cfc_scan_backward")
def _cfc_backward_op(
    grad: Tensor,
    first: Tensor,
    elapsed: Tensor,
    w_state: Tensor,
    w_heads: Tensor,
    extra: Tensor,
    out: Tensor,
    z: Tensor,
    heads: Tensor,
    mode: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return run_backward(_engine(grad)[1], grad, first, elapsed, w_state, w_heads, extra, out, z, heads, mode)


def run_backward(
    steps: Callable[..., Any],
    grad: Tensor,
    first: Tensor,
    elapsed: Tensor,
    w_state: Tensor,
    w_heads: Tensor,
    extra: Tensor,
    out: Tensor,
    z: Tensor,
    heads: Tensor,
    mode: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The adjoint of :func:`run_forward`.

    Args:
        steps: ``backward_steps`` of a backend.
        grad: gradient of the states, ``[T, B, N]``.
        first, elapsed, w_state, w_heads, extra, mode: as there; ``elapsed`` in seconds.
        out, z, heads: what it returned.

    Returns:
        Gradients of ``drive``, ``first``, ``w_state``, ``w_heads``, ``b_heads``, ``extra``, each shaped as it is.
    """
    dz, dheads, dextra = torch.empty_like(z), torch.empty_like(heads), torch.zeros_like(extra)
    arriving = grad.contiguous().clone()
    given = (heads, elapsed.contiguous(), extra.contiguous(), arriving, dheads, dextra, z, dz)
    through_heads, through_hidden = steps(*given, mode)
    carried = torch.zeros_like(first)
    for t in range(grad.shape[0] - 1, -1, -1):
        through_heads(t)
        torch.mm(dheads[t], w_heads, out=dz[t])
        through_hidden(t)
        if t > 0:
            arriving[t - 1].addmm_(dz[t], w_state)
        else:
            carried = dz[0] @ w_state
    # The gradients of the weights: one product over all steps each.
    rows = dz.flatten(0, 1), dheads.flatten(0, 1)
    d_state = rows[0].t() @ torch.cat([first.unsqueeze(0), out])[: grad.shape[0]].flatten(0, 1)
    return dz, carried, d_state, rows[1].t() @ z.flatten(0, 1), rows[1].sum(0), dextra


@_cfc_backward_op.register_fake
def _cfc_backward_fake(
    grad: Tensor,
    first: Tensor,
    elapsed: Tensor,
    w_state: Tensor,
    w_heads: Tensor,
    extra: Tensor,
    out: Tensor,
    z: Tensor,
    heads: Tensor,
    mode: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    one, two, three, four, five = (t.new_empty(t.shape) for t in (z, first, w_state, w_heads, extra))
    return one, two, three, four, z.new_empty(w_heads.shape[0]), five


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, first, elapsed, w_state, w_heads, _, extra, ctx.mode, _ = inputs
    ctx.save_for_backward(first, elapsed, w_state, w_heads, extra, *output)
    ctx.mark_non_differentiable(*output[1:])


def _autograd(ctx: Any, grad: Tensor, *_: None) -> tuple[Any, ...]:
    drive, first, *values = _cfc_backward_op(grad, *ctx.saved_tensors, ctx.mode)
    return (drive, first, None, *values, None, None)


_cfc_op.register_autograd(_autograd, setup_context=_setup_context)


def cfc_scan(
    drive: Tensor,
    first: Tensor,
    elapsed: Tensor,
    w_state: Tensor,
    w_heads: Tensor,
    b_heads: Tensor,
    extra: Tensor,
    *,
    mode: str = "default",
    backend: str = "auto",
) -> Tensor:
    """Run closed-form continuous-time cells over a sequence; the equations stand at the top of the module.

    Gradients go to everything but ``elapsed``.

    Args:
        drive: what the hidden layer gets from the input, ``W_x x + b``, ``[T, B, H]``.
        first: state before the first step, ``[B, N]``.
        elapsed: time that each step takes, ``[T, B]``, from 0 on, in seconds.
        w_state: ``[H, N]``, what it gets from the state.
        w_heads: ``[K N, H]``: the K heads one below the other (see :data:`HEADS`).
        b_heads: ``[K N]``.
        extra: ``[2, N]``: w_tau and A of the mode ``"pure"``; ``[0, N]`` in the others.
        mode: one of :data:`MODES`.
        backend: ``"auto"`` (the device's own), ``"numba"``, ``"cuda"`` or ``"reference"``.

    Returns:
        States ``[T, B, N]`` after each step.

    Raises:
        InputError: shapes, dtypes or devices that do not fit, negative elapsed time, an unknown mode,
            a backend that is not there.

    >>> zero = torch.zeros
    >>> heads = torch.tensor([0.0, 2.0, 0.0, 0.0])  # f1, f2, a, b: half way between tanh(0) and tanh(2)
    >>> y = cfc_scan(zero(1, 1, 3), zero(1, 1), zero(1, 1), zero(3, 1), zero(4, 3), heads, zero(0, 1))
    >>> round(y.item(), 4)
    0.482
    """
    if mode not in MODES:
        raise unknown_name("mode", mode, MODES)
    given = (drive, first, elapsed, w_state, w_heads, b_heads, extra)
    if not torch.compiler.is_compiling():
        _check(given, mode)
        if backend == "reference":
            return cfc_reference(*given, mode=mode)
        check_backend(backend, drive)
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in given)
    return _cfc_op(*given, MODES.index(mode), keep)[0]  # type: ignore[no-any-return]


def _check(given: tuple[Tensor, ...], mode: str) -> None:
    names = ("drive", "first", "elapsed", "w_state", "w_heads", "b_heads", "extra")
    drive, first = given[:2]
    if drive.dim() != 3 or drive.dtype not in (torch.float32, torch.float64):
        raise InputError(f"drive must be [T, B, H], float32 or float64, got {list(drive.shape)} {drive.dtype}")
    if first.dim() != 2 or first.shape[0] != drive.shape[1]:
        raise InputError(f"first must be [B, N] with B = {drive.shape[1]}, got {list(first.shape)}")
    (time, batch, hidden), neurons = drive.shape, first.shape[1]
    heads = HEADS[MODES.index(mode)] * neurons
    extra = (2 if mode == "pure" else 0, neurons)
    shapes = (
        (time, batch, hidden),
        (batch, neurons),
        (time, batch),
        (hidden, neurons),
        (heads, hidden),
        (heads,),
        extra,
    )
    for name, tensor, shape in zip(names, given, shapes, strict=True):
        if tuple(tensor.shape) != shape:
            raise InputError(f"{name} must be {list(shape)}, got {list(tensor.shape)}")
        if tensor.dtype != drive.dtype or tensor.device != drive.device:
            seen = f"{name} {tensor.dtype} on {tensor.device}"
            raise InputError(f"drive is {drive.dtype} on {drive.device}, {seen}; convert one with .to()")
    check_elapsed(given[2])
