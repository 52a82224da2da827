"""What the neurons of a network did."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from neuro.errors import unknown_name
from neuro.layer import Population, StatefulLayer
from neuro.network.base import Apply, Network, NetworkState, leaves

__all__ = ["record"]


@torch.no_grad()
def record(
    net: Network, x: Tensor, state: NetworkState | None = None, *, layers: Collection[str] | None = None
) -> dict[str, dict[str, Tensor]]:
    """Output and states of cells over a sequence, without gradients.

    The network itself carries no hooks: layers that are not recorded run as in any other call.

    Args:
        net: the network.
        x: input ``[T, B, ...]``.
        state: initial state of the network; zero unless given.
        layers: dotted names of the populations to record; all of them unless given.

    Returns:
        For each population's name: ``"z"``, its output, and each state variable by name (``"v"``, the
        membrane) after its update and before its reset; all ``[T, B, *size]``.

    Raises:
        InputError: a name that no population has.
    """
    populations = [name for name, layer in leaves(net) if isinstance(layer, Population)]
    for name in layers or ():
        if name not in populations:
            raise unknown_name("population", name, populations)
    pieces: dict[str, list[dict[str, Tensor]]] = {}
    net.run(x, state, _recorder(pieces, populations if layers is None else layers))
    return {
        name: {key: torch.cat([p[key] for p in pieces[name]]) for key in pieces[name][0]}
        for name in populations
        if name in pieces
    }


def _recorder(pieces: dict[str, list[dict[str, Tensor]]], chosen: Collection[str], prefix: str = "") -> Apply:
    def apply(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], before: Any) -> tuple[Tensor, Any]:
        dotted = prefix + name
        if isinstance(layer, Network):
            return layer.run(inputs[0], before, _recorder(pieces, chosen, f"{dotted}."))
        if isinstance(layer, Population) and dotted in chosen:
            z, after, traces = layer.trace(inputs[0], before)
            pieces.setdefault(dotted, []).append({"z": z, **traces})
            return z, after
        return layer(*inputs, before) if isinstance(layer, StatefulLayer) else (layer(*inputs), None)

    return apply
