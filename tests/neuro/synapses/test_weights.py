"""What layers make of their weights: by hand, through training, files and NIR."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn.utils import parametrize

import neuro
from neuro.errors import InputError
from neuro.synapses.weights import Binary, Quantised, Standardised

MAKE: dict[str, Callable[[torch.nn.Module], torch.nn.Module]] = {
    "standardised": lambda layer: neuro.standardise(layer, eps=1e-4),
    "sine": lambda layer: neuro.binarise(layer, omega=15.0, stage=1),
    "binary": lambda layer: neuro.binarise(layer, omega=15.0),
    "4 bits": lambda layer: neuro.quantise(layer, bits=4),
    "3 bits each": lambda layer: neuro.quantise(layer, bits=3, per="output"),
}
LAYERS: dict[str, tuple[Callable[[], torch.nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: neuro.Linear(6, 4), (6,)),
    "conv1d": (lambda: neuro.Conv1d(2, 4, 3), (2, 8)),
    "conv2d": (lambda: neuro.Conv2d(2, 4, 3), (2, 5, 5)),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_files_copies_float64_and_gradients(
    make: Callable[[torch.nn.Module], torch.nn.Module],
    layer: tuple[Callable[[], torch.nn.Module], tuple[int, ...]],
    tmp_path: Path,
) -> None:
    made, shape = layer
    net = neuro.Sequential(make(made()), neuro.Flatten())
    x = torch.rand(3, 2, *shape)
    net(x)[0].square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name
        with torch.no_grad():
            parameter.sub_(0.01 * parameter.grad)
    expected = net(x)[0]
    read = neuro.load(neuro.save(net, tmp_path / "net.safetensors"))
    assert read.definition() == net.definition()
    for other in (read, copy.deepcopy(net)):
        assert torch.equal(other(x)[0], expected)
        assert repr(other) == repr(net)
    assert net.double()(x.double())[0].dtype == torch.float64


def test_standardised_rows_have_mean_zero_and_one_over_n_variance() -> None:
    layer = neuro.standardise(neuro.Conv2d(3, 5, 4), eps=1e-8)
    rows = layer.weight.detach().flatten(1)
    assert torch.allclose(rows.mean(1), torch.zeros(5), atol=1e-6)
    assert torch.allclose(rows.var(1, correction=0), torch.full((5,), 1 / 48), rtol=1e-4)


def test_gradcheck_of_the_smooth_ones() -> None:
    weight = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    for made in (Standardised(weight), Binary(weight, omega=3.0, stage=1)):
        assert torch.autograd.gradcheck(made, weight)


def test_binary_weights_and_their_gradient() -> None:
    weight = torch.tensor([[0.0, 0.1, 0.2, -0.1], [0.3, -0.3, 0.05, 0.7]], dtype=torch.float64).requires_grad_()
    made = Binary(weight, omega=20.0).double()
    size = weight.detach().abs().mean(1, keepdim=True)
    assert torch.equal(made.scale.detach(), size)
    w = made(weight)
    assert torch.equal(w, size * torch.tensor([[1, 1, -1, -1], [-1, 1, 1, 1]]))
    w.sum().backward()
    assert weight.grad is not None
    assert torch.allclose(weight.grad, size * 20.0 * torch.cos(20.0 * weight.detach()))
    assert made.scale.grad is not None
    assert made.scale.grad.flatten().tolist() == [0.0, 2.0]


@pytest.mark.parametrize("per", ["tensor", "output"])
def test_quantised_weights_are_within_half_a_step(per: str) -> None:
    weight = torch.randn(6, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weight[1] *= 1e-3
    weight[2] = 0
    weight.requires_grad_()
    made = Quantised(weight, bits=5, per=per)
    codes, scale = made.codes(weight)
    assert codes.abs().max() == 15
    assert torch.equal(codes, codes.round())
    assert float(((made(weight) - weight).abs() / scale).max().detach()) <= 0.5 + 1e-9
    assert torch.equal(made(weight)[2], torch.zeros(50, dtype=torch.float64))
    assert torch.equal(made(weight), codes * scale)
    # A row of small weights is lost under one scale and kept under its own.
    assert bool(made(weight)[1].any()) == (per == "output")
    made(weight).sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.ones_like(weight))


def test_quantisation_can_be_learned_through() -> None:
    torch.manual_seed(0)
    layer = neuro.quantise(neuro.Linear(12, 1, bias=False), bits=3)
    x, wanted = torch.randn(1, 64, 12), torch.sign(torch.randn(12))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (layer(x)[..., 0] - x @ wanted).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3
    assert layer.weight.unique().numel() <= 7


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_nir_holds_the_weights_as_used(make: Callable[[torch.nn.Module], torch.nn.Module], tmp_path: Path) -> None:
    net = neuro.Sequential(make(neuro.Linear(6, 4)), neuro.LIF(4))
    neuro.hardware.export(net, tmp_path / "net.nir")
    read = neuro.hardware.read(tmp_path / "net.nir")
    plain = read[0] if isinstance(read, tuple) else read
    used = net.layers["0"].weight
    assert isinstance(used, torch.Tensor)
    assert torch.equal(plain.get_parameter("0.weight"), used)
    assert not parametrize.is_parametrized(plain.layers["0"])


def test_sparse_weights_are_quantised_as_one() -> None:
    layer = neuro.quantise(neuro.SparseLinear(20, 10, fan_in=4), bits=2)
    assert layer.dense().unique().numel() == 3
    with pytest.raises(InputError, match="a row for each output"):
        neuro.standardise(neuro.SparseLinear(20, 10, fan_in=4))
    with pytest.raises(InputError, match="a row for each output"):
        neuro.quantise(neuro.SparseLinear(20, 10, fan_in=4), per="output")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: neuro.quantise(neuro.Linear(3, 2), bits=1), "2 to 16, got 1; for 1 use binarise"),
        (lambda: neuro.quantise(neuro.Linear(3, 2), per="row"), "unknown quantisation per 'row'"),
        (lambda: neuro.binarise(neuro.Linear(3, 2), omega=0.0), "omega"),
        (lambda: neuro.binarise(neuro.Linear(3, 2), stage=3), "stage must be 1"),
        (lambda: neuro.standardise(neuro.Linear(1, 2)), "at least two weights"),
        (lambda: neuro.standardise(neuro.Linear(3, 2), eps=-1.0), "eps"),
        (lambda: neuro.quantise(neuro.Flatten()), "Flatten has no weight"),
    ],
)
def test_mistakes_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_foreign_parametrisations_are_not_written() -> None:
    layer = neuro.Linear(3, 2)
    parametrize.register_parametrization(layer, "weight", torch.nn.Tanh())
    with pytest.raises(InputError, match="parametrisation Tanh of 'weight' cannot be written"):
        neuro.Sequential(layer).definition()
    broken = neuro.Sequential(neuro.quantise(neuro.Linear(3, 2))).definition()
    broken["layers"][0]["weights"][0]["type"] = "Quantized"
    with pytest.raises(InputError, match="did you mean 'Quantised'"):
        neuro.build(broken)


def test_one_on_top_of_the_other(tmp_path: Path) -> None:
    net = neuro.Sequential(neuro.quantise(neuro.standardise(neuro.Linear(30, 4)), bits=3, per="output"))
    x = torch.rand(2, 3, 30)
    read = neuro.load(neuro.save(net, tmp_path / "net.safetensors"))
    assert torch.equal(read(x)[0], net(x)[0])
    assert [entry["type"] for entry in read.definition()["layers"][0]["weights"]] == ["Standardised", "Quantised"]
    used = net.layers["0"].weight
    assert isinstance(used, torch.Tensor)
    assert max(row.unique().numel() for row in used.detach()) <= 7
