"""Residual networks of spikes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from neuro.architectures.blocks import convolution, need_positive
from neuro.errors import InputError
from neuro.network import Residual, Sequential
from neuro.neurons import IF
from neuro.synapses import BatchNorm, GlobalMean, Linear, MaxPool2d

__all__ = ["sew_block", "sew_resnet18"]

_ALWAYS = 2.0
"""A current that lifts the membrane past its threshold of 1 in every step."""


def sew_block(
    channels: int, out: int, place: tuple[int, int], *, stride: int = 1, mode: str = "add", dt: float = 1e-3
) -> Residual:
    """Spike-element-wise residual block: two convolutions, their spikes met by those that pass them by.

    Fang et al. 2021, "Deep residual learning in spiking neural networks" (NeurIPS). The gain of the second
    normalisation begins at zero, and the block as the identity (for ``"and"`` with a shift that always spikes).

    Args:
        channels: C of the input; C or the place change through a convolution of 1 x 1, normalisation and neurons.
        out: C of the output.
        place: ``(H, W)`` of the input.
        stride: of the first convolution.
        mode: ``"add"``, ``"and"`` or ``"iand"``, as :class:`neuro.Residual` has them.
        dt: time step in seconds.

    Raises:
        InputError: an unknown mode, sizes out of range.

    >>> import torch
    >>> y, _ = sew_block(4, 8, (6, 6), stride=2)(torch.ones(2, 1, 4, 6, 6))
    >>> y.shape
    torch.Size([2, 1, 8, 3, 3])
    """
    size = (out, *(-(-length // stride) for length in place))
    first, second = convolution(channels, out, stride=stride), convolution(out, out)
    norm = second[1]
    if isinstance(norm, BatchNorm):
        nn.init.zeros_(norm.weight)
        nn.init.constant_(norm.bias, _ALWAYS if mode == "and" else 0.0)
    body = Sequential(*first, _fire(size, dt), *second, _fire(size, dt))
    if (channels, 1) == (out, stride):
        return Residual(body, mode=mode)
    return Residual(body, Sequential(*convolution(channels, out, kernel=1, stride=stride), _fire(size, dt)), mode=mode)


def sew_resnet18(
    shape: tuple[int, int, int] = (3, 224, 224),
    classes: int = 1000,
    *,
    widths: Sequence[int] = (64, 128, 256, 512),
    blocks: Sequence[int] = (2, 2, 2, 2),
    mode: str = "add",
    dt: float = 1e-3,
) -> Sequential:
    """SEW-ResNet-18 for ImageNet: 11,689,512 parameters as it stands, those of ResNet-18.

    Convolution of 7 x 7 with stride 2, normalisation, IF, maximum of 3 x 3 with stride 2; stages of :func:`sew_block`, each
    but the first halving the place; the mean over it and one layer of weights. Fang et al. 2021 (as :func:`sew_block`): 4
    steps of a held image, cross entropy of the mean output, SGD at 0.1 with a cosine. ResNet-34 is ``blocks=(3, 4, 6, 3)``.

    Args:
        shape: ``(C, H, W)`` of the input.
        classes: number of classes.
        widths: channels of each stage.
        blocks: blocks of each stage.
        mode: how spikes meet, ``"add"``, ``"and"`` or ``"iand"``.
        dt: time step in seconds.

    Returns:
        ``[T, B, C, H, W]`` to currents ``[T, B, classes]``.

    Raises:
        InputError: sizes out of range; as many widths as blocks are needed.

    >>> import torch
    >>> net = sew_resnet18((2, 16, 16), 3, widths=(4, 8), blocks=(1, 1))
    >>> net(torch.ones(2, 1, 2, 16, 16))[0].shape
    torch.Size([2, 1, 3])
    """
    need_positive("sew_resnet18", classes=classes)
    if len(widths) != len(blocks) or not widths:
        raise InputError(f"sew_resnet18 needs blocks for each of its widths {tuple(widths)}, got {tuple(blocks)}")
    half = (-(-shape[1] // 2), -(-shape[2] // 2))
    channels, place = widths[0], (-(-half[0] // 2), -(-half[1] // 2))
    layers: list[nn.Module] = [*convolution(shape[0], channels, kernel=7, stride=2), _fire((channels, *half), dt)]
    layers.append(MaxPool2d(3, 2, 1))
    for k, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for n in range(count):
            stride = 2 if k and not n else 1
            layers.append(sew_block(channels, width, place, stride=stride, mode=mode, dt=dt))
            channels, place = width, (-(-place[0] // stride), -(-place[1] // stride))
    return Sequential(*layers, GlobalMean(), Linear(channels, classes))


def _fire(size: tuple[int, ...], dt: float) -> IF:
    """IF that adds up its input as it is."""
    return IF(size, r=1 / dt, dt=dt)
