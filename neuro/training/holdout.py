"""A validation split for data that have none."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from neuro.errors import InputError
from neuro.training.batches import sample_order

__all__ = ["HeldOut", "Subset", "hold_out", "with_validation"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Subset:
    """Some samples of a data set.

    Args:
        whole: yields (frames ``[T, ...]``, class).
        indices: ``[S]`` int64, which of its samples.
    """

    whole: Any = field(repr=False)
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> Any:
        return self.whole[int(self.indices[i])]

    def __getattr__(self, name: str) -> Any:
        if name != "tensors" or not callable(getattr(self.whole, "tensors", None)):
            raise AttributeError(name)
        return self._tensors

    def _tensors(self) -> tuple[Tensor, Tensor]:
        x, y = self.whole.tensors()
        chosen = (
            x.index_select(1, self.indices)
            if x.stride(0)
            else x[:1].index_select(1, self.indices).expand(len(x), -1, *x.shape[2:])
        )
        return chosen, y.index_select(0, self.indices)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Splits whose validation part was taken from the training part.

    Args:
        name: of the data set, with what was held out.
        train, validation, test: as in :class:`neuro.datasets.Splits`.
        classes: name of each class.
    """

    name: str
    train: Any
    validation: Any
    test: Any
    classes: tuple[str, ...]


def hold_out(data: Any, share: float = 0.1, seed: int = 0) -> HeldOut:
    """The same data with a part of the training split for validation; the same part for the same seed.

    Args:
        data: with ``name``, ``train``, ``test`` and ``classes``.
        share: of the training samples, above 0 and below 1.
        seed: of the shuffle.

    Raises:
        InputError: a share that leaves one of the parts empty.
    """
    samples = len(data.train)
    held = round(share * samples)
    if not 0 < held < samples:
        raise InputError(
            f"holding out {share!r} of {samples} training samples leaves one part empty; give another share"
        )
    order = sample_order(samples, seed, epoch=0)
    kept, validation = (part.sort().values for part in (order[held:], order[:held]))
    return HeldOut(
        name=f"{data.name} (validation: {held:,} of {samples:,} training samples held out, seed {seed})",
        train=Subset(data.train, kept),
        validation=Subset(data.train, validation),
        test=getattr(data, "test", None),
        classes=tuple(data.classes),
    )


def with_validation(data: Any) -> Any:
    """``data``, or, if it has no validation split, what :func:`hold_out` makes of it; the log says so."""
    validation = getattr(data, "validation", None)
    if validation is not None and len(validation):
        return data
    made = hold_out(data)
    _log.warning(
        "%s has no validation split: the epoch is chosen on %d of its %d training samples, held out by seed 0 "
        "(neuro.training.holdout.hold_out takes another share)",
        data.name,
        len(made.validation),
        len(data.train),
    )
    return made
