"""Neurons whose membrane is batch normalised before it meets the threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.errors import InputError, unknown_name
from neuro.kernels.compiler.reference import reference_scan
from neuro.kernels.compiler.route import Route
from neuro.layer import Population, State
from neuro.neurons.adaptive import PLIF
from neuro.neurons.cell import Cell
from neuro.neurons.integrate_and_fire import IF, LIF

__all__ = ["MPBN", "NORMALISED"]

_CELLS: Mapping[str, type[Cell]] = MappingProxyType({"LIF": LIF, "IF": IF, "PLIF": PLIF})
"""Cells of one linear membrane, which a normalisation can be folded into."""


class MPBN(Population):
    """Membrane potential batch normalisation: ``cell`` spikes where its normalised membrane passes the threshold.

    In each step ``s = weight (v - mean) / sqrt(variance + eps) + bias``, a spike where ``s > v_threshold``; the reset to
    ``v_reset`` acts on ``v`` itself. Training normalises over the samples (and space) of each step and keeps running
    statistics, evaluation uses those; then the normalisation is a threshold for each feature, which
    :func:`neuro.fold` makes of it, and only the folded cell has fused kernels. Guo et al. 2023, "Membrane potential
    batch normalization for spiking neural networks" (ICCV).

    Args:
        cell: ``LIF``, ``IF`` or ``PLIF`` with ``reset="value"`` and no refractory period; the first axis of its size
            holds the features C.
        eps: added to the variance.
        momentum: share of a new step in the running statistics.

    Attributes:
        weight: ``[C]``, one at first.
        bias: ``[C]``, zero at first.

    Raises:
        InputError: a cell of another kind; options out of range; in training, one value a feature.

    >>> import neuro
    >>> layer = MPBN(neuro.LIF(3))
    >>> z, (v,) = layer(20 * torch.randn(5, 8, 3))
    >>> z.shape, v.shape
    (torch.Size([5, 8, 3]), torch.Size([8, 3]))
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, cell: Cell, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        if type(cell) not in _CELLS.values():
            raise InputError(f"MPBN takes one of {', '.join(_CELLS)}, got {type(cell).__name__}")
        if cell.reset != "value" or cell.refractory is not None:
            seen = f"reset={cell.reset!r}" if cell.reset != "value" else "a refractory period"
            raise InputError(f"MPBN needs a cell with reset='value' and no refractory period, got {seen}")
        for name, value in (("eps", eps), ("momentum", momentum)):
            if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise InputError(f"MPBN {name} must be a positive number, got {value}")
        self.cell, self.size, self.dt, self.eps, self.momentum = cell, cell.size, cell.dt, eps, momentum
        features = cell.size[0]
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The membrane of the cell, ``[batch, *size]``."""
        return self.cell.initial_state(batch, device=device, dtype=dtype)

    def forward(self, x: Tensor, state: State | None = None, *, route: Route | None = None) -> tuple[Tensor, State]:
        """Run a sequence, step by step.

        Args:
            x: input current ``[T, B, *size]``.
            state: as returned for the steps before; the initial one unless given.
            route: edges that backward ignores (a property of the learning rule).

        Returns:
            Spikes ``[T, B, *size]`` and the state after the last step.

        Raises:
            InputError: shape, dtype or device that does not fit; in training, one value a feature.
        """
        output, after, _ = self._run(x, state, route or Route())
        return output, after

    @torch.no_grad()
    def trace(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Like ``forward`` without gradients, also returning the membrane itself before its reset, ``[T, B, *size]``."""
        output, after, states = self._run(x, state, Route())
        return output, after, {"v": states}

    def _run(
        self, x: Tensor, state: State | None, route: Route, *, smooth: bool = False
    ) -> tuple[Tensor, State, Tensor]:
        flat, before = self.cell._flatten(x, state)
        values = flat[:1].numel() // self.size[0]
        if self.training and x.shape[0] and values < 2:
            raise InputError(
                f"MPBN needs at least two values a feature and step for its statistics, got {values}; use .eval()"
            )
        coefficients, surrogate = self.cell._values(flat.shape[2]), self.cell.surrogate
        output, (v,), (trace,) = reference_scan(
            self.cell._spec.program,
            [flat],
            before,
            coefficients,
            surrogate=surrogate,
            route=route,
            smooth=smooth,
            seen=self._normalised,
        )
        return output.view(x.shape), (v.view(x.shape[1:]),), trace.view(x.shape)

    def _normalised(self, v: Tensor) -> Tensor:
        rows = v.view(v.shape[0], self.size[0], math.prod(self.size[1:]))
        statistics = (self.running_mean, self.running_var)
        made = F.batch_norm(rows, *statistics, self.weight, self.bias, self.training, self.momentum, self.eps)
        return made.reshape(v.shape)

    @torch.no_grad()
    def affine(self) -> tuple[Tensor, Tensor]:
        """Gain and shift ``[C]`` (float64) with which the threshold sees ``gain v + shift`` in evaluation."""
        gain = self.weight.double() * torch.rsqrt(self.running_var.double() + self.eps)
        return gain, self.bias.double() - gain * self.running_mean.double()

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values, JSON-able."""
        cell = {"type": type(self.cell).__name__, **self.cell.definition()}
        return {"cell": cell, "eps": self.eps, "momentum": self.momentum}

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> Self:
        """The layer that :meth:`definition` describes, freshly initialised.

        Raises:
            InputError: a cell that cannot be normalised.
        """
        options = dict(definition)
        cell = options.pop("cell")
        if cell["type"] not in _CELLS:
            raise unknown_name("cell of MPBN", cell["type"], _CELLS)
        return cls(_CELLS[cell["type"]].from_definition(cell), **options)


NORMALISED: Mapping[str, type[MPBN]] = MappingProxyType({"MPBN": MPBN})
"""Populations with a normalised membrane, by name."""
