from __future__ import annotations

import nir
import numpy as np
import pytest

from neuro.hardware.preparation import fold, keep_batch, scale_time


def lif(**changed: np.ndarray) -> nir.LIF:
    values = {name: np.full(2, 1.0, np.float32) for name in ("tau", "r", "v_leak", "v_threshold", "v_reset")}
    return nir.LIF(**values | changed)


@pytest.mark.parametrize(
    ("axes", "expected"), [((0, -1), (1, -1)), ((0, 2), (1, 3)), ((1, 1), (2, 2)), ((-2, -1), (-2, -1))]
)
def test_flatten_counts_the_batch(axes: tuple[int, int], expected: tuple[int, int]) -> None:
    node = nir.Flatten(input_type={"input": np.array([2, 3, 4])}, start_dim=axes[0], end_dim=axes[1])
    other = lif()
    made = keep_batch({"a": other, "f": node})
    assert (made["f"].start_dim, made["f"].end_dim) == expected
    assert made["a"] is other
    assert node.start_dim == axes[0]


def test_every_time_constant_is_scaled_in_double_precision() -> None:
    tau = np.array([0.02, 0.03], np.float32)
    ones = np.ones(2, np.float32)
    cuba = nir.CubaLIF(tau_syn=tau, tau_mem=2 * tau, r=ones, v_leak=ones, v_threshold=ones)
    made = scale_time({"l": lif(tau=tau), "c": cuba, "d": nir.Linear(np.eye(2))}, 0.1)
    assert made["l"].tau.dtype == np.float64
    assert made["l"].tau.tolist() == (tau.astype(np.float64) * 0.1).tolist()
    assert made["c"].tau_mem.tolist() == (2 * tau.astype(np.float64) * 0.1).tolist()
    assert made["c"].tau_syn.tolist() == (tau.astype(np.float64) * 0.1).tolist()
    assert made["l"].r is not tau


def test_gain_moves_into_weights_and_bias() -> None:
    weight, bias = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([5.0, 6.0])
    nodes = {"w": nir.Affine(weight, bias), "l": lif(r=np.array([2.0, 4.0])), "v": nir.Linear(weight), "m": lif()}
    made = fold(nodes, lambda node: np.ones(2))
    assert made["w"].weight.tolist() == [[2.0, 4.0], [12.0, 16.0]]
    assert made["w"].bias.tolist() == [10.0, 24.0]
    assert made["l"].r.tolist() == [1.0, 1.0]
    assert made["v"] is nodes["v"]
    assert made["m"] is nodes["m"]
    assert nodes["w"].weight.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_gain_without_dense_weights_before_it_stays() -> None:
    nodes = {"p": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])), "l": lif(r=np.array([2.0, 4.0]))}
    assert fold(nodes, lambda node: np.ones(2)) == nodes
