"""The activation that trains an ordinary network for its life as a spiking one."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from neuro.errors import InputError

__all__ = ["QCFS", "use_qcfs"]

M = TypeVar("M", bound=nn.Module)


class QCFS(nn.Module):
    """Quantisation, clip, floor, shift: ``y = h clip(floor(x L / h + 1/2) / L, 0, 1)``, h the threshold.

    These are the ``L + 1`` mean outputs that an integrate-and-fire neuron of threshold h whose membrane starts at
    ``h / 2`` can have after L steps of constant input: after L steps such a neuron agrees with it exactly, after any
    other number without bias (inputs uniform in 0..h). The floor passes gradients as they are: ``dy/dx`` is 1 inside the
    clip and 0 outside, ``dy/dh`` is ``(y - x) / h`` inside, 0 below and 1 above. Bu et al. 2022, "Optimal ANN-SNN
    conversion for high-accuracy and ultra-low-latency spiking neural networks" (eq. 10, theorem 2).

    Args:
        levels: L, steps of the staircase; 4 or 8 in the paper.
        threshold: h at first.

    Attributes:
        threshold: h, a scalar that trains.

    Raises:
        InputError: levels that are not a whole number from 1 on, or a threshold that is not positive.

    >>> QCFS(levels=4, threshold=2.0)(torch.tensor([-1.0, 0.2, 0.3, 1.4, 5.0])).tolist()
    [0.0, 0.0, 0.5, 1.5, 2.0]
    """

    def __init__(self, levels: int = 8, threshold: float = 8.0) -> None:
        super().__init__()
        if isinstance(levels, bool) or not isinstance(levels, int) or levels < 1:
            raise InputError(f"QCFS levels={levels!r} must be a whole number, at least 1")
        if not (math.isfinite(threshold) and threshold > 0):
            raise InputError(f"QCFS threshold={threshold!r} must be a finite number above 0")
        self.levels = levels
        self.threshold = nn.Parameter(torch.tensor(float(threshold)))

    def forward(self, x: Tensor) -> Tensor:
        """``[...]`` to ``[...]``, element by element."""
        steps = x * self.levels / self.threshold + 0.5
        floored = steps + (steps.floor() - steps).detach()
        return self.threshold * (floored / self.levels).clamp(0, 1)

    def extra_repr(self) -> str:
        """Levels and threshold."""
        return f"levels={self.levels}, threshold={float(self.threshold.detach()):g}"


def use_qcfs(ann: M, levels: int = 8, threshold: float = 8.0) -> M:
    """A copy of ``ann`` to train for conversion: QCFS for each ReLU, mean for each maximum over windows.

    Args:
        ann: any module; layers inside modules are found too.
        levels: as for :class:`QCFS`.
        threshold: as for :class:`QCFS`.

    Raises:
        InputError: as :class:`QCFS`; there is no ReLU to replace.

    >>> use_qcfs(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), levels=4)[1]
    QCFS(levels=4, threshold=8)
    """
    made = nn.ModuleDict({"ann": copy.deepcopy(ann)})  # so that a lone ReLU has a parent, too
    replaced = 0
    for parent in list(made.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.ReLU):
                setattr(parent, name, QCFS(levels, threshold).to(_like(ann)))
                replaced += 1
            elif isinstance(layer, nn.MaxPool2d):
                setattr(parent, name, _mean_over(layer))
    if not replaced:
        raise InputError(f"{type(ann).__name__} holds no nn.ReLU that QCFS could stand for; write QCFS layers into it")
    return made["ann"]  # type: ignore[return-value]


def _mean_over(layer: nn.MaxPool2d) -> nn.AvgPool2d:
    return nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)


def _like(ann: nn.Module) -> Tensor:
    return next(ann.parameters(), torch.empty(()))
