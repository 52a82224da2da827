"""The order of nodes along the edges of a NIR graph, which the file itself does not keep."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from neuro.errors import InputError

__all__ = ["chain"]


def chain(nodes: Collection[str], edges: Sequence[tuple[str, str]]) -> list[str]:
    """Names of all nodes from the first to the last of the one path through them.

    Raises:
        InputError: an edge to no node, a branch, a sum, a cycle or a separate part; the
            message names the node.

    >>> chain(["b", "c", "a"], [("b", "c"), ("a", "b")])
    ['a', 'b', 'c']
    """
    after: dict[str, str] = {}
    before: dict[str, str] = {}
    for source, target in edges:
        _check_edge(nodes, edges, source, target)
        if source in after:
            raise InputError(
                f"node {source!r} feeds {after[source]!r} and {target!r}; neuro.Sequential has no branches"
            )
        if target in before:
            raise InputError(f"node {target!r} sums {before[target]!r} and {source!r}; neuro.Sequential has no sums")
        after[source], before[target] = target, source
    first = sorted(set(nodes) - set(before))
    if len(first) > 1:
        raise InputError(f"nodes {first[0]!r} and {first[1]!r} have no input; neuro.Sequential is one chain")
    order = first[:1]
    while order and order[-1] in after:
        order.append(after[order[-1]])
    if rest := sorted(set(nodes) - set(order)):
        raise InputError(f"node {rest[0]!r} is part of a cycle; neuro.Sequential has no recurrent connections")
    return order


def _check_edge(nodes: Collection[str], edges: Sequence[tuple[str, str]], source: str, target: str) -> None:
    for end in (source, target):
        if end not in nodes:
            raise InputError(f"edge {source!r} -> {target!r}: there is no node {end!r}")
    if (target, source) in edges:
        raise InputError(
            f"node {source!r} and {target!r} feed each other; neuro.Sequential has no recurrent connections"
        )
