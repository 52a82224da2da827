"""The product every local rule ends in: a factor of each postsynaptic neuron times one of each presynaptic."""

from __future__ import annotations

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.propagation.event_linear import event_weight_gradient
from neuro.kernels.propagation.spikes import count_entries, list_entries

__all__ = ["exponential_trace", "gated_outer"]

_DENSITY = 0.2  # share of entries that are not 0 up to which they are listed


def gated_outer(post: Tensor, pre: Tensor) -> Tensor:
    """``dW[o, i] = sum_{t, b} post[t, b, o] pre[t, b, i]``, event by event where ``pre`` is sparse.

    Args:
        post: ``[T, B, O]``, the postsynaptic factor, times the modulator if there is one.
        pre: ``[T, B, I]``, the presynaptic factor: spikes, a trace, an input.

    Returns:
        ``[O, I]``.

    Raises:
        InputError: shapes, dtypes or devices that do not fit.

    >>> gated_outer(torch.tensor([[[2.0, 3.0]]]), torch.tensor([[[0.0, 1.0]]])).tolist()
    [[0.0, 2.0], [0.0, 3.0]]
    """
    if post.dim() != 3 or pre.dim() != 3 or post.shape[:2] != pre.shape[:2]:
        raise InputError(f"post and pre must be [T, B, O] and [T, B, I], got {list(post.shape)} and {list(pre.shape)}")
    if post.dtype != pre.dtype or post.device != pre.device:
        raise InputError(f"post must be {pre.dtype} on {pre.device} like pre, got {post.dtype} on {post.device}")
    rows, factors = pre.detach().flatten(0, 1), post.detach().flatten(0, 1)
    if pre.device.type == "cpu" and pre.dtype in (torch.float32, torch.float64):
        counts = count_entries(rows.contiguous())
        if int(counts[0].sum()) <= _DENSITY * pre.numel():
            return event_weight_gradient(factors, *list_entries(rows.contiguous(), counts), pre.shape[2])
    return factors.t() @ rows


def exponential_trace(x: Tensor, decay: float, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``r[t] = decay r[t-1] + x[t]``: the trace that spikes leave, their own step included.

    Args:
        x: ``[T, B, N]``.
        decay: factor per step, in 0..1.
        state: ``[B, N]``, the trace before; None is 0.

    Returns:
        ``[T, B, N]`` and the trace after step T, ``[B, N]``.

    Raises:
        InputError: a decay out of range; a state that does not fit.

    >>> exponential_trace(torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1), 0.5)[0].flatten().tolist()
    [1.0, 0.5, 1.25]
    """
    if not 0.0 <= decay <= 1.0:
        raise InputError(f"decay must be in 0..1, got {decay}")
    if x.dim() != 3 or (state is not None and state.shape != x.shape[1:]):
        seen = None if state is None else list(state.shape)
        raise InputError(f"x must be [T, B, N] and state [B, N], got {list(x.shape)} and {seen}")
    held = x.new_zeros(x.shape[1:]) if state is None else state.detach()
    trace = torch.empty_like(x.detach())
    for step, spikes in zip(trace.unbind(0), x.detach().unbind(0), strict=True):
        torch.add(spikes, held, alpha=decay, out=step)
        held = step
    return trace, held.clone()
