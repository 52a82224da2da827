"""Networks that answer in one step, and the regulariser that makes their inputs sparse."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from neuro.architectures.blocks import need_positive
from neuro.errors import InputError
from neuro.network import Network, Sequential
from neuro.neurons import Hoyer
from neuro.synapses import BatchNorm, Conv2d, Dropout, Flatten, Linear, MaxPool2d

__all__ = ["HoyerMeasure", "hoyer_vgg16"]


class HoyerMeasure:
    """The sum of the Hoyer measures of all :class:`neuro.neurons.Hoyer` layers while a network runs.

    ``loss = cross_entropy + 1e-8 sum_l H_l``, ``H_l = (sum c)^2 / sum c^2`` over the whole batch: Datta et al. 2022.

    Raises:
        InputError: a network without such layers.

    >>> import torch
    >>> net = Sequential(Linear(4, 3), Hoyer(3))
    >>> measure = HoyerMeasure(net)
    >>> with measure.watch():
    ...     spikes, _ = net(torch.ones(1, 8, 4))
    >>> loss = spikes.sum() + 1e-8 * measure.value()
    """

    def __init__(self, net: Network) -> None:
        self._layers = [m for m in net.modules() if isinstance(m, Hoyer)]
        self._seen: list[Tensor] = []
        if not self._layers:
            raise InputError("HoyerMeasure needs a network with Hoyer layers, got none in it")

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Measure everything that runs inside the block; what was measured before is forgotten."""
        self._seen.clear()
        with ExitStack() as hooks:
            for layer in self._layers:
                hooks.enter_context(layer.register_forward_pre_hook(self._see))
            yield

    def _see(self, layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        assert isinstance(layer, Hoyer)
        self._seen.append(layer.measure(arguments[0]))

    def value(self) -> Tensor:
        """The sum ``[]``, which can be differentiated.

        Raises:
            InputError: nothing ran inside :meth:`watch`.
        """
        if not self._seen:
            raise InputError("nothing was measured; call the network inside `with measure.watch():` first")
        total = self._seen[0]
        for measured in self._seen[1:]:
            total = total + measured
        return total


def hoyer_vgg16(
    shape: tuple[int, int, int] = (3, 32, 32),
    classes: int = 10,
    *,
    stages: Sequence[Sequence[int]] = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
    hidden: Sequence[int] = (4096, 4096),
    dropout: float = 0.1,
    dt: float = 1e-3,
) -> Sequential:
    """VGG-16 of one-step neurons whose thresholds are Hoyer extrema, for CIFAR-10.

    Convolutions of 3 x 3 (the last of each stage but the final one followed by the maximum of 2 x 2), normalisation and
    :class:`neuro.neurons.Hoyer`; then layers of weights. Give it one step of an image, ``[1, B, C, H, W]``. Datta et
    al. 2022, "Hoyer regularizer is all you need for ultra low-latency spiking neural networks": Adam (amsgrad) at 1e-4,
    weight decay 1e-4, 400 epochs, loss plus 1e-8 times :class:`HoyerMeasure`.

    Args:
        shape: ``(C, H, W)`` of the input.
        classes: number of classes.
        stages: channels of the convolutions of each stage.
        hidden: neurons of each layer of weights but the last.
        dropout: share left out behind each layer of neurons in training.
        dt: time step in seconds.

    Returns:
        ``[T, B, C, H, W]`` to currents ``[T, B, classes]``, each step on its own.

    Raises:
        InputError: sizes out of range; stages that halve the input to nothing.

    >>> import torch
    >>> net = hoyer_vgg16((2, 8, 8), 3, stages=((4,), (4, 8)), hidden=(16,))
    >>> net(torch.rand(1, 2, 2, 8, 8))[0].shape
    torch.Size([1, 2, 3])
    """
    need_positive("hoyer_vgg16", classes=classes)
    channels, *place = shape
    layers: list[nn.Module] = []
    for k, stage in enumerate(stages):
        for i, n in enumerate(stage):
            layers.append(Conv2d(channels, n, 3, padding=1, bias=False))
            if i == len(stage) - 1 and k < len(stages) - 1:
                layers.append(MaxPool2d(2))
                place = [length // 2 for length in place]
            if min(place) < 1:
                raise InputError(
                    f"hoyer_vgg16 halves {shape[1:]} {len(stages) - 1} times, to nothing; use fewer stages"
                )
            layers += [BatchNorm(n), Hoyer((n, *place), dt=dt), Dropout((n, *place), dropout, dt=dt)]
            channels = n
    layers.append(Flatten())
    before = channels * math.prod(place)
    for n in hidden:
        layers += [Linear(before, n, bias=False), Hoyer(n, dt=dt), Dropout(n, dropout, dt=dt)]
        before = n
    return Sequential(*layers, Linear(before, classes, bias=False))
