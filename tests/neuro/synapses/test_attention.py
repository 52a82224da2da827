"""Attention of spikes: the sums of the papers, whichever way they are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError


def spikes(tokens: int, features: int = 12, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(tokens)
    q, k, v = (torch.rand(3, 3, 2, features, tokens, generator=g) < 0.4).to(dtype)
    return q, k, v


@pytest.mark.parametrize("tokens", [1, 4, 5, 100])
@pytest.mark.parametrize("heads", [1, 3, 12])
def test_both_orders_of_the_sum_are_the_same_bits(tokens: int, heads: int) -> None:
    q, k, v = spikes(tokens)
    parts = [t.unflatten(2, (heads, -1)) for t in (q, k, v)]
    by_tokens = torch.einsum("tbhei,tbhej,tbhdj->tbhdi", *parts).flatten(2, 3) * 0.125
    attention = torch.einsum("tbhei,tbhej->tbhij", *parts[:2])
    assert torch.equal(neuro.SSA(heads)(q, k, v), by_tokens)
    assert torch.equal(
        neuro.SSA(heads)(q, k, v), torch.einsum("tbhij,tbhdj->tbhdi", attention, parts[2]).flatten(2, 3) / 8
    )


def test_one_value_of_it_by_hand() -> None:
    q, k, v = spikes(6)
    y = neuro.SSA(3, scale=0.5)(q, k, v)
    same_head = range(8, 12)  # feature 9 of 12 is in the last of three heads
    place = int(y[2, 1, 9].argmax())
    wanted = sum(float(v[2, 1, 9, j] * k[2, 1, e, j] * q[2, 1, e, place]) for j in range(6) for e in same_head)
    assert float(y[2, 1, 9, place]) == 0.5 * wanted
    assert wanted > 0


@pytest.mark.parametrize("tokens", [2, 9])
def test_gradients_by_finite_differences(tokens: int) -> None:
    g = torch.Generator().manual_seed(1)
    q, k, v = torch.randn(3, 1, 2, 6, tokens, generator=g, dtype=torch.float64).requires_grad_().unbind()
    assert torch.autograd.gradcheck(neuro.SSA(2), (q, k, v))
    assert torch.autograd.gradcheck(neuro.KeyValueSum(), (k, v))
    assert torch.autograd.gradcheck(neuro.TokenMask(), (q, v.sum(3)))


def test_sums_and_masks() -> None:
    q, k, v = spikes(7)
    kv = neuro.KeyValueSum()(k, v)
    assert torch.equal(kv, torch.einsum("tbdl,tbdl->tbd", k, v))
    masked = neuro.TokenMask()(q, (kv > 1).float())
    assert torch.equal(masked, torch.where((kv > 1).unsqueeze(3), q, 0))
    assert 0 < float(masked.mean()) < float(q.mean())


def test_tokens_go_row_by_row() -> None:
    x = torch.arange(12.0).view(1, 1, 2, 2, 3)
    assert neuro.Tokens()(x)[0, 0].tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]


def test_in_a_graph_that_is_saved(tmp_path: Path) -> None:
    nodes = {"tokens": neuro.Tokens(), "sum": neuro.KeyValueSum(), "mask": neuro.TokenMask(), "all": neuro.SSA(2)}
    edges = [("input", "tokens"), ("tokens", "sum"), ("tokens", "sum"), ("tokens", "mask"), ("sum", "mask")]
    edges += [("mask", "all"), ("tokens", "all"), ("tokens", "all"), ("all", "output")]
    net = neuro.Graph(nodes, edges)
    x = spikes(6)[0].unflatten(3, (2, 3))
    y, _ = net(x)
    flat = x.flatten(3)
    assert torch.equal(y, neuro.SSA(2)(flat * flat.sum(3, keepdim=True), flat, flat))
    assert torch.equal(neuro.load(neuro.save(net, tmp_path / "net.safetensors"))(x)[0], y)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: neuro.SSA(0), "heads must be a whole number"),
        (lambda: neuro.SSA(5)(*spikes(4)), "5 heads, which do not divide 12 features"),
        (lambda: neuro.SSA(1)(*spikes(4)[:2]), "takes q k v of one shape"),
        (lambda: neuro.SSA(1)(*spikes(4)[:2], spikes(5)[0]), r"takes q k v of one shape \[T, B, D, L\]"),
        (lambda: neuro.KeyValueSum()(torch.ones(1, 1, 2), torch.ones(1, 1, 2)), "takes k v of one shape"),
        (lambda: neuro.TokenMask()(*spikes(4)[:2]), "takes q .* and z"),
        (lambda: neuro.Tokens()(torch.ones(1, 1, 2)), "with axes of space"),
    ],
)
def test_what_does_not_fit_is_named(make: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()
