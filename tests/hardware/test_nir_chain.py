from __future__ import annotations

import random
from itertools import pairwise

import pytest

from neuro.errors import InputError
from neuro.hardware.nir_chain import chain


def test_order_comes_from_the_edges_alone() -> None:
    names = [f"n{k}" for k in range(12)]
    edges = list(pairwise(names))
    random.Random(0).shuffle(edges)
    assert chain(sorted(names, reverse=True), edges) == names


def test_one_node_is_a_chain() -> None:
    assert chain(["a"], []) == ["a"]


def test_nothing_is_an_empty_chain() -> None:
    assert chain([], []) == []


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ("abc", ["ab", "ac"], "node 'a' feeds 'b' and 'c'; neuro.Sequential has no branches"),
        ("abc", ["ac", "bc"], "node 'c' sums 'a' and 'b'"),
        ("ab", ["ab", "ab"], "node 'a' feeds 'b' and 'b'"),
        ("abc", ["ab", "bc", "cb"], "node 'b' and 'c' feed each other"),
        ("ab", ["ab", "bb"], "node 'b' and 'b' feed each other"),
        ("abcd", ["ab", "bc", "cd", "da"], "node 'a' is part of a cycle"),
        ("abcde", ["ab", "cd", "de", "ec"], "node 'c' is part of a cycle"),
        ("abc", ["ab"], "nodes 'a' and 'c' have no input"),
        ("ab", ["ab", "bx"], "edge 'b' -> 'x': there is no node 'x'"),
        ("ab", ["xa", "ab"], "edge 'x' -> 'a': there is no node 'x'"),
    ],
)
def test_what_is_no_chain_is_refused_by_name(nodes: str, edges: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        chain(list(nodes), [(edge[0], edge[1]) for edge in edges])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
