"""Ordinary networks made spiking: thresholds for activations, spikes that count what they stand for."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from neuro.compression.qcfs import QCFS
from neuro.errors import InputError
from neuro.layer import Population
from neuro.network import Sequential
from neuro.neurons import PrimedIF
from neuro.synapses import AvgPool2d, Conv2d, Flatten, Linear, OneToOne

__all__ = ["convert"]


@torch.no_grad()
def convert(
    ann: nn.Module, x: Tensor, *, percentile: float = 99.9, cell: Callable[..., Population] = PrimedIF
) -> Sequential:
    """A spiking network whose mean output over time approaches the output of ``ann``.

    Each activation becomes integrate-and-fire neurons with reset by subtraction, ``v[t] = v[t-1] + W s[t] + b - h z[t]``;
    a spike counts as much as the threshold h, so the weights behind it are multiplied by h. For :class:`QCFS` the threshold is
    the one it has learned: the first such layer gives, at T = ``levels`` steps of constant input, exactly what the ANN gives, and
    without bias at any T; deeper ones deviate, as their input is not even over time (Bu et al. 2022, "Optimal ANN-SNN
    conversion for high-accuracy and ultra-low-latency spiking neural networks"). For a ReLU it is a percentile of its
    output over ``x``, layer by layer (Rueckauer et al. 2017, "Conversion of continuous-valued deep networks to efficient
    event-driven networks for image classification", section 2.2.2; 100 is the balancing by maxima of Diehl et al. 2015,
    "Fast-classifying, high-accuracy spiking deep networks through weight and threshold balancing"): what lies above is
    cut off. Batch normalisations are folded into weights, dropouts left out.

    Show the network a picture for T steps, ``x.expand(T, *x.shape)``, and take the mean over time of its output
    (loss ``"mean_membrane"``); the last layer's weights put out a current.

    Args:
        ann: an ``nn.Sequential`` (others inside are opened) of Linear, Conv2d, AvgPool2d, AdaptiveAvgPool2d, BatchNorm1d,
            BatchNorm2d, Flatten, Dropout, Identity, QCFS and ReLU. It stays as it is; what counts is its evaluation mode.
        x: a batch ``[B, ...]`` of typical inputs: it sets the sizes of layers, and thresholds of ReLUs.
        percentile: of a ReLU's output at which its threshold stands, above 0, at most 100.
        cell: called with a size and ``v_threshold=`` for each activation: ``functools.partial(neuro.PrimedIF, primed=0.0)``
            starts at rest, as in the papers on ReLUs; a LIF is a start for training (:func:`reduce_latency`).

    Returns:
        The network, for inputs ``[T, B, ...]``, in evaluation mode.

    Raises:
        InputError: a layer of another kind or option, named with what to use instead; no activation; a normalisation not
            right behind weights; a ReLU that is silent on ``x``; a threshold that is not positive.

    >>> from neuro.compression import QCFS
    >>> _ = torch.manual_seed(0)
    >>> ann = nn.Sequential(nn.Linear(4, 8), QCFS(levels=4, threshold=1.0), nn.Linear(8, 2))
    >>> x = torch.rand(5, 4)
    >>> net = convert(ann, x)
    >>> out, _ = net(x.expand(4, 5, 4))  # as many steps as levels
    >>> torch.allclose(out.mean(0), ann(x), atol=1e-6)
    True
    """
    if not (isinstance(percentile, int | float) and 0 < percentile <= 100):
        raise InputError(f"percentile={percentile!r} must be above 0 and at most 100")
    if not isinstance(ann, nn.Sequential):
        raise InputError(f"convert takes an nn.Sequential, got {type(ann).__name__}; put its layers into one, in order")
    if x.dim() < 2 or x.numel() == 0:
        raise InputError(f"convert needs a batch [B, ...] of typical inputs, got shape {list(x.shape)}")
    making = _Making(percentile, cell)
    for name, layer in _chain(copy.deepcopy(ann).eval(), ""):
        make = _MAKERS.get(type(layer))
        if make is None:
            raise _unsupported(name, layer)
        x, given = layer(x), x
        make(making, name, layer, given, x)
    return making.network(x)


def _chain(part: nn.Sequential, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name, layer in part.named_children():
        if type(layer) is nn.Sequential:
            yield from _chain(layer, f"{prefix}{name}.")
        else:
            yield prefix + name, layer


class _Making:
    """The layers so far, and what a spike that arrives behind them counts in the units of the ANN."""

    def __init__(self, percentile: float, cell: Callable[..., Population]) -> None:
        self.percentile, self.cell = percentile, cell
        self.layers: list[nn.Module] = []
        self.worth: Tensor = torch.ones(())
        self.activations = 0

    def linear(self, name: str, layer: nn.Linear, x: Tensor, y: Tensor) -> None:
        if x.dim() != 2:
            raise InputError(f"layer {name!r} (Linear) gets {list(x.shape)}; put nn.Flatten() before it")
        self._weighted(Linear(layer.in_features, layer.out_features, layer.bias is not None), layer)

    def conv(self, name: str, layer: nn.Conv2d, x: Tensor, y: Tensor) -> None:
        plain = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
        if not plain or isinstance(layer.padding, str):
            raise InputError(
                f"layer {name!r} {layer}: only convolutions of one group, without dilation, padded with a number of zeros, "
                "can be converted"
            )
        sizes: Any = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding")}
        self._weighted(Conv2d(layer.in_channels, layer.out_channels, bias=layer.bias is not None, **sizes), layer)

    def _weighted(self, made: Any, layer: nn.Linear | nn.Conv2d) -> None:
        made.to(layer.weight)
        made.weight.copy_(layer.weight * self.worth)
        if layer.bias is not None:
            made.bias.copy_(layer.bias)
        self.layers.append(made)
        self.worth = torch.ones(())

    def norm(self, name: str, layer: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor, y: Tensor) -> None:
        before = self.layers[-1] if self.layers else None
        if not isinstance(before, Linear | Conv2d):
            raise InputError(
                f"layer {name!r} ({type(layer).__name__}) has no weights right before it to be folded into; put it "
                "behind a Linear or Conv2d"
            )
        if layer.running_mean is None or layer.running_var is None:
            raise InputError(
                f"layer {name!r} ({type(layer).__name__}) keeps no statistics; set track_running_stats=True"
            )
        gain = torch.rsqrt(layer.running_var.double() + layer.eps)
        gain = gain if layer.weight is None else gain * layer.weight
        shift = (0.0 if layer.bias is None else layer.bias) - gain * layer.running_mean
        weight, bias = before.weight, before.bias
        folded = shift if bias is None else shift + gain * bias
        weight.copy_(weight * gain.view(-1, *(1,) * (weight.dim() - 1)))
        before.bias = nn.Parameter(folded.to(weight.dtype))

    def mean(self, name: str, layer: nn.AvgPool2d, x: Tensor, y: Tensor) -> None:
        if layer.ceil_mode or not layer.count_include_pad or layer.divisor_override is not None:
            raise InputError(
                f"layer {name!r} (AvgPool2d): ceil_mode, count_include_pad=False and divisor_override cannot be converted; "
                "leave them at their defaults"
            )
        sizes: Any = (layer.kernel_size, layer.stride, layer.padding)
        self.layers.append(AvgPool2d(*sizes))

    def whole_mean(self, name: str, layer: nn.AdaptiveAvgPool2d, x: Tensor, y: Tensor) -> None:
        windows = tuple(n // m for n, m in zip(x.shape[2:], y.shape[2:], strict=True))
        if any(n % m for n, m in zip(x.shape[2:], y.shape[2:], strict=True)):
            raise InputError(
                f"layer {name!r} (AdaptiveAvgPool2d) makes {tuple(y.shape[2:])} of {tuple(x.shape[2:])}, so its windows "
                "differ in size; choose an output size that divides its input's"
            )
        self.layers.append(AvgPool2d((windows[0], windows[1])))

    def flatten(self, name: str, layer: nn.Flatten, x: Tensor, y: Tensor) -> None:
        if y.dim() != 2 or len(y) != len(x):
            raise InputError(f"layer {name!r} {layer} makes {list(y.shape)} of {list(x.shape)}; use nn.Flatten()")
        self.layers.append(Flatten())

    def nothing(self, name: str, layer: nn.Module, x: Tensor, y: Tensor) -> None:
        pass

    def qcfs(self, name: str, layer: QCFS, x: Tensor, y: Tensor) -> None:
        self._neurons(name, layer.threshold.detach(), y)

    def relu(self, name: str, layer: nn.ReLU, x: Tensor, y: Tensor) -> None:
        # The smallest value that `percentile` % of all lie at or below; torch.quantile stops at 16 million.
        rank = max(1, -(-y.numel() * self.percentile // 100))
        threshold = y.flatten().kthvalue(int(rank)).values
        if not threshold > 0:
            raise InputError(
                f"layer {name!r} (ReLU): the percentile {self.percentile:g} of its output on this batch is 0; give a larger "
                "percentile, or a batch to which it answers"
            )
        self._neurons(name, threshold, y)

    def _neurons(self, name: str, threshold: Tensor, y: Tensor) -> None:
        if not (torch.isfinite(threshold) and threshold > 0):
            raise InputError(
                f"layer {name!r} has the threshold {float(threshold):g}, and neurons need one above 0; train it with less "
                "weight decay, or a smaller learning rate"
            )
        self.layers.append(self.cell(tuple(y.shape[1:]), v_threshold=threshold / self.worth).to(y))
        self.worth = threshold
        self.activations += 1

    def network(self, y: Tensor) -> Sequential:
        """The network, its output in the units of the ANN; ``y`` ``[B, ...]`` is that of the ANN."""
        if not self.activations:
            raise InputError("the network holds neither QCFS nor ReLU, so there is nothing to make neurons of")
        if bool(self.worth != 1):  # it ends with spikes
            last = OneToOne(tuple(y.shape[1:])).to(y)
            last.weight.fill_(self.worth)
            self.layers.append(last)
        return Sequential(*self.layers).eval()


_MAKERS: Mapping[type[nn.Module], Callable[..., None]] = MappingProxyType(
    {
        nn.Linear: _Making.linear,
        nn.Conv2d: _Making.conv,
        nn.BatchNorm1d: _Making.norm,
        nn.BatchNorm2d: _Making.norm,
        nn.AvgPool2d: _Making.mean,
        nn.AdaptiveAvgPool2d: _Making.whole_mean,
        nn.Flatten: _Making.flatten,
        nn.Dropout: _Making.nothing,
        nn.Dropout2d: _Making.nothing,
        nn.Identity: _Making.nothing,
        QCFS: _Making.qcfs,
        nn.ReLU: _Making.relu,
    }
)

_CURES: Mapping[type[nn.Module], str] = MappingProxyType(
    {
        nn.MaxPool1d: "a maximum of spikes is not the maximum of rates; train with means",
        nn.MaxPool2d: "a maximum of spikes is not the maximum of rates; train with nn.AvgPool2d",
        nn.AdaptiveMaxPool2d: "a maximum of spikes is not the maximum of rates; train with nn.AdaptiveAvgPool2d",
        **dict.fromkeys(
            (nn.Sigmoid, nn.Tanh, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.PReLU, nn.Hardtanh, nn.ReLU6),
            "a spike rate is never negative and rises in proportion; train with QCFS or nn.ReLU",
        ),
        nn.LayerNorm: "its statistics are of each sample; train with batch normalisation, which folds into weights",
        nn.GroupNorm: "its statistics are of each sample; train with batch normalisation, which folds into weights",
        nn.Softmax: "leave it out, it does not change which output is the largest",
        nn.LogSoftmax: "leave it out, it does not change which output is the largest",
    }
)


def _unsupported(name: str, layer: nn.Module) -> InputError:
    known = ", ".join(kind.__name__ for kind in _MAKERS)
    cure = _CURES.get(type(layer), f"use {known}")
    return InputError(f"layer {name!r} ({type(layer).__name__}) cannot be made spiking: {cure}")
