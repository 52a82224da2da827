"""The layers of SpikeGPT: laws of layers with state, and the paper's sums."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import neuro
from neuro.errors import InputError
from neuro.kernels.compiler.route import Route

X = torch.randn(8, 3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
KINDS = (neuro.SRWKV, neuro.SRFFN)
each_kind = pytest.mark.parametrize("kind", KINDS)


def layer(kind: Any) -> Any:
    made = kind(6, depth=1, layers=3).double()
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.4 * torch.randn(p.shape, generator=g, dtype=p.dtype))
    return made


@each_kind
def test_a_sequence_is_its_steps_and_its_pieces(kind: Any) -> None:
    made = layer(kind)
    whole, end = made(X)
    state, steps = made.initial_state(3, dtype=torch.float64), []
    for x in X:
        y, state = made.step(x, state)
        steps.append(y)
    assert torch.allclose(torch.stack(steps), whole, rtol=1e-12, atol=1e-14)
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(state, end, strict=True))
    first, middle = made(X[:3])
    assert torch.allclose(torch.cat([first, made(X[3:], middle)[0]]), whole, rtol=1e-12, atol=1e-14)
    order = torch.tensor([2, 0, 1])
    assert torch.allclose(made(X[:, order])[0], whole[:, order], rtol=1e-12)
    nothing, same = made(X[:0], middle)
    assert nothing.shape == (0, 3, 6)
    assert all(torch.equal(a, b) for a, b in zip(same, middle, strict=True))


@each_kind
def test_everything_that_trains_has_a_gradient(kind: Any) -> None:
    made, x = layer(kind), X.clone().requires_grad_()
    made(x)[0].pow(2).sum().backward()
    assert [n for n, p in made.named_parameters() if p.grad is None or not p.grad.all()] == []
    y, state = made(X)
    assert y.requires_grad
    leaves = [X[:3, :1].clone().requires_grad_(), *(s[:1].detach().requires_grad_() for s in state)]
    assert torch.autograd.gradcheck(lambda x, *s: made(x, s)[0], leaves)


@each_kind
def test_without_time_only_the_token_itself_has_a_gradient(kind: Any) -> None:
    made, x = layer(kind), X.clone().requires_grad_()
    y, _ = made(x, route=Route(cut_time=True))
    assert torch.allclose(y, made(X)[0], rtol=1e-12)
    (grad,) = torch.autograd.grad(y[-1].sum(), x)
    assert not grad[:-1].any()
    assert grad[-1].all()


def test_srwkv_by_its_sums() -> None:
    made = layer(neuro.SRWKV)
    before = torch.cat([torch.zeros_like(X[:1]), X[:-1]])

    def mixed(mix: Tensor, weight: Tensor) -> Tensor:
        return (mix * X + (1 - mix) * before) @ weight.t()

    k, v = mixed(made.mix_key, made.key), mixed(made.mix_value, made.value)
    r, w, u = torch.sigmoid(mixed(made.mix_receptance, made.receptance)), -made.time_decay.exp(), made.time_first
    for t in range(8):
        weights = [(w * (t - 1 - i) + k[i]).exp() for i in range(t)] + [(u + k[t]).exp()]
        total = torch.stack([a * v[i] for i, a in enumerate(weights)]).sum(0) / torch.stack(weights).sum(0)
        assert torch.allclose(made(X)[0][t], (r[t] * total) @ made.output.t(), rtol=1e-10)


def test_srffn_by_its_sums() -> None:
    made = layer(neuro.SRFFN)
    before = torch.cat([torch.zeros_like(X[:1]), X[:-1]])
    key = (made.mix_key * X + (1 - made.mix_key) * before) @ made.key.t()
    receptance = (made.mix_receptance * X + (1 - made.mix_receptance) * before) @ made.receptance.t()
    wanted = torch.sigmoid(receptance) * ((key.clamp(min=0) ** 2) @ made.value.t())
    assert torch.allclose(made(X)[0], wanted, rtol=1e-11)


def test_initial_values_of_the_paper() -> None:
    first, last = neuro.SRWKV(7, depth=0, layers=4), neuro.SRWKV(7, depth=3, layers=4)
    assert first.time_decay[[0, 6]].tolist() == [-5.0, 3.0]
    assert first.time_decay[3].item() == pytest.approx(-5 + 8 * 0.5**0.7)
    assert last.time_decay[3].item() == pytest.approx(-5 + 8 * 0.5**2)
    assert first.time_first[:3].tolist() == pytest.approx([-1.20397, -0.70397, -1.70397], abs=1e-4)
    assert last.mix_key[3].item() == pytest.approx((3 / 7) ** 0.25)
    assert last.mix_value[3].item() == pytest.approx((3 / 7) ** 0.25 + 0.3)
    assert last.mix_receptance[3].item() == pytest.approx((3 / 7) ** 0.125)
    assert not any(p.any() for p in (first.key, first.receptance, first.output))
    assert torch.allclose(first.value @ first.value.t(), torch.eye(7), atol=1e-5)
    network = neuro.SRFFN(7)
    assert torch.allclose(network.key.t() @ network.key, 4 * torch.eye(7), atol=1e-5)


def test_layer_norm() -> None:
    norm = neuro.LayerNorm(6).double()
    y = norm(X)
    assert torch.allclose(y.mean(2), torch.zeros(8, 3).double(), atol=1e-12)
    assert torch.allclose(y.var(2, correction=0), torch.ones(8, 3).double(), atol=1e-4)
    assert torch.allclose(norm(X[:2]), y[:2])


def test_embedding_is_spikes_with_the_gradient_of_an_arc_tangent() -> None:
    layer = neuro.SpikingEmbedding(5, 4).double()
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-1, 1, 20).view(5, 4))
    tokens = torch.tensor([[0, 3], [3, 4]])
    y = layer(tokens)
    assert torch.equal(y.detach(), (layer.weight[tokens] > 0).double())
    y.sum().backward()
    assert layer.weight.grad is not None
    slope = 1 / (1 + (torch.pi * layer.weight.detach()) ** 2)
    counts = torch.tensor([1.0, 0, 0, 2, 1], dtype=torch.float64).view(5, 1)
    assert torch.allclose(layer.weight.grad, counts * slope, rtol=1e-12)


def test_in_a_network_that_is_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = neuro.Sequential(neuro.SpikingEmbedding(9, 6), neuro.LayerNorm(6), layer(neuro.SRWKV), layer(neuro.SRFFN))
    net = net.float()
    tokens = torch.randint(0, 9, (7, 2))
    y, _ = net(tokens)
    read = neuro.load(neuro.save(net, tmp_path / "net.safetensors"))
    assert torch.equal(read(tokens)[0], y)
    assert read.definition() == net.definition()
    assert torch.equal(copy.deepcopy(net)(tokens)[0], y)
    assert "depth=1 of 3" in repr(net)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: neuro.SRWKV(0), "SRWKV features must be"),
        (lambda: neuro.SRFFN(4, depth=1), "depth must be from 0 to below layers=1"),
        (lambda: neuro.SRFFN(4, dt=0.0), "dt must be a positive number"),
        (lambda: neuro.SRWKV(4)(X), r"takes \[T, B, 4\]"),
        (lambda: layer(neuro.SRFFN)(X, (torch.zeros(1, 6),)), r"state must be \[\(3, 6\)\]"),
        (lambda: neuro.LayerNorm(6, eps=0.0), "eps must be a positive number"),
        (lambda: neuro.LayerNorm(5)(X), r"LayerNorm takes \[T, B, 5\]"),
        (lambda: neuro.SpikingEmbedding(0, 4), "tokens must be a whole number"),
        (lambda: neuro.SpikingEmbedding(4, 4)(torch.tensor([[4]])), "knows tokens 0 to 3, got 4 to 4"),
        (lambda: neuro.SpikingEmbedding(4, 4)(torch.ones(2, 1)), "of whole numbers"),
    ],
)
def test_what_does_not_fit_is_named(make: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()
