"""The Numba loops of liquid time-constant cells: sums do not depend on lanes that hold no sample."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from neuro.kernels.engines.logistic_numba import LANES
from neuro.kernels.liquid.ltc_numba import backward, forward


@pytest.mark.parametrize("batch", [1, LANES - 1, LANES, LANES + 1])
def test_gradients_of_a_batch_are_the_sums_over_its_samples(batch: int, problems: Any) -> None:
    tensors, *reaches = problems.ltc((3, batch, 2, 5, 0.7))
    given = (*(t.detach() for t in tensors), *reaches[0], *reaches[1])
    out = forward(given, 3)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(3), dtype=out.dtype)
    whole = backward(given, 3, out, grad)
    single = []
    for b in range(batch):
        one = (given[0][:, b : b + 1], given[1][b : b + 1], given[2][:, b : b + 1], *given[3:])
        assert torch.equal(forward(one, 3), out[:, b : b + 1])
        single.append(backward(one, 3, out[:, b : b + 1], grad[:, b : b + 1]))
    assert torch.equal(torch.cat([s[0] for s in single], 1), whole[0])
    assert torch.equal(torch.cat([s[1] for s in single], 0), whole[1])
    for k in (2, 3, 4):
        assert problems.near(torch.stack([s[k] for s in single]).sum(0), whole[k], 1e-13)


def test_arguments_are_left_alone(problems: Any) -> None:
    tensors, *reaches = problems.ltc((2, 3, 2, 5, 0.7))
    given = (*(t.detach() for t in tensors), *reaches[0], *reaches[1])
    before = [t.clone() for t in given]
    out = forward(given, 2)
    kept = out.clone()
    backward(given, 2, out, torch.ones_like(out))
    assert all(torch.equal(a, b) for a, b in zip(given, before, strict=True))
    assert torch.equal(out, kept)
