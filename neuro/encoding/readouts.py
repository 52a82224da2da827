"""What is read out of the output of a network, ``[T, B, ...] -> [B, ...]``; the losses are made of these."""

from __future__ import annotations

import torch
from torch import Tensor

from neuro.encoding.decoders import first_spike_time
from neuro.encoding.limits import need_lengths, need_sequence
from neuro.errors import InputError

__all__ = ["first_spike", "last_membrane", "max_membrane", "mean_membrane", "softmax_sum", "spike_count"]


def spike_count(output: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Sum over time, ``[T, B, ...] -> [B, ...]``; with ``lengths`` ``[B]``, over each sample's own steps.

    >>> spike_count(Tensor([1, 0, 1]).view(3, 1, 1)).tolist()
    [[2.0]]
    """
    return (output if lengths is None else _padded(output, lengths, 0.0, least=0)).sum(0)


def mean_membrane(output: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Mean over time, ``[T, B, ...] -> [B, ...]``, T (or each of ``lengths`` ``[B]``) at least 1.

    >>> mean_membrane(Tensor([1, 0, 2]).view(3, 1, 1)).tolist()
    [[1.0]]
    >>> mean_membrane(Tensor([1, 0, 2]).view(3, 1, 1), torch.tensor([2])).tolist()
    [[0.5]]
    """
    need_sequence(output, "mean_membrane")
    if lengths is None:
        return output.mean(0)
    total = _padded(output, lengths, 0.0).sum(0)
    return total / lengths.to(total).view(-1, *(1,) * (total.dim() - 1))


def max_membrane(output: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Maximum over time, ``[T, B, ...] -> [B, ...]``, T (or each of ``lengths`` ``[B]``) at least 1.

    Its gradient goes to one step that attains it.

    >>> max_membrane(Tensor([1, 3, 2]).view(3, 1, 1)).tolist()
    [[3.0]]
    """
    need_sequence(output, "max_membrane")
    return (output if lengths is None else _padded(output, lengths, -torch.inf)).max(dim=0).values


def last_membrane(output: Tensor, lengths: Tensor | None = None) -> Tensor:
    """The last step, ``[T, B, ...] -> [B, ...]``, T (or each of ``lengths`` ``[B]``) at least 1.

    >>> last_membrane(Tensor([1, 3, 2]).view(3, 1, 1)).tolist()
    [[2.0]]
    """
    need_sequence(output, "last_membrane")
    if lengths is None:
        return output[-1]
    last = need_lengths(lengths, output.shape[0], output.shape[1], least=1).to(output.device) - 1
    return output[last, torch.arange(output.shape[1], device=output.device)]


def softmax_sum(output: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Sum over time of the softmax over classes, ``[T, B, C] -> [B, C]``; over ``lengths`` ``[B]`` where given.

    Each step has one vote, however high its membranes: Bittar & Garner 2022, "A surrogate gradient spiking baseline
    for speech command recognition".

    >>> softmax_sum(Tensor([[[0.0, 0.0]], [[90.0, 0.0]]])).tolist()
    [[1.5, 0.5]]
    """
    votes = output.softmax(-1)
    return (votes if lengths is None else _padded(votes, lengths, 0.0, least=0)).sum(0)


def first_spike(output: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Minus the steps before the first spike, ``[T, B, ...] -> [B, ...]``; the class that spikes first has the largest.

    It is 0 for a spike at once, -T (with ``lengths`` ``[B]``, minus each sample's own steps) for none. Its gradient is that of :func:`neuro.encoding.first_spike_time`.

    Raises:
        InputError: values outside 0 to 1, which are no spikes.

    >>> first_spike(Tensor([0, 0, 1, 1]).view(4, 1, 1)).tolist()
    [[-2.0]]
    """
    need_sequence(output, "first_spike")
    low, high = (float(bound) for bound in output.detach().aminmax()) if output.numel() else (0.0, 1.0)
    if low < 0 or high > 1:
        raise InputError(
            f"first_spike reads spikes, 0 or 1, but the output holds {low if low < 0 else high:g}; "
            "end the network in neurons that spike (LIF), or read its membranes (max_membrane)"
        )
    return -first_spike_time(output if lengths is None else _padded(output, lengths, 1.0), dt=1.0)


def _padded(output: Tensor, lengths: Tensor, value: float, *, least: int = 1) -> Tensor:
    """``output`` with ``value`` from each sample's length on."""
    ends = need_lengths(lengths, output.shape[0], output.shape[1], least=least).to(output.device)
    inside = torch.arange(output.shape[0], device=output.device)[:, None] < ends
    return output.masked_fill(~inside.view(*inside.shape, *(1,) * (output.dim() - 2)), value)
