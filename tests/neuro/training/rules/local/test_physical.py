from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neuro
from neuro.errors import InputError
from neuro.training.losses import mean_membrane
from neuro.training.rules.local import PhysicalForwardForward

T, I, C = 8, 20, 3


class Board(nn.Module):
    """What can only be measured: numpy, noise, a gain that drifts, no gradient."""

    def __init__(self, *, noise: float) -> None:
        super().__init__()
        self.noise, self.gain = noise, 1.0

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, N]`` to ``[T, B, N]``."""
        seen = x.detach().numpy()
        made = torch.from_numpy(abs(self.gain * seen)).clamp(max=4).tanh()
        return made + self.noise * torch.randn_like(made)


def clusters(samples: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(samples)
    y = torch.randint(C, (samples,), generator=draw)
    centres = torch.rand(C, I, generator=torch.Generator().manual_seed(0))
    pictures = (centres[y] + 0.2 * torch.randn(samples, I, generator=draw)).clamp(0, 1)
    pictures[:, :C] = 0
    return pictures.expand(T, samples, I), y


def train(rule: PhysicalForwardForward, net: neuro.Sequential, rounds: int = 150) -> tuple[float, float]:
    """Accuracy of the readout and of the goodness on samples not learned from."""
    x, y = clusters(120)
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(rounds):
        optimizer.zero_grad()
        rule.backward(net, x, y, mean_membrane)
        optimizer.step()
    x, y = clusters(200)
    head = mean_membrane.logits(net(x)[0]).argmax(1)
    return float((head == y).float().mean()), float((rule.predict(net, x) == y).float().mean())


def test_physical_layers_need_no_model_and_recover_from_drift() -> None:
    def build(noise: float) -> neuro.Sequential:
        torch.manual_seed(2)
        return neuro.Sequential(
            neuro.Linear(I, 40), Board(noise=noise), neuro.Linear(40, 40), Board(noise=noise), neuro.Linear(40, C)
        )

    rule = PhysicalForwardForward(0.5, 4.0)
    noisy, quiet = build(0.05), build(0.0)
    head, _ = train(rule, noisy)
    assert head > train(rule, quiet)[0] - 0.03
    for name in ("1", "3"):
        board: Any = noisy.layers[name]
        board.gain = 0.6
    x, y = clusters(200)
    drifted = float((mean_membrane.logits(noisy(x)[0]).argmax(1) == y).float().mean())
    recovered, _ = train(rule, noisy, rounds=100)
    assert recovered >= drifted
    assert recovered > head - 0.15


def test_networks_it_cannot_train() -> None:
    x, y = clusters(4)
    first = neuro.Sequential(Board(noise=0.0), neuro.Linear(I, C))
    with pytest.raises(InputError, match=r"first layer must be one, got '0' \(Board\)"):
        PhysicalForwardForward().backward(first, x, y, mean_membrane)
    unread = neuro.Sequential(neuro.Linear(I, 4), Board(noise=0.0), neuro.Linear(4, C), Board(noise=0.0))
    with pytest.raises(InputError, match="needs a model of the readout"):
        PhysicalForwardForward().backward(unread, x, y, mean_membrane)
