"""Where edges of a graph meet other than by adding up."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.layer import Joint

__all__ = ["JOINTS", "Concatenate", "Multiply"]


class Concatenate(Joint):
    """Features side by side: ``[T, B, C1, ...], [T, B, C2, ...] -> [T, B, C1 + C2, ...]``.

    Args:
        inputs: how many.

    Raises:
        InputError: fewer than two inputs; inputs whose other sizes differ.

    >>> Concatenate(2)(torch.ones(1, 1, 2), torch.zeros(1, 1, 3))
    tensor([[[1., 1., 0., 0., 0.]]])
    """

    def __init__(self, inputs: int = 2) -> None:
        super().__init__()
        self.inputs = _checked(inputs, type(self).__name__)

    def forward(self, *inputs: Tensor) -> Tensor:
        """``[T, B, C1, ...], ... -> [T, B, C1 + ..., ...]``."""
        shapes = [list(x.shape) for x in inputs]
        if any(
            x.dim() < 3 or s[:2] + s[3:] != shapes[0][:2] + shapes[0][3:] for x, s in zip(inputs, shapes, strict=True)
        ):
            raise InputError(f"Concatenate takes inputs that differ in their third size only, got {shapes}")
        return torch.cat(inputs, 2)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer."""
        return {"inputs": self.inputs}

    def extra_repr(self) -> str:
        """The number of inputs."""
        return f"inputs={self.inputs}"


class Multiply(Joint):
    """Element by element: a gate where one input is a spike, ``[T, B, ...]`` each.

    Args:
        inputs: how many.

    Raises:
        InputError: fewer than two inputs; inputs of different shapes.

    >>> Multiply(2)(torch.full((1, 1, 2), 3.0), torch.tensor([[[1.0, 0.0]]]))
    tensor([[[3., 0.]]])
    """

    def __init__(self, inputs: int = 2) -> None:
        super().__init__()
        self.inputs = _checked(inputs, type(self).__name__)

    def forward(self, *inputs: Tensor) -> Tensor:
        """``[T, B, ...]`` each, to the same shape."""
        if len({tuple(x.shape) for x in inputs}) > 1:
            raise InputError(f"Multiply takes inputs of one shape, got {[list(x.shape) for x in inputs]}")
        made = inputs[0]
        for x in inputs[1:]:
            made = made * x
        return made

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer."""
        return {"inputs": self.inputs}

    def extra_repr(self) -> str:
        """The number of inputs."""
        return f"inputs={self.inputs}"


def _checked(inputs: int, kind: str) -> int:
    if not isinstance(inputs, int) or isinstance(inputs, bool) or inputs < 2:
        raise InputError(f"{kind} inputs must be a whole number from 2 on, got {inputs!r}")
    return inputs


JOINTS: Mapping[str, type[Joint]] = MappingProxyType({"Concatenate": Concatenate, "Multiply": Multiply})
"""Nodes of several inputs, by name."""
