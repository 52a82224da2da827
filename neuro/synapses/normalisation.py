"""Batch normalisation of currents over time; :func:`neuro.fold` makes weights of it for inference.

In training the statistics are those of the steps and samples of one call, and running ones are kept; in evaluation
the running ones are used. Features are the third axis of ``[T, B, C, ...]``, axes behind it are space.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.kernels.compiler.route import Route
from neuro.layer import State, StatefulLayer

__all__ = ["BNTT", "NORMALISATIONS", "TDBN", "TEBN", "BatchNorm"]


def _check_options(name: str, **options: float) -> None:
    for option, value in options.items():
        if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
            raise InputError(f"{name} {option} must be a positive number, got {value}")


def _check_count(name: str, option: str, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} {option} must be a whole number from 1 on, got {value!r}")


def _check_input(name: str, x: Tensor, features: int, samples: int, training: bool) -> None:
    if x.dim() < 3 or x.shape[2] != features:
        raise InputError(f"{name} takes [T, B, {features}, ...] (time first), got {tuple(x.shape)}")
    if training and samples < 2:
        raise InputError(f"{name} needs at least two values a feature for its statistics, got {samples}; use .eval()")


class BatchNorm(nn.Module):
    """Batch normalisation over steps, samples and space: ``[T, B, C, ...] -> [T, B, C, ...]``.

    ``y = weight (x - mean) / sqrt(variance + eps) + bias`` for each feature. Ioffe & Szegedy 2015.

    Args:
        features: C.
        eps: added to the variance.
        momentum: share of a new batch in the running statistics.

    Attributes:
        weight: ``[C]``, one at first.
        bias: ``[C]``, zero at first.

    Raises:
        InputError: options out of range; in training, one value a feature.

    >>> y = BatchNorm(2)(torch.arange(12.0).view(3, 2, 2))
    >>> y.mean((0, 1)).abs().max() < 1e-6, y.var((0, 1), correction=0)
    (tensor(True), tensor([1.0000, 1.0000], grad_fn=<VarBackward0>))
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, features: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        _check_count(type(self).__name__, "features", features)
        _check_options(type(self).__name__, eps=eps, momentum=momentum)
        self.features, self.eps, self.momentum = features, eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, ...]`` to the same shape."""
        _check_input(type(self).__name__, x, self.features, x.numel() // self.features, self.training)
        weight, statistics = self._weight(), (self.running_mean, self.running_var)
        made = F.batch_norm(x.flatten(0, 1), *statistics, weight, self.bias, self.training, self.momentum, self.eps)
        return made.view(x.shape)

    def _weight(self) -> Tensor:
        return self.weight

    @torch.no_grad()
    def affine(self) -> tuple[Tensor, Tensor]:
        """Gain and shift ``[1, C]`` (float64) with which evaluation gives ``y = gain x + shift``, in every step."""
        gain = self._weight().double() * torch.rsqrt(self.running_var.double() + self.eps)
        return gain.unsqueeze(0), (self.bias.double() - gain * self.running_mean.double()).unsqueeze(0)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values."""
        return {"features": self.features, "eps": self.eps, "momentum": self.momentum}

    def extra_repr(self) -> str:
        """What :meth:`definition` holds."""
        return ", ".join(f"{name}={value}" for name, value in self.definition().items())


