"""Layers one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from neuro.network.base import Apply, Network, NetworkState

__all__ = ["Sequential"]


class Sequential(Network):
    """Layers one after the other.

    Args:
        *layers: modules, networks among them, named ``"0"``, ``"1"``, ...; or one mapping of names to modules.

    Raises:
        InputError: no layer, or cells whose ``dt`` differ.

    >>> import torch, neuro
    >>> net = neuro.Sequential(neuro.Linear(4, 3), neuro.LIF(3), neuro.Linear(3, 2), neuro.LI(2))
    >>> out, state = net(torch.ones(10, 1, 4))
    >>> out.shape
    torch.Size([10, 1, 2])
    """

    def __init__(self, *layers: nn.Module | Mapping[str, nn.Module]) -> None:
        named: Iterable[tuple[str, Any]] = ((str(k), layer) for k, layer in enumerate(layers))
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            named = layers[0].items()
        super().__init__(named)

    def run(self, x: Tensor, state: NetworkState | None, apply: Apply) -> tuple[Tensor, NetworkState]:
        """As in :meth:`Network.run`; ``x`` is ``[T, B, ...]``."""
        after = []
        for (name, layer), before in zip(self.layers.items(), self._states(state), strict=True):
            x, s = apply(name, layer, (x,), before)
            after.append(s)
        return x, tuple(after)
