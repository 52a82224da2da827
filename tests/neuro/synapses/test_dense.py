"""Stateless layers on time-first sequences."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import neuro
from neuro.errors import InputError
from neuro.synapses import SYNAPSES

LAYERS = [
    (neuro.Linear(6, 3), (6,)),
    (neuro.Linear(6, 3, bias=False), (6,)),
    (neuro.OneToOne((2, 3), bias=True), (2, 3)),
    (neuro.Conv1d(2, 5, 3, stride=2, padding=1), (2, 9)),
    (neuro.Conv2d(2, 5, (3, 2), stride=(2, 1), padding=(1, 0)), (2, 6, 7)),
    (neuro.SumPool2d((3, 2)), (2, 7, 6)),
    (neuro.Flatten(), (2, 3, 4)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda v: type(v).__name__ if not isinstance(v, tuple) else "")
def test_every_time_step_is_treated_alike(layer: torch.nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(4, 3, *shape)
    whole = layer(x)
    assert whole.shape[:2] == (4, 3)
    for t in range(4):
        assert torch.allclose(layer(x[t : t + 1])[0], whole[t], atol=1e-6)
    again = SYNAPSES[type(layer).__name__](**layer.definition())  # type: ignore[operator]
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), whole)


def test_conv_is_torch_conv() -> None:
    layer = neuro.Conv2d(2, 5, (3, 2), stride=(2, 1), padding=(1, 0))
    x = torch.randn(1, 3, 2, 6, 7)
    assert torch.equal(layer(x)[0], F.conv2d(x[0], layer.weight, layer.bias, (2, 1), (1, 0)))


def test_conv1d_is_torch_conv() -> None:
    layer = neuro.Conv1d(2, 5, 3, stride=2, padding=1)
    x = torch.randn(4, 3, 2, 9)
    y = layer(x)
    assert y.shape == (4, 3, 5, 5)
    assert torch.equal(y[2], F.conv1d(x[2], layer.weight, layer.bias, 2, 1))


def test_one_to_one_scales_each_neuron() -> None:
    layer = neuro.OneToOne(3, bias=True).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([2.0, -1.0, 0.5]))
        layer.bias.copy_(torch.tensor([0.0, 1.0, 0.25]))  # type: ignore[union-attr]
    y = layer(torch.tensor([[[1.0, 2.0, 3.0]], [[0.0, 0.0, 1.0]]], dtype=torch.float64))
    assert y.tolist() == [[[2.0, -1.0, 1.75]], [[0.0, 1.0, 0.75]]]
    y.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [1.0, 2.0, 4.0]
    with pytest.raises(InputError, match="positive integers"):
        neuro.OneToOne(0)


def test_sum_pool_sums() -> None:
    x = torch.arange(16.0).view(1, 1, 1, 4, 4)
    assert neuro.SumPool2d(2)(x).flatten().tolist() == [10, 18, 42, 50]


@pytest.mark.parametrize("size", range(2, 9))
def test_sums_of_spikes_are_whole_numbers(size: int) -> None:
    x = (torch.rand(2, 1, 1, size, size, generator=torch.Generator().manual_seed(size)) < 0.6).float()
    assert neuro.SumPool2d(size)(x).flatten().tolist() == x.sum((2, 3, 4)).flatten().tolist()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (neuro.Linear(6, 3), (4, 6)),
        (neuro.Linear(6, 3), (4, 2, 5)),
        (neuro.OneToOne(3), (4, 2, 5)),
        (neuro.Conv1d(2, 5, 3), (4, 2, 6)),
        (neuro.Conv2d(2, 5, 3), (4, 2, 6, 6)),
        (neuro.Conv2d(2, 5, 3), (4, 1, 3, 6, 6)),
        (neuro.SumPool2d(2), (4, 2, 6, 6)),
    ],
)
def test_wrong_shapes_are_named(layer: torch.nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="time first"):
        layer(torch.zeros(shape))


def test_a_kernel_longer_than_its_input_is_named() -> None:
    with pytest.raises(InputError, match="kernel of 5 does not fit into a length of 3"):
        neuro.Conv1d(1, 1, 5)(torch.zeros(2, 1, 1, 3))


@pytest.mark.parametrize(("name", "value"), [("kernel_size", 0), ("stride", 0), ("in_channels", 0), ("padding", -1)])
def test_convolutions_that_cannot_be_are_named(name: str, value: int) -> None:
    sizes = {"in_channels": 1, "out_channels": 1, "kernel_size": 3, "stride": 1, "padding": 0, name: value}
    channels, out, kernel, stride, padding = sizes.values()
    with pytest.raises(InputError, match=f"Conv1d {name} must be at least"):
        neuro.Conv1d(channels, out, kernel, stride, padding)
