"""Synapses with learnable delays: per synapse, per axon or per dendrite.

Training spreads each synapse over all steps by a Gaussian around its delay, whose width sigma
falls from epoch to epoch; evaluation rounds the delay and passes every spike once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neuro.delays import KINDS, LearnedDelays, count_taps, sigma_schedule
from neuro.errors import InputError, unknown_name
from neuro.kernels.compiler.route import Route
from neuro.kernels.delays.delayed_linear import MODES, delayed_linear, extend
from neuro.kernels.delays.rounded import rounded_linear, shift
from neuro.kernels.delays.taps import each_tap, filter_delays
from neuro.kernels.propagation.dense import dense_linear
from neuro.kernels.propagation.event_linear import event_linear
from neuro.layer import State, StatefulLayer

__all__ = ["KINDS", "DelayedLinear", "sigma_schedule"]


class DelayedLinear(LearnedDelays, StatefulLayer):
    """All-to-all synapses with delays: ``x [T, B, in] -> [T, B, out]``.

    ``y[t, b, o] = sum_i sum_d weight[o, i] k(d; delay[o, i], sigma) x[t - d, b, i] + bias[o]``, d from
    0 to max_delay, with the normalised Gaussian k of :mod:`neuro.kernels.delays.taps`. With
    ``.eval()`` the delay is rounded to whole steps and the input arrives once: the form that runs
    on a chip, and that a network should be judged by.

    What trains is ``position``, in steps and without limits: the delay follows it within 0 and
    ``max_delay`` and turns back at both ends, so that no step of an optimizer leaves the range
    and none gets stuck there. (The paper clamps after every step; the two differ only for steps
    that would leave.) The paper's rate for positions is 100 times that of the weights, and no
    weight decay. Hammouamri et al. 2024, "Learning delays in spiking neural networks using dilated convolutions with
    learnable spacings" (ICLR).

    State is explicit: the steps still felt, ``[B, D - 1, in]`` with D = max_delay / dt + 1 (for
    dendrites, after the weights, ``[B, D - 1, out]``).

    Args:
        in_features, out_features: sizes.
        max_delay: the longest delay in seconds, a whole number of steps.
        kind: ``"synapse"``, a delay for each pair; ``"axon"``, one for each input; ``"dendrite"``,
            one for each output.
        dt: time step in seconds.
        sigma: width of the taps in seconds; by default where :func:`sigma_schedule` starts, which
            :func:`neuro.fit` follows from epoch to epoch.
        delay: initial delays in seconds, one number or ``[out, in]``, ``[in]``, ``[out]`` by kind;
            by default uniform over the range.
        bias: whether to add ``bias [out]``.
        mode: ``"event"``, ``"dense"`` or ``"auto"``, by measured activity.

    Raises:
        InputError: unknown kind or mode; a delay that is negative, longer than ``max_delay`` or of another shape.

    >>> layer = DelayedLinear(2, 1, 4e-3, delay=torch.tensor([[1e-3, 3e-3]]), bias=False).eval()
    >>> _ = layer.requires_grad_(False).weight.fill_(1.0)
    >>> x = torch.zeros(5, 1, 2)
    >>> x[0] = 1.0
    >>> y, state = layer(x)
    >>> y.flatten().tolist()
    [0.0, 1.0, 0.0, 1.0, 0.0]
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        max_delay: float,
        *,
        kind: str = "synapse",
        dt: float = 1e-3,
        sigma: float | None = None,
        delay: float | Tensor | None = None,
        bias: bool = True,
        mode: str = "auto",
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise unknown_name("mode", mode, MODES)
        self.in_features, self.out_features = in_features, out_features
        self.taps, self.mode = count_taps(max_delay, dt), mode
        made = nn.Linear(in_features, out_features, bias)
        # Stored column by column, so that the synapses of one presynaptic neuron are contiguous.
        self.weight = nn.Parameter(made.weight.detach().t().contiguous().t())
        self.bias = made.bias
        sizes = {"synapse": (out_features, in_features), "axon": (in_features,), "dendrite": (out_features,)}
        self._set_delays(sizes, kind, max_delay, dt, sigma=sigma, delay=delay)

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Silence before the first step: ``[batch, D - 1, in]`` (for dendrites ``[batch, D - 1, out]``)."""
        return (torch.zeros((batch, self.taps - 1, self._held()), device=device, dtype=dtype),)

    def _held(self) -> int:
        return self.out_features if self.kind == "dendrite" else self.in_features

    def forward(self, x: Tensor, state: State | None = None, *, route: Route | None = None) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: ``[T, B, in]``.
            state: as returned for the steps before; silence unless given.
            route: edges that backward ignores. ``cut_time`` cuts those that a delay carries to a later step:
                weights and delays learn from all inputs held, what lies before the layer from those that
                arrive at once. A dendrite, whose weights lie before its delays, refuses it.

        Returns:
            ``[T, B, out]`` and the state after the last step.

        Raises:
            InputError: shape, dtype or device that does not fit; a route that a dendrite refuses.
        """
        if x.dim() != 3 or x.shape[2] != self.in_features:
            raise InputError(f"DelayedLinear takes [T, B, {self.in_features}] (time first), got {tuple(x.shape)}")
        past = self._past(x.shape[1], state)
        cut = route is not None and route.cut_time
        if cut and self.kind == "dendrite":
            raise InputError("a rule that cuts time cannot train the weights of kind 'dendrite'; use 'synapse' or BPTT")
        y, after = getattr(self, f"_{self.kind}")(x.detach() if cut else x, past)
        y = y + self._at_once(x) if cut and x.requires_grad else y
        return y if self.bias is None else y + self.bias, (after.transpose(0, 1),)

    def _past(self, batch: int, state: State | None) -> Tensor | None:
        """The state time first, ``[D - 1, B, N]``."""
        if state is None:
            return None
        shape = (batch, self.taps - 1, self._held())
        if len(state) != 1 or tuple(state[0].shape) != shape:
            got = [tuple(s.shape) for s in state]
            raise InputError(f"DelayedLinear state must be one tensor {shape}, what its delays hold, got {got}")
        return state[0].transpose(0, 1)

    def _at_once(self, x: Tensor) -> Tensor:
        """``[T, B, out]``: zero, with the gradient to ``x`` of a delay of 0 alone."""
        sigma = self.sigma / self.dt
        tap = next(each_tap(self.steps, sigma, self.taps)) if self.training else (self._whole() == 0).to(x.dtype)
        now = dense_linear(x, self.weight.detach() * tap)  # an axon's tap is that of a whole column
        return now - now.detach()

    def _synapse(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.training:
            sigma = self.sigma / self.dt
            return delayed_linear(x, self.weight, self.steps, sigma, taps=self.taps, past=past, mode=self.mode)
        inputs, after = extend(x, past, self.taps - 1)
        return rounded_linear(inputs, self.weight, self._whole(), taps=self.taps, mode=self.mode), after

    def _axon(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        inputs, after = extend(x, past, self.taps - 1)
        return event_linear(self._each(inputs), self.weight, mode=self.mode), after

    def _dendrite(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        currents, after = extend(event_linear(x, self.weight, mode=self.mode), past, self.taps - 1)
        return self._each(currents), after

    def _each(self, x: Tensor) -> Tensor:
        if self.training:
            return filter_delays(x, self.steps, self.sigma / self.dt, self.taps)
        return shift(x, self._whole(), self.taps)

    def _whole(self) -> Tensor:
        return self.steps.detach().round().to(torch.int32)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values, JSON-able."""
        names = ("in_features", "out_features", "max_delay", "kind", "dt", "mode")
        return {n: getattr(self, n) for n in names} | {"bias": self.bias is not None}

    def extra_repr(self) -> str:
        """Sizes, kind, longest delay and sigma."""
        sizes = f"{self.in_features}, {self.out_features}, {self.kind}"
        return f"{sizes}, max_delay={self.max_delay:g} s, sigma={self.sigma:g} s, dt={self.dt:g} s"
