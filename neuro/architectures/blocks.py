"""What several architectures are put together of."""

from __future__ import annotations

import math

from torch import nn

from neuro.errors import InputError
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.neurons import LIF
from neuro.synapses import BatchNorm, Conv2d

__all__ = ["atan", "convolution", "lif", "need_positive"]


def atan(alpha: float = 2.0) -> Surrogate:
    """``alpha / 2 / (1 + (pi alpha u / 2)^2)``, as other libraries write it.

    >>> atan(5.0).peak
    2.5
    """
    return Surrogate("atan", width=2 / (math.pi * alpha), peak=alpha / 2)


def lif(size: tuple[int, ...] | int, dt: float, *, steps: float = 2.0, v_threshold: float = 1.0) -> LIF:
    """LIF with ``v += (x - v) / steps`` and a reset to zero, fixed: the neuron of most spiking vision networks.

    Args:
        size: neurons, or their shape.
        dt: time step in seconds.
        steps: time constant in steps.
        v_threshold: firing threshold in volts.
    """
    return LIF(size, tau=steps * dt, v_threshold=v_threshold, dt=dt, learn=())


def convolution(channels: int, out: int, *, kernel: int = 3, stride: int = 1, bias: bool = False) -> list[nn.Module]:
    """Convolution and normalisation ``[T, B, C, H, W]``, padded so that a stride of 1 keeps ``H`` and ``W``.

    >>> [type(layer).__name__ for layer in convolution(2, 8)]
    ['Conv2d', 'BatchNorm']
    """
    return [Conv2d(channels, out, kernel, stride, kernel // 2, bias), BatchNorm(out)]


def need_positive(builder: str, **sizes: int) -> None:
    """Refuse sizes that are not whole numbers from 1 on.

    Raises:
        InputError: the first that is not.
    """
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{builder} {name} must be a whole number from 1 on, got {value!r}")
