from __future__ import annotations

import pytest
import torch

from neuro.errors import InputError
from neuro.training.metrics import accuracy, confusion_matrix


def test_accuracy_and_confusion() -> None:
    y = torch.tensor([0, 0, 1, 3, 3, 3])
    predicted = torch.tensor([0, 1, 1, 3, 0, 3])
    assert accuracy(predicted, y) == 4 / 6
    expected = [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 2]]
    counts = confusion_matrix(predicted, y, 4)
    assert counts.tolist() == expected
    assert counts.dtype == torch.int64


@pytest.mark.parametrize("shapes", [((3,), (4,)), ((0,), (0,)), ((2, 2), (2, 2))])
def test_pairs_that_do_not_fit(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    predicted, y = (torch.zeros(shape, dtype=torch.int64) for shape in shapes)
    for measure in (accuracy, lambda p, t: confusion_matrix(p, t, 2)):
        with pytest.raises(InputError, match="shape"):
            measure(predicted, y)


@pytest.mark.parametrize("bad", [-1, 3])
def test_classes_out_of_range(bad: int) -> None:
    with pytest.raises(InputError, match="classes=3"):
        confusion_matrix(torch.tensor([0, bad]), torch.tensor([0, 1]), 3)
