"""Connections that skip layers, for spikes and for currents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Self

from torch import Tensor, nn

from neuro.errors import InputError, unknown_name
from neuro.network.base import Apply, Network, NetworkState

__all__ = ["MODES", "Residual"]

MODES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "add": lambda made, passed: made + passed,
        "and": lambda made, passed: made * passed,
        "iand": lambda made, passed: (1 - made) * passed,
    }
)
"""(what the body made, what passed it by), each ``[T, B, ...]`` -> output."""


class Residual(Network):
    """A body and a way around it: ``y = g(body(x), shortcut(x))``.

    Spikes ``a`` of the body and ``s`` of the shortcut meet as ``a + s`` ("add"), ``a s`` ("and") or ``(1 - a) s``
    ("iand": the body takes spikes away). With "add" and a body that is silent, or "iand" the same, the block is the
    identity, so that deep stacks learn: Fang et al. 2021, "Deep residual learning in spiking neural networks" (SEW,
    eq. 11, table 1). "add" of spikes can give 2.

    Args:
        body: a layer or network.
        shortcut: what the input passes by the body through; nothing unless given.
        mode: "add", "and" or "iand".

    Raises:
        InputError: unknown mode; outputs of body and shortcut that differ in shape.

    >>> import torch, neuro
    >>> block = neuro.Residual(neuro.Sequential(neuro.Linear(3, 3), neuro.LIF(3)), mode="iand")
    >>> y, state = neuro.Sequential(block)(torch.ones(5, 2, 3))
    >>> y.shape
    torch.Size([5, 2, 3])
    """

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None, *, mode: str = "add") -> None:
        if mode not in MODES:
            raise unknown_name("mode of Residual", mode, MODES)
        super().__init__([("body", body)] if shortcut is None else [("body", body), ("shortcut", shortcut)])
        self.mode = mode

    def run(self, x: Tensor, state: NetworkState | None, apply: Apply) -> tuple[Tensor, NetworkState]:
        """As in :meth:`Network.run`; ``x`` is ``[T, B, ...]``."""
        made, after = [], []
        for (name, layer), before in zip(self.layers.items(), self._states(state), strict=True):
            y, s = apply(name, layer, (x,), before)
            made.append(y)
            after.append(s)
        a, passed = made if len(made) == 2 else (made[0], x)
        if a.shape != passed.shape:
            raise InputError(
                f"the body makes {list(a.shape)}, {list(passed.shape)} passes it by; give a shortcut that makes the same shape"
            )
        return MODES[self.mode](a, passed), tuple(after)

    def arrangement(self) -> dict[str, Any]:
        """Layers and mode."""
        return {**super().arrangement(), "mode": self.mode}

    @classmethod
    def assemble(cls, layers: Mapping[str, nn.Module], **arrangement: Any) -> Self:
        """The block of those layers that :meth:`arrangement` describes."""
        return cls(layers["body"], layers.get("shortcut"), **arrangement)

    def extra_repr(self) -> str:
        """The mode."""
        return f"mode={self.mode!r}"
