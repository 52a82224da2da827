"""Losses on the output sequence of a classifying network.

Every loss reads logits out of the output ``[T, B, C]``, or of each step of it; the readout is also what the prediction
is made of, so a network is judged by what it was trained on. All but :class:`VanRossum`, a distance between spike
trains, are cross entropies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from neuro.encoding import readouts
from neuro.errors import InputError, unknown_name

__all__ = [
    "LOSSES",
    "TET",
    "Contrastive",
    "Loss",
    "VanRossum",
    "choose_loss",
    "contrastive",
    "first_spike",
    "last_membrane",
    "max_membrane",
    "mean_membrane",
    "softmax_sum",
    "spike_count",
    "tet",
    "van_rossum",
]


@dataclass(frozen=True)
class Loss:
    """Cross entropy on a readout of the output sequence.

    Args:
        name: what messages and files call it.
        readout: output ``[T, B, C]`` -> logits ``[B, C]``; must be differentiable.
        temperature: of the softmax; logits are divided by it before the cross entropy.

    Raises:
        InputError: a temperature that is not positive.

    >>> last = Loss("last_step", lambda output: output[-1])
    >>> round(float(last(torch.zeros(5, 2, 4), torch.tensor([0, 3]))), 4)
    1.3863
    """

    name: str
    readout: Callable[..., Tensor]
    temperature: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise InputError(f"temperature={self.temperature!r} of loss {self.name!r} must be a positive finite number")

    def __call__(self, output: Tensor, y: Tensor) -> Tensor:
        """Mean cross entropy over the batch, a scalar.

        Args:
            output: ``[T, B, C]`` spikes or membranes of the last layer.
            y: ``[B]`` int64 class of each sample.

        Raises:
            InputError: shapes, dtype or class numbers do not fit.
        """
        _check(output, y)
        return functional.cross_entropy(self.readout(output) / self.temperature, y)

    def within(self, lengths: Tensor) -> Self:
        """This loss for a batch whose samples have ``lengths`` ``[B]`` steps each; what follows is padding.

        The readout is called with the lengths as second argument, as those of :mod:`neuro.encoding` allow.

        >>> lengths = torch.tensor([2, 5])
        >>> round(float(max_membrane.within(lengths)(torch.zeros(5, 2, 4), torch.tensor([0, 3]))), 4)
        1.3863
        """
        return replace(self, readout=partial(self.readout, lengths=lengths))

    def logits(self, output: Tensor) -> Tensor:
        """The readout ``[B, C]`` of ``output`` ``[T, B, C]``; its largest entry is the prediction."""
        if output.ndim != 3:
            raise InputError(f"output has shape {list(output.shape)}; a loss reads [T, B, C]")
        return self.readout(output)


@dataclass(frozen=True)
class TET(Loss):
    """Temporal efficient training: every step answers for itself.

    ``L = (1 - share) mean_t CE(O[t], y) + share mean_t,k (O[t, k] - level)^2`` on the output O; the prediction is the
    largest mean over time. Deng et al. 2022, "Temporal efficient training of spiking neural network via gradient
    re-weighting" (eq. 9 to 11).

    Args:
        share: of the second term, which holds the outputs near ``level``.
        level: in volts for membranes, the threshold of the neurons.
        temperature: of the softmax.

    Raises:
        InputError: a share outside 0 to 1, a temperature that is not positive.

    >>> round(float(TET(share=0.0)(torch.zeros(5, 2, 4), torch.tensor([0, 3]))), 4)
    1.3863
    """

    name: str = "tet"
    readout: Callable[..., Tensor] = readouts.mean_membrane
    share: float = 0.05
    level: float = 1.0
    lengths: Tensor | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise InputError(f"TET share={self.share!r} must be in 0..1")

    def __call__(self, output: Tensor, y: Tensor) -> Tensor:
        """Mean over steps and samples, a scalar; ``output`` is ``[T, B, C]``, ``y`` ``[B]``."""
        _check(output, y)
        steps, samples, _ = output.shape
        logits = output.flatten(0, 1) / self.temperature
        each = functional.cross_entropy(logits, y.repeat(steps), reduction="none").view(steps, samples)
        near = (output - self.level).square().mean(2)
        per_step = (1 - self.share) * each + self.share * near
        return readouts.mean_membrane(per_step.unsqueeze(2), self.lengths).mean()

    def within(self, lengths: Tensor) -> Self:
        """As :meth:`Loss.within`; ``lengths`` is ``[B]``, in steps."""
        return replace(self, readout=partial(self.readout, lengths=lengths), lengths=lengths)


@dataclass(frozen=True)
class Contrastive(Loss):
    """Cross entropy, and samples of one class drawn together, of different classes apart.

    ``L = CE(r, y) + weight L_c`` on the readout r; with unit vectors ``u = r / |r|`` and P(i) the other samples of the
    class of i in the batch, ``L_c = -mean_i mean_(p in P(i)) log(exp(u_i u_p / s) / sum_(a != i) exp(u_i u_a / s))``
    over the samples i that have such others. Khosla et al. 2020, "Supervised contrastive learning" (eq. 2).

    Args:
        weight: of the second term.
        spread: s, the temperature of the similarities.
        temperature: of the softmax of the first term.

    Raises:
        InputError: a negative weight, a spread or temperature that is not positive.

    >>> together = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]])
    >>> y = torch.tensor([0, 0, 1, 1])
    >>> bool(contrastive(together, y) < contrastive(together[:, [0, 2, 1, 3]], y))
    True
    """

    name: str = "contrastive"
    readout: Callable[..., Tensor] = readouts.mean_membrane
    weight: float = 0.5
    spread: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.weight >= 0 and self.spread > 0):
            raise InputError(f"Contrastive weight={self.weight!r} must not be negative, spread={self.spread!r} above 0")

    def __call__(self, output: Tensor, y: Tensor) -> Tensor:
        """A scalar; ``output`` is ``[T, B, C]``, ``y`` ``[B]``."""
        _check(output, y)
        logits = self.readout(output)
        return functional.cross_entropy(logits / self.temperature, y) + self.weight * self._drawn(logits, y)

    def _drawn(self, logits: Tensor, y: Tensor) -> Tensor:
        unit = functional.normalize(logits, dim=1)
        itself = torch.eye(len(y), dtype=torch.bool, device=y.device)
        alike = (unit @ unit.t() / self.spread).masked_fill(itself, -torch.inf).log_softmax(1).masked_fill(itself, 0.0)
        same = (y[:, None] == y) & ~itself
        others = same.sum(1)
        each = -(alike * same).sum(1) / others.clamp(min=1)
        return each.sum() / (others > 0).sum().clamp(min=1)


@dataclass(frozen=True)
class VanRossum(Loss):
    """The squared distance of van Rossum between the spikes of the output and those wanted.

    ``D^2 = (1 / decay) sum_t |f[t] - g[t]|^2`` with ``f[t] = exp(-1 / decay) f[t - 1] + z[t]`` of the output and g of the
    target, summed over the neurons: about 1/2 for every spike too many or too few. The prediction is the class whose
    target is nearest. van Rossum 2001, "A novel spike distance" (eq. 2.4), in steps.

    Args:
        decay: time constant of the filter, in time steps: how far apart two spikes may be and still match.
        targets: ``[classes, T, C]`` spikes, one pattern a class; unless given, neuron k fires every ``interval`` steps
            for class k and the others are silent.
        interval: steps between the spikes of the patterns that are made.

    Raises:
        InputError: a decay or interval that is not positive; when called, targets of another T or C.

    >>> z = torch.zeros(9, 1, 2)
    >>> z[::4, 0, 1] = 1
    >>> float(van_rossum(z, torch.tensor([1])))
    0.0
    """

    name: str = "van_rossum"
    readout: Callable[..., Tensor] = readouts.spike_count
    decay: float = 10.0
    targets: Tensor | None = field(default=None, compare=False)
    interval: int = 4
    lengths: Tensor | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.decay > 0 and self.interval >= 1):
            raise InputError(f"VanRossum decay={self.decay!r} must be above 0, interval={self.interval!r} at least 1")

    def __call__(self, output: Tensor, y: Tensor) -> Tensor:
        """Mean over the samples, a scalar; ``output`` is ``[T, B, C]``, ``y`` ``[B]``."""
        patterns = self._patterns(output)
        _check(output, y, len(patterns))
        return self._distance(output, patterns[y].transpose(0, 1)).mean()

    def logits(self, output: Tensor) -> Tensor:
        """Minus the distance to the pattern of each class, ``[B, classes]``."""
        patterns = self._patterns(output)
        return -torch.stack([self._distance(output, wanted[:, None]) for wanted in patterns], 1)

    def within(self, lengths: Tensor) -> Self:
        """As :meth:`Loss.within`; ``lengths`` is ``[B]``, in steps."""
        return replace(self, lengths=lengths)

    def _distance(self, output: Tensor, wanted: Tensor) -> Tensor:
        steps = torch.arange(len(output), dtype=output.dtype, device=output.device)
        past = steps[:, None] - steps
        kernel = torch.exp(-past.clamp(min=0) / self.decay) * (past >= 0)  # [T, T], one product for the filter
        filtered = torch.tensordot(kernel, output - wanted, 1)
        return readouts.spike_count(filtered.square(), self.lengths).sum(1) / self.decay

    def _patterns(self, output: Tensor) -> Tensor:
        """``[classes, T, C]`` like the output."""
        if output.ndim != 3:
            raise InputError(f"output has shape {list(output.shape)}; a loss reads [T, B, C]")
        steps, _, neurons = output.shape
        if self.targets is None:
            firing = (torch.arange(steps, device=output.device) % self.interval == 0).to(output)
            return torch.eye(neurons).to(output)[:, None] * firing[:, None]
        if self.targets.ndim != 3 or self.targets.shape[1:] != (steps, neurons):
            raise InputError(
                f"targets are {list(self.targets.shape)}, the output {list(output.shape)}; give [classes, {steps}, {neurons}]"
            )
        return self.targets.to(output)


def _check(output: Tensor, y: Tensor, classes: int | None = None) -> None:
    if output.ndim != 3 or 0 in output.shape:
        raise InputError(f"output has shape {list(output.shape)}; a loss reads a non-empty [T, B, C]")
    if y.dtype != torch.int64 or y.shape != output.shape[1:2]:
        raise InputError(
            f"y is {y.dtype} of shape {list(y.shape)}; it must be torch.int64 of shape "
            f"[{output.shape[1]}], one class per sample of the output {list(output.shape)}"
        )
    low, high = (int(bound) for bound in y.aminmax())
    known = output.shape[2] if classes is None else classes
    if low < 0 or high >= known:
        cure = "give the last layer one neuron per class" if classes is None else "give a target for each class"
        raise InputError(
            f"y holds class {low if low < 0 else high}, but the output has classes 0 to {known - 1}; {cure}"
        )


spike_count = Loss("spike_count", readouts.spike_count)
mean_membrane = Loss("mean_membrane", readouts.mean_membrane)
max_membrane = Loss("max_membrane", readouts.max_membrane)
last_membrane = Loss("last_membrane", readouts.last_membrane)
softmax_sum = Loss("softmax_sum", readouts.softmax_sum)

first_spike = Loss("first_spike", readouts.first_spike)
tet = TET()
contrastive = Contrastive()
van_rossum = VanRossum()

_ALL = (
    spike_count,
    mean_membrane,
    max_membrane,
    last_membrane,
    softmax_sum,
    first_spike,
    tet,
    contrastive,
    van_rossum,
)
LOSSES: Mapping[str, Loss] = MappingProxyType({loss.name: loss for loss in _ALL})


def choose_loss(loss: str | Loss) -> Loss:
    """The loss of that name, or ``loss`` itself.

    >>> choose_loss("max_membrane") is max_membrane
    True

    Raises:
        InputError: no loss has that name.
    """
    if isinstance(loss, Loss):
        return loss
    if loss not in LOSSES:
        raise unknown_name("loss", str(loss), LOSSES)
    return LOSSES[loss]
