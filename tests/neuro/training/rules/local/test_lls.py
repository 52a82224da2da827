from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError
from neuro.training.losses import mean_membrane
from neuro.training.rules.local import LLS, TESS, LLSMatrix, LLSModulated
from neuro.training.rules.local.three_factor import Seen

T, B, I, H, C = 13, 5, 9, 14, 4


def network() -> neuro.Sequential:
    torch.manual_seed(3)
    surrogate = neuro.Surrogate("triangle", width=0.6)
    cell = neuro.LIF(H, tau=4e-3, reset="subtract", learn=(), surrogate=surrogate)
    return neuro.Sequential(neuro.Linear(I, H), cell, neuro.Linear(H, C), neuro.LI(C, tau=3e-3, learn=())).double()


def batch() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    x = 40 * (torch.rand(T, B, I, generator=draw) < 0.4).double()
    return x, torch.randint(C, (B,), generator=draw)


@pytest.mark.parametrize("kind", [LLSModulated, LLSMatrix])
def test_what_learns_beside_the_network_is_prepared_first(kind: type[LLSModulated]) -> None:
    net, (x, y) = network(), batch()
    with pytest.raises(InputError, match=r"rule\.prepare"):
        kind().backward(net, x, y, mean_membrane)
    rule = kind().prepare(net)
    assert repr(rule) == repr(kind())
    assert rule.auxiliary is not None
    rule.backward(net, x, y, mean_membrane)
    (own,) = rule.auxiliary.parameters()
    assert own.dtype == torch.float64
    assert own.grad is not None
    assert bool(own.grad.any())
    assert kind().auxiliary is None
    assert LLS().prepare(net) == LLS()


def test_the_update_is_blind_to_how_many_neurons_spike() -> None:
    """The signal is orthogonal to the spikes: longer vectors of the same direction are no better."""
    net, (x, y) = network(), batch()
    seen = []

    class Watched(LLS):
        def modulator(self, given: Seen) -> tuple[Tensor, Any]:
            made = super().modulator(given)
            seen.append((made[0] * given.post).sum(2))
            assert bool(made[0].any())
            return made

    Watched().backward(net, x, y, mean_membrane)
    assert float(torch.cat(seen).abs().max()) < 1e-12


def test_tess_is_feed_forward() -> None:
    net = neuro.Sequential(neuro.Linear(I, H), neuro.Recurrent(neuro.LIF(H)), neuro.Linear(H, C))
    with pytest.raises(InputError, match=r"'1'.* recurrent; use LLS"):
        TESS().backward(net, batch()[0].float(), batch()[1], mean_membrane)


@dataclass(frozen=True)
class Held:
    """Samples held in memory."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.x[:, i], int(self.y[i])


@dataclass(frozen=True)
class Data:
    """One split for everything."""

    train: Held
    name: str = "held"
    classes: tuple[str, ...] = ("a", "b", "c", "d")

    @property
    def validation(self) -> Held:
        return self.train

    @property
    def test(self) -> Held:
        return self.train


def test_what_the_rule_learns_survives_a_resume(tmp_path: Path) -> None:
    data, kept = Data(Held(*batch())), []
    for folder, parts in ((tmp_path / "whole", (3,)), (tmp_path / "parts", (1, 3))):
        net = network()
        for number, epochs in enumerate(parts):
            neuro.fit(
                net, data, LLSMatrix(), "mean_membrane", epochs=epochs, batch_size=2, schedule="constant",
                calibrated=True, output=folder, resume=number > 0, progress=False,
            )  # fmt: skip
        state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        kept.append(state)
    assert kept[0].keys() == kept[1].keys()
    assert not torch.equal(kept[0]["auxiliary.layer_1"], LLSMatrix().prepare(network()).auxiliary["layer_1"])  # type: ignore[index]
    for name, value in kept[0].items():
        assert torch.equal(value, kept[1][name]), name


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: LLS("cosines"), "did you mean 'cosine'"),
        (lambda: LLS(temperature=0.0), r"temperature=0.0 must be above 0"),
        (lambda: TESS(pre_decay=1.0), r"pre_decay=1.0 must be at least 0, below 1"),
    ],
)
def test_options_out_of_range(make: Callable[[], object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        make()
