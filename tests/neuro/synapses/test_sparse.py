"""Sparse synapses are dense ones with zeros that never learn, at the cost of what there is."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

import neuro
from neuro.errors import InputError


def spikes(*shape: int) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(2)) < 0.3).float()


def a_mask(out: int = 5, inputs: int = 9) -> torch.Tensor:
    return torch.rand(out, inputs, generator=torch.Generator().manual_seed(7)) < 0.4


@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_masked_dense_layer(bias: bool) -> None:
    mask = a_mask()
    mask[2] = False  # a neuron without synapses has its bias only
    layer = neuro.SparseLinear(9, 5, mask=mask, bias=bias).double()
    dense = layer.dense().detach().requires_grad_()
    assert torch.equal(layer.mask(), mask)
    assert torch.equal(dense != 0, mask)
    x = (spikes(6, 4, 9) * 1.5).double().requires_grad_()
    again = x.detach().clone().requires_grad_()
    expected = torch.nn.functional.linear(again, dense, None if layer.bias is None else layer.bias.detach())
    y = layer(x)
    assert torch.allclose(y, expected, atol=1e-14)
    pull = torch.rand_like(expected)
    (y * pull).sum().backward()
    (expected * pull).sum().backward()
    assert dense.grad is not None
    assert layer.weight.grad is not None
    assert torch.allclose(layer.weight.grad, dense.grad.t()[mask.t()], atol=1e-12)
    assert torch.allclose(x.grad, again.grad, atol=1e-12)  # type: ignore[arg-type]
    assert layer.bias is None or (layer.bias.grad is not None and bool(layer.bias.grad.any()))


def test_draws_are_exact_and_repeat() -> None:
    layer = neuro.SparseLinear(40, 30, fan_in=7, seed=3)
    assert layer.mask().sum(1).tolist() == [7] * 30
    assert torch.equal(layer.mask(), neuro.SparseLinear(40, 30, fan_in=7, seed=3).mask())
    assert not torch.equal(layer.mask(), neuro.SparseLinear(40, 30, fan_in=7, seed=4).mask())
    share = neuro.SparseLinear(40, 30, density=0.1, seed=5)
    assert share.weight.numel() == int(share.mask().sum()) == 120
    assert neuro.SparseLinear(4, 3, density=1.0).mask().all()
    assert float(layer.weight.detach().abs().max()) <= 7**-0.5


@pytest.mark.parametrize("way", [{"mask": a_mask(6, 9)}, {"density": 0.3, "seed": 4}, {"fan_in": 3, "seed": 8}])
def test_files_copies_and_networks(way: dict[str, object], tmp_path: Path) -> None:
    net = neuro.Sequential(neuro.SparseLinear(9, 6, **way), neuro.LIF(6, tau=2e-3), neuro.Linear(6, 2))  # type: ignore[arg-type]
    with torch.no_grad():
        net.get_parameter("0.weight").mul_(6)
    x = spikes(12, 3, 9)
    whole, _ = net(x)
    first, state = net(x[:5])
    assert torch.equal(torch.cat([first, net(x[5:], state)[0]]), whole)
    read = neuro.load(neuro.save(net, tmp_path / "net.safetensors"))
    built = neuro.build(net.definition())
    assert torch.equal(built.get_buffer("0.indices"), net.get_buffer("0.indices"))
    assert torch.equal(built.get_buffer("0.indptr"), net.get_buffer("0.indptr"))
    for other in (read, copy.deepcopy(net)):
        assert torch.equal(other(x)[0], whole)
        assert repr(other) == repr(net)
    order = torch.tensor([2, 0, 1])
    assert torch.equal(net(x[:, order])[0], whole[:, order])


def test_connections_from_a_bad_file_are_refused() -> None:
    layer = neuro.SparseLinear(9, 6, fan_in=2)
    values = layer.state_dict()
    values["indices"] = values["indices"] + 6
    with pytest.raises(InputError, match=r"indices must be in 0\.\.5"):
        layer.load_state_dict(values)


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ({}, "exactly one of mask, density and fan_in"),
        ({"density": 0.5, "fan_in": 2}, "exactly one"),
        ({"density": 0.0}, "above 0 and at most 1"),
        ({"fan_in": 10}, "1 to 9"),
        ({"mask": torch.ones(9, 5)}, r"mask must be \[5, 9\], got \[9, 5\]"),
        ({"mask": "????"}, "no text of compressed bits"),
        ({"mask": "eJwDAAAAAAE="}, "45 are needed"),
    ],
)
def test_bad_connections_are_named(way: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        neuro.SparseLinear(9, 5, **way)  # type: ignore[arg-type]


def test_wrong_input_is_named() -> None:
    with pytest.raises(InputError, match="SparseLinear takes"):
        neuro.SparseLinear(9, 5, fan_in=2)(torch.zeros(3, 9))
    with pytest.raises(InputError, match="at least one neuron"):
        neuro.SparseLinear(0, 5, fan_in=2)
