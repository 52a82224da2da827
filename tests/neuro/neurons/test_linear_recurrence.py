"""What the sign of an eigenvalue is worth: parity, by hand at any length and trained far beyond the lengths seen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro
from neuro.errors import InputError


def bits(time: int, batch: int, seed: int) -> tuple[Tensor, Tensor]:
    """Bits ``[T, B, 1]`` and the parity so far ``[T, B]``."""
    x = torch.randint(0, 2, (time, batch, 1), generator=torch.Generator().manual_seed(seed)).float()
    return x, (x.cumsum(0) % 2).squeeze(2)


@pytest.mark.parametrize(("time", "backend"), [(10, "numba"), (1000, "numba"), (50_000, "numba"), (1000, "reference")])
def test_set_by_hand_it_counts_modulo_two_at_any_length(time: int, backend: str) -> None:
    """``h[t] = (1 - 2 x) h[t-1] + x`` with gates that saturate to exactly 1 and -1."""
    layer = neuro.GatedLRU(1, 2, eigenvalues="signed")
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), (1.0, 0.0, -200.0, 100.0), strict=True):
            parameter.fill_(value)
    x, parity = bits(time, 3, seed=time)
    h, (end,) = layer(x, backend=backend)
    assert torch.equal(h, parity.unsqueeze(2).expand_as(h))
    assert torch.equal(end, h[-1])
    assert set(layer.gate(x).unique().tolist()) == {-1.0, 1.0}


def train(eigenvalues: str, seed: int) -> tuple[float, float]:
    """Trained on lengths 2 to 40: share right of all steps of length 40, of the last 216 of length 256."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    layer, read = neuro.GatedLRU(1, 8, eigenvalues=eigenvalues), nn.Linear(8, 2)
    fast = {"params": [layer.gate_weight, layer.gate_bias], "lr": 0.6}
    optimizer = torch.optim.Adam([fast, {"params": [layer.weight, layer.bias, *read.parameters()], "lr": 0.02}])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    for step in range(400):
        x, parity = bits(int(torch.randint(2, 41, (1,), generator=generator)), 64, seed=1000 * seed + step)
        loss = F.cross_entropy(read(layer(x)[0]).flatten(0, 1), parity.long().flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    shares = []
    for time, late in ((40, 0), (256, 40)):
        x, parity = bits(time, 200, seed=99)
        with torch.no_grad():
            right = read(layer(x)[0]).argmax(2) == parity
        shares.append(float(right[late:].float().mean()))
    return shares[0], shares[1]


def test_trained_on_forty_bits_signed_eigenvalues_count_to_256_and_positive_ones_guess() -> None:
    assert train("signed", seed=0) == (1.0, 1.0)
    short, far = train("positive", seed=0)
    assert short < 0.6
    assert 0.45 < far < 0.55


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_trained_it_counts_from_other_seeds_too(seed: int) -> None:
    assert train("signed", seed) == (1.0, 1.0)
    assert 0.45 < train("positive", seed)[1] < 0.55


def test_gates_stay_within_their_range() -> None:
    x = 100 * torch.randn(50, 4, 3, generator=torch.Generator().manual_seed(0))
    positive, signed = (neuro.GatedLRU(3, 6, eigenvalues=e).gate(x).detach() for e in ("positive", "signed"))
    assert float(positive.min()) >= 0
    assert float(positive.max()) <= 1
    assert -1 <= float(signed.min()) < -0.9
    assert float(signed.max()) <= 1


def test_a_block_is_its_parts() -> None:
    torch.manual_seed(0)
    block = neuro.LRUBlock(4, units=6, eigenvalues="signed").double()
    x = torch.randn(9, 2, 4, dtype=torch.float64)
    h = block.core(F.layer_norm(x, (4,)))[0]
    wanted = x + F.glu(F.linear(F.gelu(h), block.mix.weight, block.mix.bias), -1)
    assert torch.allclose(block(x)[0], wanted, rtol=1e-12, atol=1e-13)
    traced = block.trace(x)[2]
    assert torch.allclose(traced["h"], h)
    assert torch.equal(traced["gate"], block.core.gate(block.norm(x)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"inputs": 0}, "GatedLRU inputs must be an integer from 1 on, got 0"),
        ({"units": 2.5}, "GatedLRU units must be"),
        ({"dt": -1.0}, "GatedLRU dt must be a finite time above 0 s"),
        ({"eigenvalues": "negative"}, "unknown GatedLRU eigenvalues 'negative'"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        neuro.GatedLRU(**({"inputs": 3, "units": 4} | options))
