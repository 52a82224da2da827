"""Synapses that a spike drives, against the matrices of the layers."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

import neuro
from neuro.synapses.fan_out import fan_out


def test_fan_out_of_a_dense_layer() -> None:
    fans = fan_out(neuro.Linear(5, 3), (5,))
    assert fans is not None
    assert fans.tolist() == [3] * 5


def test_layers_without_weights_have_none() -> None:
    assert fan_out(neuro.SumPool2d(2), (1, 4, 4)) is None
    assert fan_out(neuro.Flatten(), (1, 4, 4)) is None


@pytest.mark.parametrize("kernel", [1, 3, (2, 5)])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
@pytest.mark.parametrize("padding", [0, 1, (0, 2)])
def test_fan_out_of_a_convolution_counts_the_ones_of_its_matrix(
    kernel: int | tuple[int, int], stride: int | tuple[int, int], padding: int | tuple[int, int]
) -> None:
    layer = neuro.Conv2d(2, 5, kernel, stride=stride, padding=padding, bias=False)
    x = torch.zeros(1, 2, 7, 9, requires_grad=True)
    ones = torch.ones_like(layer.weight)
    functional.conv2d(x, ones, stride=layer.stride, padding=layer.padding).sum().backward()
    fans = fan_out(layer, (2, 7, 9))
    assert x.grad is not None
    assert fans is not None
    assert torch.equal(fans, x.grad[0].to(torch.int64))


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 1, 0), (3, 2, 1), (4, 1, 2), (2, 3, 0)])
def test_fan_out_along_one_axis(kernel: int, stride: int, padding: int) -> None:
    layer = neuro.Conv1d(2, 5, kernel, stride=stride, padding=padding)
    x = torch.zeros(1, 2, 9, requires_grad=True)
    functional.conv1d(x, torch.ones_like(layer.weight), stride=stride, padding=padding).sum().backward()
    fans = fan_out(layer, (2, 9))
    assert x.grad is not None
    assert fans is not None
    assert torch.equal(fans, x.grad[0].to(torch.int64))


def test_fan_out_of_what_exists_only() -> None:
    layer = neuro.SparseLinear(12, 5, fan_in=3, seed=2)
    fans = fan_out(layer, (12,))
    assert fans is not None
    assert torch.equal(fans, layer.mask().sum(0))
    one = fan_out(neuro.OneToOne((2, 3)), (2, 3))
    assert one is not None
    assert one.tolist() == [[1, 1, 1], [1, 1, 1]]
