"""One table on both sides: one parameter, one gradient, once in the file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.network import Network, Tied
from neuro.synapses import Embedding

TOKENS = torch.randint(0, 9, (12, 3), generator=torch.Generator().manual_seed(0))


def network() -> Tied:
    torch.manual_seed(1)
    body = neuro.Sequential(neuro.EGRU(4, 6, threshold=0.1), neuro.EGRU(6, 4, threshold=0.1))
    made = Tied({"embedding": Embedding(9, 4, scale=1.0), "body": body})
    with torch.no_grad():
        made.bias.uniform_()
    return made


def test_logits_are_products_with_the_table() -> None:
    net = network()
    logits, _ = net(TOKENS)
    table, body = net.layers["embedding"].weight, net.layers["body"]
    assert isinstance(table, torch.Tensor)
    assert torch.allclose(logits, body(table[TOKENS])[0] @ table.t() + net.bias)
    logits.square().sum().backward()
    names = [n for n, p in net.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert names == []
    assert sum(n.endswith("embedding.weight") for n, _ in net.named_parameters()) == 1


def test_pieces_are_the_whole() -> None:
    net = network()
    whole, last = net(TOKENS)
    first, state = net(TOKENS[:5])
    second, end = net(TOKENS[5:], state)
    assert torch.allclose(torch.cat([first, second]), whole, atol=1e-6)
    assert torch.allclose(end[1][0][0], last[1][0][0], atol=1e-6)
    step, _ = net.step(TOKENS[0], net.initial_state(3))
    assert torch.allclose(step, whole[0], atol=1e-6)


def test_files_and_copies_keep_it(tmp_path: Path) -> None:
    net = network()
    expected = net(TOKENS)[0]
    read = neuro.load(neuro.save(net, tmp_path / "net.safetensors"))
    assert isinstance(read, Tied)
    for other in (read, copy.deepcopy(net)):
        assert torch.equal(other(TOKENS)[0], expected)
    nested: Network = neuro.Sequential(net, neuro.Linear(9, 2))
    assert neuro.build(nested.definition()).definition() == nested.definition()


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ({"body": neuro.Sequential(neuro.LI(2))}, "takes layers 'embedding' .* got {'body': 'Sequential'}"),
        ({"embedding": neuro.Linear(2, 2), "body": neuro.Sequential(neuro.LI(2))}, "got {'embedding': 'Linear'"),
        ({"embedding": Embedding(3, 2), "body": neuro.LI(2)}, "takes a network .* as its body, got LI"),
    ],
)
def test_other_layers_are_refused(layers: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Tied(layers)