class TDBN(BatchNorm):
    """Threshold-dependent batch normalisation: the variance of the currents is ``(alpha v_threshold)^2``.

    ``y = alpha v_threshold weight (x - mean) / sqrt(variance + eps) + bias``; Zheng et al. 2021, "Going deeper with
    directly-trained larger spiking neural networks" (AAAI, eq. 6 to 9).

    Args:
        features: C.
        v_threshold: the current that lifts the membrane from rest to threshold in one step: the threshold itself
            for a membrane that adds up currents, ``v_threshold tau / (r dt)`` for ``LIF`` under forward Euler.
        alpha: 1, or ``1 / sqrt(2)`` for each of two branches that are added.
        eps: added to the variance.
        momentum: share of a new batch in the running statistics.

    Raises:
        InputError: options out of range; in training, one value a feature.

    >>> TDBN(2, v_threshold=20.0)(torch.arange(12.0).view(3, 2, 2)).var((0, 1), correction=0).detach().round()
    tensor([400., 400.])
    """

    def __init__(
        self, features: int, *, v_threshold: float = 1.0, alpha: float = 1.0, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__(features, eps=eps, momentum=momentum)
        _check_options("TDBN", v_threshold=v_threshold, alpha=alpha)
        self.v_threshold, self.alpha = v_threshold, alpha

    def _weight(self) -> Tensor:
        return self.alpha * self.v_threshold * self.weight

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values."""
        return super().definition() | {"v_threshold": self.v_threshold, "alpha": self.alpha}


class _EachStep(StatefulLayer):
    """Base of what differs from step to step: the state ``([B],)`` counts the steps already taken."""

    def __init__(self, features: int, steps: int, eps: float, momentum: float, dt: float) -> None:
        super().__init__()
        name = type(self).__name__
        _check_count(name, "features", features)
        _check_count(name, "steps", steps)
        _check_options(name, eps=eps, momentum=momentum, dt=dt)
        self.features, self.steps, self.eps, self.momentum, self.dt = features, steps, eps, momentum, float(dt)

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """No step taken yet: ``[batch]``."""
        return (torch.zeros(batch, device=device, dtype=dtype),)

    def _first(self, x: Tensor, state: State | None) -> tuple[int, State]:
        """Number of the first step, and the state after the last."""
        first, last = 0, 0
        (taken,) = state or self.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
        if taken.shape != x.shape[1:2]:
            raise InputError(f"{type(self).__name__} state must be [{x.shape[1]}], got {list(taken.shape)}")
        if state and taken.numel():
            first, last = (int(t) for t in taken.detach().aminmax())
        if first != last:
            raise InputError(f"{type(self).__name__} needs all samples at the same step, got {first} to {last}")
        if first < 0 or first + x.shape[0] > self.steps:
            raise InputError(
                f"{type(self).__name__} knows {self.steps} steps, got {x.shape[0]} after {first}; give it steps="
                f"{first + x.shape[0]}"
            )
        return first, (taken + x.shape[0],)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values."""
        return {n: getattr(self, n) for n in ("features", "steps", "eps", "momentum", "dt")}

    def extra_repr(self) -> str:
        """What :meth:`definition` holds."""
        return ", ".join(f"{name}={value}" for name, value in self.definition().items())


class TEBN(_EachStep):
    """Temporal effective batch normalisation: :class:`BatchNorm`, times a learned number for each step.

    ``y[t] = p[t] (weight (x[t] - mean) / sqrt(variance + eps) + bias)``, statistics over all steps; Duan et al. 2022,
    "Temporal effective batch normalization in spiking neural networks" (NeurIPS).

    Args:
        features: C.
        steps: T, the longest sequence.
        eps: added to the variance.
        momentum: share of a new batch in the running statistics.
        dt: time step in seconds, which the layers of a network share.

    Attributes:
        scale: ``p [T]``, one at first.

    Raises:
        InputError: options out of range; longer sequences; in training, one value a feature.

    >>> y, (taken,) = TEBN(2, 3)(torch.arange(12.0).view(3, 2, 2))
    >>> y.shape, taken
    (torch.Size([3, 2, 2]), tensor([3., 3.]))
    """

    def __init__(
        self, features: int, steps: int, *, eps: float = 1e-5, momentum: float = 0.1, dt: float = 1e-3
    ) -> None:
        super().__init__(features, steps, eps, momentum, dt)
        self.norm = BatchNorm(features, eps=eps, momentum=momentum)
        self.scale = nn.Parameter(torch.ones(steps))

    def forward(self, x: Tensor, state: State | None = None, *, route: Route | None = None) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            x: ``[T, B, C, ...]``.
            state: steps already taken, ``[B]``; none unless given.
            route: plays no part; statistics tie all steps of a call together under every rule.

        Returns:
            ``[T, B, C, ...]`` and the steps taken.

        Raises:
            InputError: shapes or steps that do not fit.
        """
        _check_input("TEBN", x, self.features, x.numel() // self.features, self.training)
        first, after = self._first(x, state)
        scale = self.scale[first : first + x.shape[0]].view(-1, *(1,) * (x.dim() - 1))
        return scale * self.norm(x), after

    @torch.no_grad()
    def affine(self) -> tuple[Tensor, Tensor]:
        """Gain and shift ``[T, C]`` (float64) with which evaluation gives ``y[t] = gain[t] x[t] + shift[t]``."""
        gain, shift = self.norm.affine()
        scale = self.scale.double().unsqueeze(1)
        return scale * gain, scale * shift


class BNTT(_EachStep):
    """Batch normalisation through time: statistics and gain of each step are its own; no bias.

    ``y[t] = weight[t] (x[t] - mean[t]) / sqrt(variance[t] + eps)``; Kim & Panda 2021, "Revisiting batch normalization
    for training low-latency deep spiking neural networks from scratch".

    Args:
        features: C.
        steps: T, the longest sequence.
        eps: added to the variance.
        momentum: share of a new batch in the running statistics.
        dt: time step in seconds, which the layers of a network share.

    Attributes:
        weight: ``[T, C]``, one at first.

    Raises:
        InputError: options out of range; longer sequences; in training, one value a feature and step.

    >>> y, _ = BNTT(2, 3)(torch.arange(12.0).view(3, 2, 2))
    >>> y[0].mean(0).tolist()
    [0.0, 0.0]
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self, features: int, steps: int, *, eps: float = 1e-5, momentum: float = 0.1, dt: float = 1e-3
    ) -> None:
        super().__init__(features, steps, eps, momentum, dt)
        self.weight = nn.Parameter(torch.ones(steps, features))
        self.register_buffer("running_mean", torch.zeros(steps, features))
        self.register_buffer("running_var", torch.ones(steps, features))

    def forward(self, x: Tensor, state: State | None = None, *, route: Route | None = None) -> tuple[Tensor, State]:
        """As :meth:`TEBN.forward`: ``[T, B, C, ...]`` to the same shape, and the steps taken, ``[B]``."""
        values = x.shape[1:].numel() // self.features  # of each feature in each step
        _check_input("BNTT", x, self.features, values, self.training)
        first, after = self._first(x, state)
        if x.shape[0] == 0:
            return x, after
        rows = slice(first, first + x.shape[0])
        # All steps at once: a step's features beside the others'.
        wide = x.transpose(0, 1).reshape(x.shape[1], x.shape[0] * self.features, *x.shape[3:])
        mean, variance, weight = (v[rows].view(-1) for v in (self.running_mean, self.running_var, self.weight))
        made = F.batch_norm(wide, mean, variance, weight, None, self.training, self.momentum, self.eps)
        return made.view(x.shape[1], x.shape[0], *x.shape[2:]).transpose(0, 1), after

    @torch.no_grad()
    def affine(self) -> tuple[Tensor, Tensor]:
        """Gain and shift ``[T, C]`` (float64) with which evaluation gives ``y[t] = gain[t] x[t] + shift[t]``."""
        gain = self.weight.double() * torch.rsqrt(self.running_var.double() + self.eps)
        return gain, -gain * self.running_mean.double()


NORMALISATIONS: Mapping[str, type[BatchNorm | TEBN | BNTT]] = MappingProxyType(
    {"BatchNorm": BatchNorm, "TDBN": TDBN, "TEBN": TEBN, "BNTT": BNTT}
)
"""The normalisations of currents, by name."""
