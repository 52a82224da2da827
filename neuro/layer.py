"""The one contract of layers that carry state from step to step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from neuro.kernels.compiler.route import Route

__all__ = ["Joint", "Population", "State", "StatefulLayer"]

State = tuple[Tensor, ...]
"""State of one layer: tensors whose first size is the batch."""

_HALF = (torch.bfloat16, torch.float16)


class StatefulLayer(nn.Module, ABC):
    """A layer whose state goes in and comes out; nothing is remembered between calls.

    For every such layer: a sequence is the same as its steps, one after the other, and a sequence
    in pieces, the state carried on, is the same as the whole.

    Attributes:
        dt: time step in seconds.
    """

    dt: float

    def __call__(self, x: Tensor, *arguments: Any, **options: Any) -> Any:
        """Run the layer; under ``torch.autocast`` its state stays in the precision of the network.

        A membrane adds up many small steps, which bfloat16 (8 bits) loses: half-precision input is taken to float32
        here, and the products of the layers without state keep what autocast gives them.
        """
        if not (isinstance(x, Tensor) and torch.is_autocast_enabled(x.device.type)):  # what is no tensor, forward names
            return super().__call__(x, *arguments, **options)
        with torch.autocast(x.device.type, enabled=False):
            return super().__call__(x.float() if x.dtype in _HALF else x, *arguments, **options)

    @abstractmethod
    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The state before the first step."""

    @abstractmethod
    def forward(self, x: Tensor, state: State | None = None, *, route: Route | None = None) -> tuple[Tensor, State]:
        """Run a sequence ``[T, B, ...]``; returns the output, time first, and the state after the last step.

        ``state`` is the initial one unless given; ``route`` names the edges that backward ignores.
        """

    def step(self, x: Tensor, state: State, *, route: Route | None = None) -> tuple[Tensor, State]:
        """One time step: ``x`` is ``[B, ...]``; returns the output of that step and the new state."""
        y, after = self(x.unsqueeze(0), state, route=route)
        return y[0], after

    @abstractmethod
    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values, JSON-able."""

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> Self:
        """The layer that :meth:`definition` describes, freshly initialised."""
        return cls(**definition)


class Population(StatefulLayer):
    """Neurons: a layer with state whose activity can be recorded.

    Attributes:
        size: shape of the population.
    """

    size: tuple[int, ...]

    @abstractmethod
    def trace(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Like ``forward`` without gradients, also returning each state variable by name, ``[T, B, *size]``."""


class Joint(nn.Module, ABC):
    """A layer without state that takes several inputs, each ``[T, B, ...]``: a node where edges of a graph meet.

    Attributes:
        inputs: how many.
    """

    inputs: int

    @abstractmethod
    def forward(self, *inputs: Tensor) -> Tensor:
        """``[T, B, ...]`` of all inputs, step by step: no step sees another."""

    @abstractmethod
    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values, JSON-able."""
