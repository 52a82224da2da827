"""The product of two factors, listed or dense; traces."""

from __future__ import annotations

import pytest
import torch

from neuro.errors import InputError
from neuro.kernels.plasticity.outer import exponential_trace, gated_outer


@pytest.mark.parametrize("density", [0.0, 0.05, 0.6, 1.0])
@pytest.mark.parametrize("shape", [(7, 3, 63, 20), (1, 1, 1, 1), (0, 2, 3, 4), (5, 1, 100, 1)])
def test_equals_the_sum(shape: tuple[int, int, int, int], density: float) -> None:
    time, batch, inputs, outputs = shape
    post = torch.randn(time, batch, outputs, dtype=torch.float64)
    pre = torch.randn(time, batch, inputs, dtype=torch.float64) * (torch.rand(time, batch, inputs) < density)
    assert torch.allclose(gated_outer(post, pre), torch.einsum("tbo,tbi->oi", post, pre), atol=1e-12)


def test_trace_in_pieces() -> None:
    x = torch.rand(9, 2, 5, dtype=torch.float64)
    whole, end = exponential_trace(x, 0.8)
    assert whole[6, 1, 2].item() == pytest.approx(sum(0.8 ** (6 - t) * x[t, 1, 2].item() for t in range(7)))
    first, state = exponential_trace(x[:4], 0.8)
    second, last = exponential_trace(x[4:], 0.8, state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(last, end)
    assert torch.equal(exponential_trace(x[:0], 0.8, state)[1], state)


def test_bad_input_is_named() -> None:
    x = torch.zeros(3, 2, 4)
    with pytest.raises(InputError, match=r"must be \[T, B, O\] and \[T, B, I\]"):
        gated_outer(x, x[1:])
    with pytest.raises(InputError, match=r"post must be torch.float32 on cpu"):
        gated_outer(x.double(), x)
    with pytest.raises(InputError, match=r"decay must be in 0..1, got 1.5"):
        exponential_trace(x, 1.5)
    with pytest.raises(InputError, match=r"state \[B, N\]"):
        exponential_trace(x, 0.5, x)
