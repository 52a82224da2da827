"""Feed-forward networks whose memory is in learned delays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from neuro.architectures.blocks import atan, need_positive
from neuro.network import Sequential
from neuro.neurons import LI, LIF
from neuro.synapses import BatchNorm, DelayedLinear, Dropout

__all__ = ["delay_network"]


def delay_network(
    inputs: int = 140,
    hidden: Sequence[int] = (256, 256),
    classes: int = 20,
    *,
    max_delay: float = 0.24,
    tau: float = 10.05e-3,
    dropout: float = 0.4,
    kind: str = "synapse",
    dt: float = 10e-3,
) -> Sequential:
    """The delay network of Spiking Heidelberg Digits: 214,016 parameters as it stands.

    Layers of delayed synapses, normalisation, LIF and dropout; the last delayed synapses end in integrators. Hammouamri,
    Khalfaoui-Hassani & Masquelier 2024, "Learning delays in spiking neural networks using dilated convolutions with
    learnable spacings" (ICLR): 700 cochlea channels summed by five, steps of 10 ms; loss :func:`neuro.losses.softmax_sum`;
    Adam with rates 1e-3 (up to 5e-3 in one cycle) for weights and 0.1 (falling as a cosine) for delays; 150 epochs in
    batches of 256. Sigma follows :func:`neuro.synapses.sigma_schedule`. For Speech Commands: 3 layers of 512, ``max_delay``
    0.3, ``tau`` 15e-3, dropout 0.25, 35 classes: 1.2 million parameters. There each layer also lengthens the sequence
    by half its longest delay: here pad the input with as much silence.

    Args:
        inputs: input channels.
        hidden: neurons of each hidden layer.
        classes: number of classes.
        max_delay: the longest delay in seconds, a whole number of steps.
        tau: membrane time constant in seconds, fixed; hardly above a step, so that the memory is in the delays.
        dropout: share of each hidden layer left out in training.
        kind: delays for each ``"synapse"``, ``"axon"`` or ``"dendrite"``.
        dt: time step in seconds.

    Returns:
        ``[T, B, inputs]`` to membranes ``[T, B, classes]``.

    Raises:
        InputError: sizes or times out of range.

    >>> sum(p.numel() for p in delay_network().parameters())
    214016
    """
    need_positive("delay_network", inputs=inputs, classes=classes)
    sizes = (inputs, *hidden)
    layers: list[nn.Module] = []
    for before, n in pairwise(sizes):
        cell = LIF(n, tau=tau, r=tau / dt, dt=dt, learn=(), surrogate=atan(5.0))
        layers += [_delayed(before, n, max_delay, kind, dt), BatchNorm(n), cell, Dropout(n, dropout, dt=dt)]
    readout = LI(classes, tau=tau, r=tau / dt, dt=dt, learn=())
    return Sequential(*layers, _delayed(sizes[-1], classes, max_delay, kind, dt), readout)


def _delayed(inputs: int, outputs: int, max_delay: float, kind: str, dt: float) -> DelayedLinear:
    return DelayedLinear(inputs, outputs, max_delay, kind=kind, dt=dt, bias=False)
