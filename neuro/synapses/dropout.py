"""Connections left out at random in training, the same ones in every step of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.compiler.route import Route
from neuro.layer import State, StatefulLayer

__all__ = ["Dropout"]


class Dropout(StatefulLayer):
    """In training each neuron's output is left out with probability ``p``, for the whole of a sequence.

    ``y[t, b, n] = x[t, b, n] m[b, n]``, ``m`` either 0 or ``1 / (1 - p)`` and the same in all steps, so that a neuron left
    out does not come back through time: Lee et al. 2020, "Enabling spike-based backpropagation for training deep neural
    network architectures" (Front. Neurosci. 14). ``m [B, *size]`` is the state, drawn with torch's generator where none
    is given, so a sequence in pieces is the whole in training, too. With ``.eval()`` nothing is left out.

    Args:
        size: neurons, or their shape.
        p: share left out, from 0 to below 1.
        dt: time step in seconds, which the layers of a network share.

    Raises:
        InputError: sizes or ``p`` out of range.

    >>> layer = Dropout(1000, 0.25)
    >>> y, (mask,) = layer(torch.ones(2, 1, 1000))
    >>> torch.equal(y[0], y[1]), round(float(y.max()), 4)
    (True, 1.3333)
    """

    def __init__(self, size: int | Sequence[int], p: float = 0.5, *, dt: float = 1e-3) -> None:
        super().__init__()
        self.size = (size,) if isinstance(size, int) else tuple(size)
        if not self.size or any(not isinstance(n, int) or n < 1 for n in self.size):
            raise InputError(f"Dropout size must be positive integers, got {size}")
        if not 0 <= p < 1:
            raise InputError(f"Dropout p must be from 0 to below 1, got {p}")
        if not dt > 0:
            raise InputError(f"Dropout dt must be a positive number of seconds, got {dt}")
        self.p, self.dt = float(p), float(dt)

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """What stays, ``[batch, *size]``: drawn anew in training, else ones."""
        kept = torch.ones((batch, *self.size), device=device, dtype=dtype)
        return (kept.bernoulli_(1 - self.p) / (1 - self.p) if self.training and self.p else kept,)

    def forward(self, x: Tensor, state: State | None = None, *, route: Route | None = None) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: ``[T, B, *size]``.
            state: as returned for the steps before; drawn unless given.
            route: plays no part: no step hands anything that trains to the next.

        Returns:
            ``[T, B, *size]`` and the state.

        Raises:
            InputError: shapes that do not fit.
        """
        if x.dim() != 2 + len(self.size) or tuple(x.shape[2:]) != self.size:
            sizes = ", ".join(map(str, self.size))
            raise InputError(f"Dropout takes [T, B, {sizes}] (time first), got {tuple(x.shape)}")
        state = state or self.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
        if state[0].shape != x.shape[1:]:
            raise InputError(f"Dropout state must be {tuple(x.shape[1:])}, got {tuple(state[0].shape)}")
        return (x * state[0] if self.training else x), state

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer."""
        return {"size": list(self.size), "p": self.p, "dt": self.dt}

    def extra_repr(self) -> str:
        """Size and probability."""
        return f"{', '.join(map(str, self.size))}, p={self.p:g}"
