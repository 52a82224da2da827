"""Batches of a split, time first, in an order that depends on nothing but seed and epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from neuro.errors import InputError

__all__ = ["Batch", "Batches", "Splits", "batches", "epoch_seed", "sample_order"]

_HELD_BYTES = 2**31
"""A split larger than this is read sample by sample, as it is needed."""

Batch = tuple[Tensor, ...]
"""x ``[T, B, ...]`` and y ``[B]`` int64; with lengths ``[B]`` int64 where samples differ in theirs."""


class Splits(Protocol):
    """Named parts of a data set; :class:`neuro.datasets.Splits` is one.

    Each part has a length and yields (frames ``[T, ...]``, class number).
    """

    @property
    def name(self) -> str:
        """Name of the data set."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class."""
        ...

    @property
    def train(self) -> Any:
        """What weights learn from."""
        ...

    @property
    def validation(self) -> Any:
        """What chooses the epoch."""
        ...

    @property
    def test(self) -> Any:
        """What only an evaluation reads."""
        ...


def epoch_seed(seed: int, epoch: int) -> int:
    """A 32-bit seed that differs between epochs and between runs.

    >>> epoch_seed(0, 1) == epoch_seed(0, 1) != epoch_seed(1, 0)
    True
    """
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def sample_order(samples: int, seed: int, epoch: int) -> Tensor:
    """The order of ``samples`` in an epoch, ``[samples]`` int64: a pure function of its arguments.

    >>> sorted(sample_order(5, seed=0, epoch=3).tolist())
    [0, 1, 2, 3, 4]
    """
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
    return torch.randperm(samples, generator=generator)


class Batches:
    """A split held in memory, handed out as batches ``([T, B, ...], [B])``.

    Args:
        x: ``[T, S, ...]``.
        y: ``[S]``.
        batch_size: samples a batch; the last one may be smaller.
        order: called at the start of every pass for the order of the samples.
        chosen: which of the samples of a batch are handed out.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        batch_size: int,
        order: Callable[[], Tensor],
        chosen: Callable[[Tensor], Tensor] = lambda index: index,
    ) -> None:
        self.x, self.y, self.batch_size, self.order, self.chosen = x, y, batch_size, order, chosen

    def __len__(self) -> int:
        return math.ceil(len(self.y) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for whole in self.order().to(self.y.device).split(self.batch_size):
            index = self.chosen(whole)
            # index_select copies the whole of a tensor that is not laid out plainly, a picture shown for T steps say.
            x = self.x.index_select(1, index) if self.x.is_contiguous() else self.x[:, index]
            yield x, self.y.index_select(0, index)


class _IndexBatches:
    """The same order, as lists of indices for a DataLoader."""

    def __init__(
        self, batch_size: int, order: Callable[[], Tensor], samples: int, chosen: Callable[[Tensor], Tensor]
    ) -> None:
        self.batch_size, self.order, self.samples, self.chosen = batch_size, order, samples, chosen

    def __len__(self) -> int:
        return math.ceil(self.samples / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for index in self.order().split(self.batch_size):
            yield self.chosen(index).tolist()


def batches(
    dataset: Any,
    batch_size: int,
    *,
    seed: int | None = None,
    epoch: Callable[[], int] = lambda: 0,
    workers: int = 0,
    like: Tensor | None = None,
    chosen: Callable[[Tensor], Tensor] = lambda index: index,
) -> Batches | DataLoader[Batch]:
    """Batches of ``dataset``, stacked time first.

    Args:
        dataset: yields (frames ``[T, ...]``, class); samples of different T are padded with zeros. One with a method ``tensors()`` ->
            (``[T, S, ...]``, ``[S]``) is read once and held in memory if it takes no more than
            2 GiB (as its ``nbytes`` says, if it has that); any other goes through a DataLoader.
        batch_size: samples a batch.
        seed: None keeps the order of the dataset.
        epoch: asked for the number of the epoch at the start of each pass.
        workers: loading processes, for a dataset that is not held in memory.
        like: a tensor whose dtype and device held data takes.
        chosen: which of the samples ``[B]`` of a batch are handed out, for processes that share it; all unless given.

    Raises:
        InputError: the dataset is empty or batch_size is not a positive whole number.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size={batch_size!r} must be a whole number, at least 1")
    samples = len(dataset)
    if samples == 0:
        raise InputError("the split holds no sample; nothing can be learned or measured on it")

    def order() -> Tensor:
        return torch.arange(samples) if seed is None else sample_order(samples, seed, epoch())

    if callable(getattr(dataset, "tensors", None)) and _size(dataset) <= _HELD_BYTES:
        x, y = dataset.tensors()
        if like is not None:
            x, y = _moved(x, like), y.to(like.device)
        return Batches(x, y, batch_size, order, chosen)
    return DataLoader(
        dataset,
        batch_sampler=_IndexBatches(batch_size, order, samples, chosen),
        num_workers=workers,
        collate_fn=_time_first,
        persistent_workers=workers > 0,
    )


def _moved(x: Tensor, like: Tensor) -> Tensor:
    """``x`` with the dtype and device of ``like``; what is the same in every step is copied once."""
    return x.to(like) if x.stride(0) else x[:1].to(like).expand_as(x)


def _size(dataset: Any) -> int:
    if (told := getattr(dataset, "nbytes", None)) is not None:
        return int(told)
    frames = torch.as_tensor(dataset[0][0])
    return len(dataset) * frames.numel() * frames.element_size()


def _time_first(samples: Sequence[tuple[Any, Any]]) -> Batch:
    frames = [torch.as_tensor(frame) for frame, _ in samples]
    labels = torch.tensor([int(label) for _, label in samples])
    lengths = torch.tensor([len(frame) for frame in frames])
    if bool((lengths == lengths[0]).all()):
        return torch.stack(frames, dim=1), labels
    return pad_sequence(frames), labels, lengths
