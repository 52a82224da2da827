"""What is read out of the output of a network, ``[T, B, ...] -> [B, ...]``; the losses are made of these."""

from __future__ import annotations

from torch import Tensor

from neuro.encoding.limits import need_sequence

__all__ = ["last_membrane", "max_membrane", "mean_membrane", "softmax_sum", "spike_count"]


def spike_count(output: Tensor) -> Tensor:
    """Sum over time, ``[T, B, ...] -> [B, ...]``.

    >>> spike_count(Tensor([1, 0, 1]).view(3, 1, 1)).tolist()
    [[2.0]]
    """
    return output.sum(0)


def mean_membrane(output: Tensor) -> Tensor:
    """Mean over time, ``[T, B, ...] -> [B, ...]``, T at least 1.

    >>> mean_membrane(Tensor([1, 0, 2]).view(3, 1, 1)).tolist()
    [[1.0]]
    """
    need_sequence(output, "mean_membrane")
    return output.mean(0)


def max_membrane(output: Tensor) -> Tensor:
    """Maximum over time, ``[T, B, ...] -> [B, ...]``, T at least 1.

    Its gradient goes to one step that attains it.

    >>> max_membrane(Tensor([1, 3, 2]).view(3, 1, 1)).tolist()
    [[3.0]]
    """
    need_sequence(output, "max_membrane")
    return output.max(dim=0).values


def last_membrane(output: Tensor) -> Tensor:
    """The last step, ``[T, B, ...] -> [B, ...]``, T at least 1.

    >>> last_membrane(Tensor([1, 3, 2]).view(3, 1, 1)).tolist()
    [[2.0]]
    """
    need_sequence(output, "last_membrane")
    return output[-1]


def softmax_sum(output: Tensor) -> Tensor:
    """Sum over time of the softmax over classes, ``[T, B, C] -> [B, C]``.

    Each step has one vote, however high its membranes: Bittar & Garner 2022, "A surrogate gradient spiking baseline
    for speech command recognition".

    >>> softmax_sum(Tensor([[[0.0, 0.0]], [[90.0, 0.0]]])).tolist()
    [[1.5, 0.5]]
    """
    return output.softmax(-1).sum(0)
