from __future__ import annotations

import numpy as np
import pytest
import torch

from neuro.errors import InputError
from neuro.hardware.nir_file import Tree
from neuro.hardware.nir_node import Node


def node(*allow: str, **fields: object) -> Node:
    tree: Tree = {"type": "LIF", **fields}  # type: ignore[dict-item]
    return Node("n", tree, allow=allow)


def test_a_node_needs_a_type() -> None:
    with pytest.raises(InputError, match="node 'n' has no field 'type'"):
        Node("n", {"r": np.ones(3)})


def test_what_is_taken_is_gone() -> None:
    made = node(r=np.ones(3))
    assert made.has("r")
    made.tensor("r")
    assert not made.has("r")
    made.close()
    with pytest.raises(InputError, match="field 'r' is missing"):
        made.take("r")


def test_what_is_left_stops_the_import_unless_allowed() -> None:
    with pytest.raises(InputError, match=r"node 'n' \(LIF\): field 'q' = 3 is not understood; .*allow=\('q',\)"):
        node(q=3).close()
    node("q", q=3).close()


def test_float32_bits_survive() -> None:
    values = np.frombuffer(np.random.default_rng(0).bytes(400), np.float32)
    values = values[np.isfinite(values)]
    assert np.array_equal(node(r=values).tensor("r").numpy().view(np.int32), values.view(np.int32))


def test_float64_values_must_fit() -> None:
    assert node(r=np.array([0.5, 3.0])).tensor("r").dtype is torch.float32
    with pytest.raises(InputError, match=r"field 'r' is float64 and rounds in float32.*allow=\('precision',\)"):
        node(r=np.array([0.1])).tensor("r")
    assert node("precision", r=np.array([0.1])).tensor("r").item() == np.float32(0.1)
    wide = Node("n", {"type": "LIF", "r": np.array([0.1])}, dtype=torch.float64)
    assert wide.tensor("r").item() == 0.1


@pytest.mark.parametrize("bad", [np.array([1.0, np.nan]), np.array([np.inf]), np.array([]), "1.0", {"a": 1}])
def test_no_numbers_no_tensor(bad: object) -> None:
    with pytest.raises(InputError, match=r"node 'n'.*field 'r'"):
        node(r=bad).tensor("r")


def test_a_value_too_large_for_float32() -> None:
    with pytest.raises(InputError, match="rounds in float32"):
        node(r=np.array([1e300])).tensor("r")


def test_integers() -> None:
    assert node(s=np.int64(2)).integers("s", 2) == (2, 2)
    assert node(s=np.array([1, 2])).integers("s", 2) == (1, 2)
    assert node(s=np.array([4, 5, 6])).integers("s") == (4, 5, 6)
    with pytest.raises(InputError, match="has not 2 numbers"):
        node(s=np.array([1, 2, 3])).integers("s", 2)
    for bad in (1.5, "same", np.zeros((2, 2), int), np.array([1.0])):
        with pytest.raises(InputError, match="not a list of integers"):
            node(s=bad).integers("s")


def test_metadata_of_others_means_nothing_and_ours_must_be_known() -> None:
    node(metadata={"author": "x"}).close()
    made = node(metadata={"author": "x", "neuro": {"dt": 1e-3}})
    assert made.metadata.pop("dt") == 1e-3
    made.close()
    with pytest.raises(InputError, match="metadata neuro/delay = 3 is not understood"):
        node(metadata={"neuro": {"delay": 3}}).close()
    with pytest.raises(InputError, match="metadata neuro/neuro = 5"):
        node(metadata={"neuro": 5}).close()


def test_long_values_are_shortened() -> None:
    with pytest.raises(InputError) as caught:
        node(extra=np.arange(10_000)).close()
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)
