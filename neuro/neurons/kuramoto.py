"""Oscillators on the sphere that pull at each other: artificial Kuramoto oscillatory neurons."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.kernels.compiler.route import Route
from neuro.layer import Population, State

__all__ = ["AKOrN"]


class AKOrN(Population):
    r"""Artificial Kuramoto oscillatory neurons, all-to-all: unit vectors ``x_i`` of dimension ``n`` that turn and align.

    Each of ``updates`` updates per step is, with the projection on the tangent of the sphere,

    .. math:: y = c + J x, \quad x_i \leftarrow \Pi[x_i + \gamma (\Omega_i x_i + y_i - \langle y_i, x_i \rangle x_i)],
        \quad \Pi[v] = v / |v|

    where ``\Omega_i`` turns each pair of coordinates at the learned ``omega`` (radians per unit of ``gamma``), and
    ``c`` is the input. For symmetric ``J`` and ``omega = 0`` the energy ``-x.J x / 2 - c.x`` falls while ``gamma`` is
    small (up to about 0.2 at the initial weights); at the paper's ``gamma = 1`` it may rise.

    Args:
        size: number of oscillators.
        dimension: coordinates of each, even; 2 is the Kuramoto model of phases.
        gamma: length of an update, learned through its logarithm.
        omega: size of the frequencies at the start, drawn normally.
        updates: updates per time step.
        dt: time step in seconds; the oscillators themselves know updates only.

    Raises:
        InputError: sizes, gamma, omega or dt out of range.

    The state is ``x``, ``[B, size, dimension]``; it begins at ``start``, drawn uniformly on the sphere when the layer
    is made. The output is the state as ``[T, B, size * dimension]``.
    Source: Miyato et al. 2025, "Artificial Kuramoto oscillatory neurons" (ICLR), equations 2 and 3.

    >>> import neuro
    >>> y, (x,) = neuro.AKOrN(3, dimension=4)(torch.zeros(5, 2, 12))
    >>> y.shape, torch.allclose(x.norm(dim=2), torch.ones(2, 3))
    (torch.Size([5, 2, 12]), True)
    """

    start: Tensor

    def __init__(
        self,
        size: int,
        *,
        dimension: int = 4,
        gamma: float = 1.0,
        omega: float = 0.1,
        updates: int = 1,
        dt: float = 1e-3,
    ) -> None:
        super().__init__()
        for name, value in (("size", size), ("dimension", dimension), ("updates", updates)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"AKOrN {name} must be an integer from 1 on, got {value!r}")
        if dimension % 2:
            raise InputError(f"AKOrN dimension must be even (frequencies turn pairs of coordinates), got {dimension}")
        for name, number, allowed in (("gamma", gamma, gamma > 0), ("omega", omega, omega >= 0), ("dt", dt, dt > 0)):
            if not math.isfinite(number) or not allowed:
                least = "from 0 on" if name == "omega" else "above 0"
                raise InputError(f"AKOrN {name} must be finite and {least}, got {number!r}")
        self.oscillators, self.dimension, self.updates, self.dt = size, dimension, updates, float(dt)
        self.size = (size * dimension,)
        self.coupling = nn.Parameter(torch.randn(self.size * 2) / math.sqrt(self.size[0]))
        self.omega = nn.Parameter(omega * torch.randn(size, dimension // 2))
        self.log_gamma = nn.Parameter(torch.tensor(math.log(gamma)))
        self.register_buffer("start", nn.functional.normalize(torch.randn(size, dimension), dim=1))

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """``start`` for every sample, ``[batch, size, dimension]``; of norm 1 in that dtype."""
        x = self.start.to(device=device, dtype=dtype or self.start.dtype).expand(batch, *self.start.shape)
        return (nn.functional.normalize(x, dim=2),)

    def forward(self, x: Tensor, state: State | None = None, *, route: Route | None = None) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: stimulus ``c [T, B, size * dimension]``.
            state: unit vectors, as returned for the steps before; ``start`` unless given.
            route: edges that backward ignores; ``cut_time`` cuts the state between steps, not between updates.

        Returns:
            The oscillators ``[T, B, size * dimension]`` and the state after the last step.

        Raises:
            InputError: shape that does not fit.
        """
        now = self._before(x, state)
        gamma, cut = torch.exp(self.log_gamma), route is not None and route.cut_time
        made = []
        for stimulus in x:
            now = now.detach() if cut else now
            for _ in range(self.updates):
                now = self._update(stimulus.view(now.shape), now, gamma)
            made.append(now.flatten(1))
        return (torch.stack(made) if made else torch.zeros_like(x)), (now,)

    @torch.no_grad()
    def trace(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Like ``forward`` without gradients, also the energy of each step, ``{"energy": [T, B]}``."""
        y, after = self(x, state)
        return y, after, {"energy": self.energy(x, y)}

    def energy(self, stimulus: Tensor, oscillators: Tensor) -> Tensor:
        """``-x.J x / 2 - c.x`` of each sample; both ``[..., size * dimension] -> [...]``."""
        pull = oscillators @ self.coupling.t()
        made: Tensor = ((pull / 2 + stimulus) * oscillators).sum(-1)
        return -made

    def order(self, oscillators: Tensor) -> Tensor:
        """How far all point the same way, ``|mean_i x_i|``: 0 apart, 1 as one; ``[..., size * dimension] -> [...]``."""
        each = oscillators.unflatten(-1, (self.oscillators, self.dimension))
        made: Tensor = torch.linalg.vector_norm(each.mean(-2), dim=-1)
        return made

    def _update(self, stimulus: Tensor, x: Tensor, gamma: Tensor) -> Tensor:
        """One update of ``x [B, size, dimension]``."""
        y = stimulus + (x.flatten(1) @ self.coupling.t()).view(x.shape)
        tangent = y - (y * x).sum(2, keepdim=True) * x
        first, second = x.unflatten(2, (-1, 2)).unbind(3)
        turned = torch.stack([-self.omega * second, self.omega * first], 3).flatten(2)
        # The change is orthogonal to x, so that the norm before this is at least 1.
        return nn.functional.normalize(x + gamma * (turned + tangent), dim=2)

    def _before(self, x: Tensor, state: State | None) -> Tensor:
        if x.dim() != 3 or tuple(x.shape[2:]) != self.size:
            raise InputError(f"AKOrN takes [T, B, {self.size[0]}] (time first), got {tuple(x.shape)}")
        shape = (x.shape[1], self.oscillators, self.dimension)
        if state is None:
            state = self.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
        if len(state) != 1 or tuple(state[0].shape) != shape:
            raise InputError(f"AKOrN state must be one tensor {shape}, got {[tuple(s.shape) for s in state]}")
        return state[0]

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values, JSON-able."""
        sizes = {"size": self.oscillators, "dimension": self.dimension, "updates": self.updates}
        return {**sizes, "dt": self.dt}

    def extra_repr(self) -> str:
        """Sizes, updates and time step."""
        return f"{self.oscillators}, dimension={self.dimension}, updates={self.updates}, dt={self.dt:g} s"
