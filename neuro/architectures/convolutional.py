"""Convolutional networks without residual connections."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import nn

from neuro.architectures.blocks import convolution, need_positive
from neuro.errors import InputError
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.network import Sequential
from neuro.neurons import LIF, PLIF
from neuro.synapses import AvgPool2d, Dropout, Flatten, Linear, MaxPool2d, Vote

__all__ = ["PLIF_NETS", "plif_net", "vgg_snn"]

PLIF_NETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        name: MappingProxyType({"shape": shape, "classes": classes, "stages": stages, "hidden": hidden})
        for name, shape, classes, stages, hidden in (
            ("mnist", (1, 28, 28), 10, ((128,),) * 2, 2048),
            ("n-mnist", (2, 34, 34), 10, ((128,),) * 2, 2048),
            ("cifar10", (3, 32, 32), 10, ((256, 256, 256),) * 2, 2048),
            ("cifar10-dvs", (2, 128, 128), 10, ((128,),) * 4, 512),
            ("dvs-gesture", (2, 128, 128), 11, ((128,),) * 5, 512),
        )
    }
)
"""What the paper gives :func:`plif_net` for each data set (its table 1; the MNIST network also for Fashion-MNIST)."""


def plif_net(
    shape: tuple[int, int, int] = (2, 128, 128),
    classes: int = 11,
    *,
    stages: Sequence[Sequence[int]] = ((128,),) * 5,
    hidden: int = 512,
    voters: int = 10,
    tau: float = 2e-3,
    dropout: float = 0.5,
    dt: float = 1e-3,
) -> Sequential:
    """PLIF-Net, as it stands for DVS128 Gesture: 1,698,311 parameters.

    In each stage convolutions of 3 x 3 with normalisation and PLIF, then the maximum of 2 x 2; two layers of weights with
    dropout before them; groups of ``voters`` neurons vote for a class. Fang et al. 2021, "Incorporating learnable
    membrane time constant to enhance learning of spiking neural networks" (ICCV); :data:`PLIF_NETS` has its other data
    sets. 20 steps of summed events (8 of a held image), mean squared error of the mean vote, Adam at 1e-3.

    Args:
        shape: ``(C, H, W)`` of the input.
        classes: number of classes.
        stages: channels of the convolutions of each stage.
        hidden: neurons of the first layer of weights.
        voters: neurons for each class.
        tau: membrane time constant at the start, in seconds; each layer learns its own.
        dropout: share left out before each layer of weights in training.
        dt: time step in seconds.

    Returns:
        ``[T, B, C, H, W]`` to votes ``[T, B, classes]``.

    Raises:
        InputError: sizes out of range; stages that halve the input to nothing.

    >>> import torch
    >>> net = plif_net((2, 8, 8), 3, stages=((4,), (4,)), hidden=8)
    >>> net(torch.ones(2, 1, 2, 8, 8))[0].shape
    torch.Size([2, 1, 3])
    """
    need_positive("plif_net", classes=classes, hidden=hidden)
    channels, *place = shape
    layers: list[nn.Module] = []
    for stage in stages:
        for n in stage:
            layers += [*convolution(channels, n), PLIF((n, *place), tau=tau, dt=dt)]
            channels = n
        layers.append(MaxPool2d(2))
        place = [length // 2 for length in place]
    if min(place) < 1:
        raise InputError(f"plif_net halves {shape[1:]} {len(stages)} times, to nothing; give fewer stages")
    flat, last = channels * math.prod(place), classes * voters
    layers += [Flatten(), Dropout(flat, dropout, dt=dt), Linear(flat, hidden, bias=False), PLIF(hidden, tau=tau, dt=dt)]
    layers += [Dropout(hidden, dropout, dt=dt), Linear(hidden, last, bias=False), PLIF(last, tau=tau, dt=dt)]
    return Sequential(*layers, Vote(voters))


def vgg_snn(
    shape: tuple[int, int, int] = (2, 48, 48),
    classes: int = 10,
    *,
    stages: Sequence[Sequence[int]] = ((64, 128), (256, 256), (512, 512), (512, 512)),
    dt: float = 1e-3,
) -> Sequential:
    """VGG-SNN for CIFAR10-DVS: 9,271,498 parameters as it stands.

    In each stage convolutions of 3 x 3 with normalisation and LIF, then the mean of 2 x 2; one layer of weights reads out.
    Membranes halve in each step (``v = v / 2 + x``). Deng et al. 2022, "Temporal efficient training of spiking neural network
    via gradient re-weighting" (ICLR): 10 steps, the mean of the cross entropies of all steps, Adam at 1e-3. Duan et al.
    2022 (TEBN) and others compare on the same network.

    Args:
        shape: ``(C, H, W)`` of the input.
        classes: number of classes.
        stages: channels of the convolutions of each stage.
        dt: time step in seconds.

    Returns:
        ``[T, B, C, H, W]`` to currents ``[T, B, classes]``.

    Raises:
        InputError: sizes out of range; stages that halve the input to nothing.

    >>> import torch
    >>> vgg_snn((2, 8, 8), 3, stages=((4, 4), (8,)))(torch.ones(2, 1, 2, 8, 8))[0].shape
    torch.Size([2, 1, 3])
    """
    need_positive("vgg_snn", classes=classes)
    channels, *place = shape
    layers: list[nn.Module] = []
    for stage in stages:
        for n in stage:
            cell = LIF((n, *place), tau=2 * dt, r=2.0, dt=dt, learn=(), surrogate=Surrogate("triangle", 1.0, 1.0))
            layers += [*convolution(channels, n, bias=True), cell]
            channels = n
        layers.append(AvgPool2d(2))
        place = [length // 2 for length in place]
    if min(place) < 1:
        raise InputError(f"vgg_snn halves {shape[1:]} {len(stages)} times, to nothing; give fewer stages")
    return Sequential(*layers, Flatten(), Linear(channels * math.prod(place), classes))
