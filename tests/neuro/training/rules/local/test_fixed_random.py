from __future__ import annotations

import pytest
import torch

from neuro.errors import InputError
from neuro.training.rules.local.fixed_random import BASES, basis, uniform

LIKE = torch.zeros(1, dtype=torch.float64)


def test_matrices_are_functions_of_seed_and_name() -> None:
    torch.manual_seed(0)
    made = uniform(1, "2", 5, 600, LIKE)
    torch.manual_seed(9)
    assert torch.equal(made, uniform(1, "2", 5, 600, LIKE))
    for seed, name in ((2, "2"), (1, "3"), (12, "")):
        assert not torch.equal(made, uniform(seed, name, 5, 600, LIKE))
    assert float(made.abs().max()) <= 0.1
    assert float(made.std()) == pytest.approx(0.1 / 3**0.5, rel=0.05)
    assert torch.equal(made.float(), uniform(1, "2", 5, 600, LIKE.float()))


@pytest.mark.parametrize("features", [11, 64, 513])
def test_label_vectors_are_orthogonal(features: int) -> None:
    vectors = basis("cosine", 10, features, 0, "1", LIKE)
    assert torch.allclose(vectors @ vectors.t() / features, torch.eye(10, dtype=torch.float64), atol=1e-12)
    assert set(basis("square", 10, features, 0, "1", LIKE).unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("kind", BASES)
def test_classes_that_cannot_be_told_apart_are_refused(kind: str) -> None:
    with pytest.raises(InputError, match="layer '1' has 10 features for 10 classes"):
        basis(kind, 10, 10, 0, "1", LIKE)
