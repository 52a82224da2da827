"""The same network said so that another library runs it: rewritings of a NIR graph that keep its dynamics.

Each rewriting is exact in real numbers; in floating point a membrane may round otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import nir
import numpy as np

__all__ = ["Nodes", "fold", "keep_batch", "scale_time"]

Nodes: TypeAlias = dict[str, nir.NIRNode]
"""The layers of a graph by name, in order."""


def keep_batch(nodes: Nodes) -> Nodes:
    """Flatten counts its axes with the batch, as libraries on torch do; NIR counts them without.

    >>> node = nir.Flatten(input_type={"input": np.array([2, 3])}, start_dim=0, end_dim=-1)
    >>> made = keep_batch({"f": node})["f"]
    >>> made.start_dim, made.end_dim
    (1, -1)
    """
    return {name: _shifted(node) if isinstance(node, nir.Flatten) else node for name, node in nodes.items()}


def _shifted(node: nir.Flatten) -> nir.Flatten:
    start, end = (int(axis) + (axis >= 0) for axis in (node.start_dim, node.end_dim))
    return nir.Flatten(input_type=None, start_dim=start, end_dim=end)


def scale_time(nodes: Nodes, factor: float) -> Nodes:
    """Every time constant times ``factor``: with dt scaled likewise, the equations, which know only dt / tau, are the same.

    >>> node = nir.LI(tau=np.array([0.02]), r=np.ones(1), v_leak=np.zeros(1))
    >>> scale_time({"a": node}, 0.1)["a"].tau
    array([0.002])
    """
    return {name: _scaled(node, factor) for name, node in nodes.items()}


def _scaled(node: nir.NIRNode, factor: float) -> nir.NIRNode:
    taus = [name for name in ("tau", "tau_mem", "tau_syn") if hasattr(node, name)]
    return replace(node, **{name: np.float64(factor) * getattr(node, name) for name in taus}) if taus else node


def fold(nodes: Nodes, expressible_r: Callable[[nir.NIRNode], np.ndarray]) -> Nodes:
    """Resistances of LIF and IF become those of ``expressible_r``; the dense weights before them take the rest.

    Args:
        nodes: the layers of the graph.
        expressible_r: function of a LIF or IF node -> resistances of its shape that a library can run.
    """
    made = dict(nodes)
    for before, name in itertools.pairwise(nodes):
        dense, cell = nodes[before], nodes[name]
        if isinstance(dense, nir.Affine | nir.Linear) and isinstance(cell, nir.LIF | nir.IF):
            r = expressible_r(cell)
            rest = np.asarray(cell.r, np.float64) / r
            if np.any(rest != 1):
                made[before], made[name] = _rows_times(dense, rest), replace(cell, r=r)
    return made


def _rows_times(dense: nir.NIRNode, factors: np.ndarray) -> nir.NIRNode:
    bias = {"bias": dense.bias * factors} if isinstance(dense, nir.Affine) else {}
    return replace(dense, weight=dense.weight * factors[:, None], **bias)
