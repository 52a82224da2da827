"""Changes telescope: what was sent adds up to the signal."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

import neuro
from neuro.errors import InputError
from neuro.kernels.compiler.route import Route


def walk(*shape: int) -> torch.Tensor:
    """A signal that drifts slowly."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64).mul(0.05).cumsum(0)


def test_what_was_sent_is_the_signal_within_half_a_threshold() -> None:
    x = walk(2000, 3, 4)
    y, (q,) = neuro.Delta(4, 0.1).double()(x)
    sum_ = y.cumsum(0)
    assert float((sum_ - x).abs().max()) <= 0.05 + 1e-9
    assert torch.allclose(sum_[-1], q, atol=1e-10)
    assert 0.1 < float((y != 0).double().mean()) < 0.6
    assert float((neuro.Delta(4, 0.4).double()(x)[0] != 0).double().mean()) < 0.2


def test_sums_behind_weights_are_those_of_the_signal() -> None:
    delta, linear, sigma = neuro.Delta(4, 0.125), neuro.Linear(4, 3, bias=False), neuro.Sigma(3)
    net = neuro.Sequential(delta, linear, sigma).double()
    x = walk(300, 2, 4)
    expected = (x / 0.125).round() * 0.125 @ linear.weight.t()
    assert torch.allclose(net(x)[0], expected, atol=1e-11)


def test_gradient_passes_the_rounding() -> None:
    layer = neuro.Delta(4, 0.3, learn=True).double()
    x = walk(20, 2, 4).requires_grad_()
    y, _ = layer(x)
    pull = torch.rand_like(y)
    (y.cumsum(0) * pull).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, pull)
    assert layer.log_threshold.grad is not None
    scaled = x.detach() / layer.threshold.detach()
    wanted = (pull * (scaled.round() - scaled)).sum() * layer.threshold.detach()
    assert float(layer.log_threshold.grad) == pytest.approx(float(wanted), rel=1e-9)


def test_a_cut_in_time_leaves_the_signal_of_the_step() -> None:
    x = walk(5, 1, 2).requires_grad_()
    y, _ = neuro.Delta(2, 0.3).double()(x, route=Route(cut_time=True))
    pull = torch.rand_like(y)
    (y * pull).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, pull)


@pytest.mark.parametrize("learn", [True, False])
def test_pieces_steps_batches_copies_and_files(learn: bool, tmp_path: Path) -> None:
    net = neuro.Sequential(neuro.Delta((2, 3), 0.2, learn=learn, dt=2e-3), neuro.Flatten(), neuro.Linear(6, 2))
    x = walk(15, 3, 2, 3).float()
    whole, (after, *_) = net(x)
    for cut in (0, 1, 7, 15):
        first, state = net(x[:cut])
        second, (end, *_) = net(x[cut:], state)
        assert torch.equal(torch.cat([first, second]), whole)
        assert end is not None
        assert after is not None
        assert torch.equal(end[0], after[0])
    state = net.initial_state(3)
    for t in range(15):
        y, state = net.step(x[t], state)
        assert torch.equal(y, whole[t])
    assert torch.equal(net(x[:, [2, 0, 1]])[0], whole[:, [2, 0, 1]])
    for other in (copy.deepcopy(net), neuro.load(neuro.save(net, tmp_path / "net.safetensors"))):
        assert torch.equal(other(x)[0], whole)
        assert repr(other) == repr(net)


def test_mistakes_are_named() -> None:
    for make, message in (
        (lambda: neuro.Delta(3, 0.0), "threshold must be a positive number"),
        (lambda: neuro.Delta(3, dt=-1.0), "dt must be a positive number"),
        (lambda: neuro.Delta((3, 0)), "size must be positive integers"),
        (lambda: neuro.Delta(3)(torch.zeros(4, 2, 2)), "time first"),
        (lambda: neuro.Delta(3)(torch.zeros(4, 2, 3), (torch.zeros(1, 3),)), r"state must be \[2, 3\]"),
    ):
        with pytest.raises(InputError, match=message):
            make()
