from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import neuro
from neuro.errors import InputError
from neuro.hardware.shapes import input_shape, shape_after

sizes = st.integers(1, 4)


@given(st.tuples(sizes, sizes), st.tuples(sizes, sizes), st.tuples(sizes, sizes), st.integers(4, 9), st.integers(4, 9))
def test_a_convolution_gives_the_shape_that_torch_gives(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], height: int, width: int
) -> None:
    layer = neuro.Conv2d(2, 3, kernel, stride, padding)
    assert shape_after(layer, (2, height, width)) == tuple(layer(torch.zeros(1, 1, 2, height, width)).shape[2:])


@given(sizes, sizes, sizes, st.integers(4, 9))
def test_a_convolution_along_one_axis_too(kernel: int, stride: int, padding: int, length: int) -> None:
    layer = neuro.Conv1d(2, 3, kernel, stride, padding)
    assert shape_after(layer, (2, length)) == tuple(layer(torch.zeros(1, 1, 2, length)).shape[2:])


def test_the_input_of_sparse_and_one_to_one_synapses_is_their_own() -> None:
    assert input_shape([neuro.SparseLinear(5, 3, fan_in=2)]) == (5,)
    assert input_shape([neuro.OneToOne((2, 4))]) == (2, 4)


@given(st.tuples(sizes, sizes), st.integers(4, 9), st.integers(4, 9))
def test_pooling_gives_the_shape_that_torch_gives(kernel: tuple[int, int], height: int, width: int) -> None:
    layer = neuro.SumPool2d(kernel)
    assert shape_after(layer, (2, height, width)) == tuple(layer(torch.zeros(1, 1, 2, height, width)).shape[2:])


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (neuro.Linear(3, 2), (4,)),
        (neuro.Linear(3, 2), (2, 3)),
        (neuro.LIF((2, 3)), (3, 2)),
        (neuro.SparseLinear(3, 2, fan_in=1), (4,)),
        (neuro.OneToOne((2, 3)), (3, 2)),
        (neuro.Conv1d(2, 3, 3), (3, 8)),
        (neuro.Conv1d(2, 3, 5), (2, 4)),
        (neuro.Conv2d(2, 3, 3), (3, 8, 8)),
        (neuro.Conv2d(2, 3, 3), (2, 8)),
        (neuro.Conv2d(2, 3, 5), (2, 4, 9)),
        (neuro.SumPool2d(2), (8, 8)),
        (neuro.SumPool2d((1, 9)), (2, 8, 8)),
        (nn.ReLU(), (3,)),
    ],
)
def test_what_does_not_fit_is_refused(layer: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expects|leaves nothing|no known"):
        shape_after(layer, shape)


@given(st.tuples(sizes, sizes), st.tuples(sizes, sizes), st.integers(5, 9), st.integers(5, 9))
def test_the_input_of_unit_strides_follows_from_the_first_cell(
    kernel: tuple[int, int], padding: tuple[int, int], height: int, width: int
) -> None:
    layers = [neuro.Conv2d(2, 3, kernel, padding=padding), neuro.Conv2d(3, 1, 2)]
    after = shape_after(layers[1], shape_after(layers[0], (2, height, width)))
    assert input_shape([*layers, neuro.LIF(after), neuro.Flatten()]) == (2, height, width)


@pytest.mark.parametrize(
    "layers",
    [
        [neuro.Conv2d(2, 3, 3, stride=2), neuro.LIF((3, 4, 4))],
        [neuro.Conv2d(2, 3, 3), neuro.Flatten()],
        [neuro.SumPool2d(2), neuro.LIF((3, 4, 4))],
        [neuro.Conv2d(2, 3, 3), neuro.LIF(4)],
        [neuro.Conv2d(2, 3, 3)],
        [],
    ],
)
def test_an_open_input_is_none(layers: list[nn.Module]) -> None:
    assert input_shape(layers) is None


def test_a_leading_cell_or_dense_layer_says_it() -> None:
    assert input_shape([neuro.LIF((2, 3, 4))]) == (2, 3, 4)
    assert input_shape([neuro.Linear(5, 2), neuro.LIF(2)]) == (5,)
