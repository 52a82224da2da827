"""One training run in several processes, each with its share of every batch.

A rule writes ``.grad``, so all that processes have to agree on is the gradient: it is averaged over the samples of the whole
batch before the optimizer spends it, and every process takes the same step. Lightning starts the processes and
``torch.distributed`` (gloo, nccl) carries the sums.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["average_gradients", "own_samples", "rank", "share", "started_as_first", "total", "world_size"]


def started_as_first() -> bool:
    """Whether this process may write files: the launcher numbers those of a run from 0, before they can talk."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0 and int(os.environ.get("RANK", "0")) == 0


def world_size() -> int:
    """How many processes train together; 1 outside of such a run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def own_samples(samples: int) -> int:
    """How many of the ``samples`` of a batch are this process's own; 0 if there are fewer than processes.

    >>> own_samples(3)
    3
    """
    return len(range(rank(), samples, world_size()))


def share(index: Tensor) -> Tensor:
    """The samples ``[B]`` of a batch that this process runs: every ``world_size()``-th, from its rank on.

    A process without a sample of its own runs the first one, for which :func:`own_samples` counts 0.

    >>> share(torch.tensor([4, 7, 1])).tolist()
    [4, 7, 1]
    """
    return index[rank() :: world_size()] if own_samples(len(index)) else index[:1]


def average_gradients(parameters: Iterable[Tensor], samples: int) -> None:
    """Make every ``.grad`` the mean over the samples of all processes, each of which ran ``samples`` of them.

    A parameter without gradient counts as zero where another process has one.
    """
    if world_size() == 1:
        return
    learned = [p for p in parameters if p.requires_grad]
    reached = torch.tensor([p.grad is not None for p in learned] + [samples], dtype=torch.float64)
    reached = reached.to(learned[0].device)
    dist.all_reduce(reached)
    for parameter, seen in zip(learned, reached[:-1].tolist(), strict=True):
        if not seen:
            continue
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad * samples
        dist.all_reduce(gradient)
        parameter.grad = gradient / float(reached[-1])


def total(*values: float, like: Tensor) -> tuple[float, ...]:
    """Each value summed over the processes; ``like`` says on which device they talk."""
    if world_size() == 1:
        return values
    summed = torch.tensor(values, dtype=torch.float64, device=like.device)
    dist.all_reduce(summed)
    return tuple(summed.tolist())
