"""Networks of adaptive neurons, with and without recurrent synapses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from neuro.architectures.blocks import need_positive
from neuro.layer import Population
from neuro.network import Sequential
from neuro.neurons import LI, AdLIF
from neuro.neurons.recurrent import Recurrent
from neuro.synapses import BatchNorm, Dropout, Linear

__all__ = ["adlif", "radlif"]


def radlif(
    inputs: int = 700,
    hidden: Sequence[int] = (1024, 1024),
    classes: int = 20,
    *,
    dropout: float = 0.1,
    dt: float = 14e-3,
) -> Sequential:
    """Recurrent adaptive LIF for spoken words: 3.9 million parameters as it stands.

    Layers of weights, normalisation, recurrent adLIF and dropout, then leaky integrators. Bittar & Garner 2022, "A
    surrogate gradient spiking baseline for speech command recognition" (Front. Neurosci. 16): 94.6 % of Spiking Heidelberg
    Digits, sequences of 100 steps of 14 ms, loss :func:`neuro.losses.softmax_sum`, Adam at 1e-2. Decays of membranes and
    adaptations begin uniform in ``[e^(-1/5), e^(-1/25)]`` and ``[e^(-1/30), e^(-1/120)]``, ``a`` in [-1, 1], ``b`` in [0, 2],
    recurrent weights orthogonal without a diagonal. Where the authors' code clamps these ranges, starts from random
    membranes and holds the diagonal at zero, here nothing is clamped, the state begins at zero and the diagonal trains;
    dropout is the same in all steps.

    Args:
        inputs: input channels.
        hidden: neurons of each hidden layer.
        classes: number of classes.
        dropout: share of each hidden layer left out in training.
        dt: time step in seconds.

    Returns:
        ``[T, B, inputs]`` to membranes ``[T, B, classes]``.

    Raises:
        InputError: sizes out of range.

    >>> net = radlif(10, (8,), 3)
    >>> net(torch.ones(5, 2, 10))[0].shape
    torch.Size([5, 2, 3])
    """
    return _network("radlif", inputs, hidden, classes, dropout, dt, recurrent=True)


def adlif(
    inputs: int = 700,
    hidden: Sequence[int] = (1024, 1024),
    classes: int = 20,
    *,
    dropout: float = 0.1,
    dt: float = 14e-3,
) -> Sequential:
    """As :func:`radlif`, ``[T, B, inputs]`` to ``[T, B, classes]``, without recurrent synapses: the feed-forward adLIF.

    Args:
        inputs: input channels.
        hidden: neurons of each hidden layer.
        classes: number of classes.
        dropout: share of each hidden layer left out in training.
        dt: time step in seconds.

    Raises:
        InputError: sizes out of range.

    >>> sum(p.numel() for p in adlif(10, (8,), 3).parameters())    # 80 + 24 weights, 22 of norms, 32 + 3 of neurons
    161
    """
    return _network("adlif", inputs, hidden, classes, dropout, dt, recurrent=False)


def _network(
    name: str, inputs: int, hidden: Sequence[int], classes: int, dropout: float, dt: float, *, recurrent: bool
) -> Sequential:
    need_positive(name, inputs=inputs, classes=classes)
    sizes = (inputs, *hidden)
    layers: list[nn.Module] = []
    for before, n in pairwise(sizes):
        cell: Population = _adaptive(n, dt)
        if recurrent and isinstance(cell, AdLIF):
            cell = Recurrent(cell, weight=_orthogonal(n))
        layers += [Linear(before, n, bias=False), BatchNorm(n, momentum=0.05), cell, Dropout(n, dropout, dt=dt)]
    readout = LI(classes, tau=_time_constants(classes, 5, 25, dt), dt=dt, method="exponential")
    return Sequential(*layers, Linear(sizes[-1], classes, bias=False), BatchNorm(classes, momentum=0.05), readout)


def _adaptive(size: int, dt: float) -> AdLIF:
    return AdLIF(
        size,
        tau=_time_constants(size, 5, 25, dt),
        tau_w=_time_constants(size, 30, 120, dt),
        a=torch.empty(size).uniform_(-1, 1),
        b=torch.empty(size).uniform_(0, 2),
        dt=dt,
    )


def _time_constants(size: int, least: float, most: float, dt: float) -> Tensor:
    """Seconds ``[size]`` whose decays over a step are uniform between those of ``least`` and ``most`` steps."""
    decay = torch.empty(size).uniform_(math.exp(-1 / least), math.exp(-1 / most))
    return -dt / decay.log()


def _orthogonal(size: int) -> Tensor:
    return nn.init.orthogonal_(torch.empty(size, size)).fill_diagonal_(0)
