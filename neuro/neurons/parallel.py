"""Neurons without a reset, all steps of which can be taken at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

import torch
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.kernels.compiler.route import Route
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.kernels.scans.parallel import filter_reference, sliding_psn
from neuro.layer import Population, State

__all__ = ["PARALLEL", "SlidingPSN"]


class SlidingPSN(Population):
    """Sliding parallel spiking neurons: the membrane is a learned sum of the last ``order`` inputs, without a reset.

    ``h[t] = sum_i w[i] x[t - order + 1 + i]``, a spike where ``h > v_threshold``: Fang et al.
    2023, "Parallel spiking neurons with high efficiency and ability to learn long-term
    dependencies" (NeurIPS). The weights, newest last, begin as ``..., 1/4, 1/2, 1`` and are shared by
    all neurons, as the threshold is; both train. The state is the last ``order - 1`` inputs,
    ``[B, order - 1, *size]``.

    Args:
        size: number of neurons, or their shape.
        order: how many steps a neuron looks at, itself included.
        v_threshold: firing threshold at the start.
        dt: time step in seconds; the neuron itself knows steps only.
        surrogate: derivative that stands in for that of the spike.

    Raises:
        InputError: sizes, order or time step that are not positive; a threshold that is not finite.

    >>> z, state = SlidingPSN(4, order=3)(torch.ones(5, 2, 4))
    >>> z[:, 0, 0].tolist(), state[0].shape
    ([0.0, 1.0, 1.0, 1.0, 1.0], torch.Size([2, 2, 4]))
    """

    def __init__(
        self,
        size: int | tuple[int, ...],
        *,
        order: int = 4,
        v_threshold: float = 1.0,
        dt: float = 1e-3,
        surrogate: Surrogate | None = None,
    ) -> None:
        super().__init__()
        self.size = (size,) if isinstance(size, int) else tuple(size)
        if not self.size or any(not isinstance(n, int) or n < 1 for n in self.size):
            raise InputError(f"SlidingPSN size must be positive, got {size!r}")
        if isinstance(order, bool) or not isinstance(order, int) or order < 1:
            raise InputError(f"SlidingPSN order must be a whole number of steps, at least 1, got {order!r}")
        for name, value, least in (("v_threshold", v_threshold, -math.inf), ("dt", dt, 0.0)):
            if not math.isfinite(value) or value <= least:
                raise InputError(
                    f"SlidingPSN {name} must be finite{' and above 0' if name == 'dt' else ''}, got {value}"
                )
        self.order, self.dt, self.surrogate = order, float(dt), surrogate or Surrogate()
        self.weight = nn.Parameter(2.0 ** torch.arange(1.0 - order, 1.0))
        self.v_threshold = nn.Parameter(torch.tensor(float(v_threshold)))

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Silence before the first step, ``[batch, order - 1, *size]``."""
        return (torch.zeros((batch, self.order - 1, *self.size), device=device, dtype=dtype),)

    def forward(
        self, x: Tensor, state: State | None = None, *, route: Route | None = None, backend: str = "auto"
    ) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: input current ``[T, B, *size]``.
            state: as returned for the steps before; silence unless given.
            route: edges that backward ignores; ``cut_time`` keeps only what the newest input of each step does.
            backend: as for :func:`neuro.kernels.scans.parallel.sliding_psn`.

        Returns:
            Spikes ``[T, B, *size]`` and the state after the last step.

        Raises:
            InputError: shape, dtype or device that does not fit.
        """
        past = self._past(x, state)
        cut = route is not None and route.cut_time
        options: dict[str, Any] = {"surrogate": self.surrogate, "cut_time": cut, "backend": backend}
        z, after = sliding_psn(x.flatten(2), self.weight, -self.v_threshold, past, **options)
        return z.view(x.shape), (after.transpose(0, 1).reshape(x.shape[1], self.order - 1, *self.size),)

    @torch.no_grad()
    def trace(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Like ``forward`` without gradients, also returning the membrane, ``{"v": [T, B, *size]}``."""
        past = self._past(x, state)
        z, after = self(x, state)
        whole = torch.cat([past, x.flatten(2)]).flatten(1)
        return z, after, {"v": filter_reference(whole, self.weight, torch.zeros_like(self.v_threshold)).view(x.shape)}

    def _past(self, x: Tensor, state: State | None) -> Tensor:
        if x.dim() != 2 + len(self.size) or tuple(x.shape[2:]) != self.size:
            raise InputError(
                f"SlidingPSN takes [T, B, {', '.join(map(str, self.size))}] (time first), got {tuple(x.shape)}"
            )
        if state is None:
            state = self.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
        shape = (x.shape[1], self.order - 1, *self.size)
        if len(state) != 1 or tuple(state[0].shape) != shape:
            raise InputError(f"SlidingPSN state must be one tensor {shape}, got {[tuple(s.shape) for s in state]}")
        return state[0].transpose(0, 1).flatten(2)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values, JSON-able."""
        surrogate = {n: getattr(self.surrogate, n) for n in ("family", "width", "peak")}
        return {"size": list(self.size), "order": self.order, "dt": self.dt, "surrogate": surrogate}

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> Self:
        """The layer that :meth:`definition` describes, freshly initialised."""
        options = {**definition, "surrogate": Surrogate(**definition["surrogate"])}
        return cls(tuple(options.pop("size")), **options)

    def extra_repr(self) -> str:
        """Size, order and time step."""
        return f"{', '.join(map(str, self.size))}, order={self.order}, dt={self.dt:g} s"


PARALLEL: Mapping[str, type[Population]] = MappingProxyType({"SlidingPSN": SlidingPSN})
"""The neurons without a reset, by name."""
