"""The EGRU language model runs, learns a tiny text, and has the parameters of its parts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import neuro
from neuro.architectures import egru_language_model
from neuro.errors import InputError

TEXT = "the cat sat on the mat and the rat sat on the cat. " * 8


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("tokens", "features", "units", "layers"), [(50, 12, 20, 3), (9, 4, 7, 1)])
def test_parameters_are_those_of_a_tied_gru_model_and_its_thresholds(
    tokens: int, features: int, units: int, layers: int
) -> None:
    net = egru_language_model(tokens, features, units, layers)
    sizes = [features, *[units] * (layers - 1), features]
    grus = sum(parameters(torch.nn.GRU(a, b)) + b for a, b in pairwise(sizes))
    assert parameters(net) == tokens * features + tokens + grus


def test_the_model_of_penn_treebank_has_31_7_million_parameters_and_as_its_options_say() -> None:
    sizes = [(750, 1350), (1350, 1350), (1350, 750)]
    weights = sum(3 * n * (i + n) + 6 * n + n for i, n in sizes)
    embedding = 10_000 * 750 + 10_000
    assert weights == 24_189_150
    net = egru_language_model(100)
    assert parameters(net) - 100 * 751 + embedding == weights + embedding == 31_699_150
    cells = [m for m in net.modules() if isinstance(m, neuro.EGRU)]
    assert [(m.inputs, m.units) for m in cells] == sizes
    assert {m.dropconnect for m in cells} == {0.7}
    assert {round(1 / m.surrogate.width, 6) for m in cells} == {3.6}
    assert all(float(m.v_threshold.detach().mean()) < 0.03 for m in cells)


def test_it_learns_a_tiny_text() -> None:
    torch.manual_seed(0)
    letters = sorted(set(TEXT))
    tokens = torch.tensor([letters.index(c) for c in TEXT]).view(8, -1).t()
    off: Any = {"dropconnect": 0.1, "word_dropout": 0.0, "embedding_dropout": 0.0, "layer_dropout": 0.0}
    net = egru_language_model(len(letters), 24, 32, 2, output_dropout=0.05, **off)
    optimizer = torch.optim.AdamW(net.parameters(), 2e-2)

    def text_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(output.flatten(0, 1), target.flatten())

    losses = []
    for _ in range(80):
        optimizer.zero_grad()
        made = neuro.rules.BPTT(cut_reset=False).backward(net, tokens[:-1], tokens[1:], text_loss)
        optimizer.step()
        losses.append(float(made.loss))
    assert losses[0] == pytest.approx(torch.tensor(float(len(letters))).log().item(), abs=0.3)
    assert losses[-1] < 0.5 * losses[0]
    net.eval()
    y = neuro.record(net, tokens)
    activity = [float((v["z"] != 0).float().mean()) for v in y.values()]
    assert len(activity) == 2
    assert all(0.02 < share < 0.95 for share in activity)


def test_a_text_token_by_token_is_the_whole_and_files_keep_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = egru_language_model(20, 6, 10, 2).eval()
    tokens = torch.randint(0, 20, (9, 2))
    whole, _ = net(tokens)
    read, state = neuro.load(neuro.save(net, tmp_path / "net.safetensors")).eval(), None
    for now, wanted in zip(tokens, whole, strict=True):
        logits, state = read.step(now, state)
        assert torch.allclose(logits, wanted, atol=1e-6)


def test_bad_sizes_are_named() -> None:
    with pytest.raises(InputError, match="egru_language_model units must be a whole number from 1 on, got 0"):
        egru_language_model(10, 4, 0)
    with pytest.raises(InputError, match="p must be from 0 to below 1, got 1"):
        egru_language_model(10, 4, 5, word_dropout=1.0)
