"""How good predictions are."""

from __future__ import annotations

import torch
from torch import Tensor

from neuro.errors import InputError

__all__ = ["accuracy", "confusion_matrix"]


def accuracy(predicted: Tensor, y: Tensor) -> float:
    """Share of right predictions; both ``[S]`` class numbers.

    >>> accuracy(torch.tensor([2, 0, 1]), torch.tensor([2, 0, 0]))
    0.6666666666666666

    Raises:
        InputError: shapes differ or there is no sample.
    """
    _check_pair(predicted, y)
    return int((predicted == y).sum()) / len(y)


def confusion_matrix(predicted: Tensor, y: Tensor, classes: int) -> Tensor:
    """Counts ``[classes, classes]`` int64: row = true class, column = predicted class.

    >>> confusion_matrix(torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0]), 2).tolist()
    [[1, 1], [0, 1]]

    Raises:
        InputError: shapes differ, there is no sample, or a class number is out of range.
    """
    _check_pair(predicted, y)
    both = torch.stack([predicted, y])
    if int(both.min()) < 0 or int(both.max()) >= classes:
        raise InputError(f"class numbers run from {int(both.min())} to {int(both.max())}, but classes={classes}")
    return torch.bincount(y * classes + predicted, minlength=classes * classes).view(classes, classes)


def _check_pair(predicted: Tensor, y: Tensor) -> None:
    if predicted.shape != y.shape or y.ndim != 1 or len(y) == 0:
        raise InputError(
            f"predicted has shape {list(predicted.shape)}, y {list(y.shape)}; both must be the same non-empty [S]"
        )
