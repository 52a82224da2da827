"""Losses on the output sequence of a classifying network.

Every loss is cross entropy on logits read out of the output ``[T, B, C]``, or of each step of it; the readout is
also what the prediction is made of, so a network is judged by what it was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from neuro.encoding import readouts
from neuro.errors import InputError, unknown_name

__all__ = [
    "LOSSES",
    "TET",
    "Loss",
    "choose_loss",
    "last_membrane",
    "max_membrane",
    "mean_membrane",
    "softmax_sum",
    "spike_count",
    "tet",
]


@dataclass(frozen=True)
class Loss:
    """Cross entropy on a readout of the output sequence.

    Args:
        name: what messages and files call it.
        readout: output ``[T, B, C]`` -> logits ``[B, C]``; must be differentiable.

    >>> last = Loss("last_step", lambda output: output[-1])
    >>> round(float(last(torch.zeros(5, 2, 4), torch.tensor([0, 3]))), 4)
    1.3863
    """

    name: str
    readout: Callable[..., Tensor]

    def __call__(self, output: Tensor, y: Tensor) -> Tensor:
        """Mean cross entropy over the batch, a scalar.

        Args:
            output: ``[T, B, C]`` spikes or membranes of the last layer.
            y: ``[B]`` int64 class of each sample.

        Raises:
            InputError: shapes, dtype or class numbers do not fit.
        """
        _check(output, y)
        return functional.cross_entropy(self.readout(output), y)

    def within(self, lengths: Tensor) -> Loss:
        """This loss for a batch whose samples have ``lengths`` ``[B]`` steps each; what follows is padding.

        The readout is called with the lengths as second argument, as those of :mod:`neuro.encoding` allow.

        >>> lengths = torch.tensor([2, 5])
        >>> round(float(max_membrane.within(lengths)(torch.zeros(5, 2, 4), torch.tensor([0, 3]))), 4)
        1.3863
        """
        return Loss(self.name, partial(self.readout, lengths=lengths))

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

    Raises:
        InputError: a share outside 0 to 1.

    >>> round(float(TET(share=0.0)(torch.zeros(5, 2, 4), torch.tensor([0, 3]))), 4)
    1.3863
    """

    name: str = "tet"
    readout: Callable[..., Tensor] = readouts.mean_membrane
    share: float = 0.05
    level: float = 1.0
    lengths: Tensor | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError(f"TET share={self.share!r} must be in 0..1")

    def __call__(self, output: Tensor, y: Tensor) -> Tensor:
        """Mean over steps and samples, a scalar; ``output`` is ``[T, B, C]``, ``y`` ``[B]``."""
        _check(output, y)
        steps, samples, _ = output.shape
        each = functional.cross_entropy(output.flatten(0, 1), y.repeat(steps), reduction="none").view(steps, samples)
        near = (output - self.level).square().mean(2)
        per_step = (1 - self.share) * each + self.share * near
        return readouts.mean_membrane(per_step.unsqueeze(2), self.lengths).mean()

    def within(self, lengths: Tensor) -> TET:
        """As :meth:`Loss.within`; ``lengths`` is ``[B]``, in steps."""
        return replace(self, readout=partial(self.readout, lengths=lengths), lengths=lengths)


def _check(output: Tensor, y: Tensor) -> None:
    if output.ndim != 3 or 0 in output.shape:
        raise InputError(f"output has shape {list(output.shape)}; a loss reads a non-empty [T, B, C]")
    if y.dtype != torch.int64 or y.shape != output.shape[1:2]:
        raise InputError(
            f"y is {y.dtype} of shape {list(y.shape)}; it must be torch.int64 of shape "
            f"[{output.shape[1]}], one class per sample of the output {list(output.shape)}"
        )
    low, high = (int(bound) for bound in y.aminmax())
    if low < 0 or high >= output.shape[2]:
        raise InputError(
            f"y holds class {low if low < 0 else high}, but the output has classes 0 to {output.shape[2] - 1}; "
            "give the last layer one neuron per class"
        )


spike_count = Loss("spike_count", readouts.spike_count)
mean_membrane = Loss("mean_membrane", readouts.mean_membrane)
max_membrane = Loss("max_membrane", readouts.max_membrane)
last_membrane = Loss("last_membrane", readouts.last_membrane)
softmax_sum = Loss("softmax_sum", readouts.softmax_sum)

tet = TET()

_ALL = (spike_count, mean_membrane, max_membrane, last_membrane, softmax_sum, tet)
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
