"""Sequences of different lengths in one batch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from neuro.encoding.limits import need_lengths

__all__ = ["in_lengths"]


def in_lengths(
    run: Callable[[Tensor, Any], tuple[Tensor, Any]], x: Tensor, state: Any, lengths: Tensor
) -> tuple[Tensor, Any]:
    """``run(x, state)``, each sample's output zero from its length on and its state that after its last step.

    Args:
        run: from input ``[T', B, ...]`` and state to output ``[T', B, ...]`` and state.
        x: input ``[T, B, ...]``, padded behind each sample's last step.
        state: nest of tuples of tensors ``[B, ...]`` and None.
        lengths: ``[B]`` whole numbers from 0 to T.

    Raises:
        InputError: lengths that do not fit.
    """
    steps = need_lengths(lengths, x.shape[0], x.shape[1]).to(x.device)
    ends = sorted({0, *steps.tolist(), x.shape[0]})
    # A sample of no steps keeps the state it came with; one of None becomes that of an empty sequence.
    _, final = run(x[:0], state)
    outputs, running = [], state
    for start, end in pairwise(ends):
        y, running = run(x[start:end], running)
        outputs.append(y)
        final = _chosen(steps == end, running, final)
    output = torch.cat(outputs) if outputs else run(x, state)[0]
    inside = torch.arange(x.shape[0], device=x.device)[:, None] < steps
    return torch.where(inside.view(*inside.shape, *(1,) * (output.dim() - 2)), output, 0), final


def _chosen(ended: Tensor, there: Any, otherwise: Any) -> Any:
    if isinstance(there, tuple):
        before = (None,) * len(there) if otherwise is None else otherwise
        return tuple(_chosen(ended, a, b) for a, b in zip(there, before, strict=True))
    if there is None:
        return None
    rows = ended.view(-1, *(1,) * (there.dim() - 1))
    return torch.where(rows, there, torch.zeros_like(there) if otherwise is None else otherwise)
