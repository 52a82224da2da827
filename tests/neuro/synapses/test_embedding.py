"""An embedding looks tokens up, leaves whole tokens out in training, and names what it does not know."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from neuro.errors import InputError
from neuro.synapses import SYNAPSES, Embedding

TOKENS = torch.tensor([[3, 0], [7, 3], [3, 9]])


def test_rows_of_the_table() -> None:
    layer = Embedding(10, 4, scale=0.5)
    y = layer(TOKENS)
    assert torch.equal(y[1, 0], layer.weight[7])
    assert y.shape == (3, 2, 4)
    assert 0.1 < float(layer.weight.detach().abs().max()) <= 0.5
    y.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad[:, 0].tolist() == [1, 0, 0, 3, 0, 0, 0, 1, 0, 1]


def test_a_token_is_left_out_everywhere_or_nowhere() -> None:
    torch.manual_seed(0)
    layer = Embedding(1000, 3, p=0.3)
    x = torch.arange(1000).repeat(2, 2, 1).flatten(1)
    y = layer(x)
    ratio = (y / layer.weight[x]).detach()
    assert sorted({round(float(v), 3) for v in ratio.unique()}) == [0.0, pytest.approx(1 / 0.7, abs=1e-3)]
    assert torch.allclose(ratio[0, :1000], ratio[1, 1000:])
    assert float((ratio == 0).float().mean()) == pytest.approx(0.3, abs=0.05)
    assert torch.equal(layer.eval()(x), layer.weight[x])


def test_definition_builds_it_again() -> None:
    layer = Embedding(10, 4, p=0.3)
    again = SYNAPSES["Embedding"](**layer.definition())
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again.eval()(TOKENS), layer.eval()(TOKENS))
    assert repr(layer) == "Embedding(10, 4, p=0.3)"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tokens": 0}, "tokens must be a whole number from 1 on, got 0"),
        ({"features": 2.5}, "features must be a whole number"),
        ({"p": 1.0}, "p must be from 0 to below 1, got 1.0"),
        ({"scale": float("inf")}, "scale must be a finite number"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Embedding(**({"tokens": 10, "features": 4} | options))


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (TOKENS.float(), r"takes tokens \[T, B\] of whole numbers, got \(3, 2\) torch.float32"),
        (TOKENS[0], r"takes tokens \[T, B\]"),
        (TOKENS + 1, "knows tokens 0 to 9, got 1 to 10"),
        (TOKENS - 1, "got -1 to 8"),
    ],
)
def test_bad_tokens_are_named(x: torch.Tensor, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Embedding(10, 4)(x)
