"""The optimizer that spends what a rule wrote into ``.grad``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from neuro.delays import LearnedDelays
from neuro.errors import unknown_name
from neuro.layer import Population

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["OPTIMIZERS", "SCHEDULES", "build_optimizer", "choose_optimizer", "parameter_groups"]

_DELAYS = 100  # rate of positions over that of weights


def parameter_groups(net: Network, *, lr: float, cell_lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters in up to four groups, each with its learning rate and decay.

    Weights (two or more dimensions) decay; biases and whatever neurons learn (time constants)
    do not, since decay would pull a time constant towards an arbitrary value. Nor do delays,
    whose positions, in steps, learn 100 times as fast as the weights (the rates of Hammouamri
    et al., ICLR 2024).

    Args:
        net: the network.
        lr: learning rate of weights and biases.
        cell_lr: learning rate of the cells' parameters, which live on an unconstrained scale.
        weight_decay: decoupled decay of the weights (AdamW), per unit of learning rate.
    """
    neurons = [m for m in net.modules() if isinstance(m, Population)]
    delays = {id(m.position) for m in net.modules() if isinstance(m, LearnedDelays)}
    small = {id(p) for m in neurons for p in m.parameters() if p.ndim <= len(m.size)}  # not a recurrent matrix
    cells = small - delays
    learned = [p for p in net.parameters() if p.requires_grad]
    plain = [p for p in learned if id(p) not in cells | delays]
    groups = (
        ("weights", [p for p in plain if p.ndim > 1], lr, weight_decay),
        ("biases", [p for p in plain if p.ndim <= 1], lr, 0.0),
        ("cells", [p for p in learned if id(p) in cells], cell_lr, 0.0),
        ("delays", [p for p in learned if id(p) in delays], _DELAYS * lr, 0.0),
    )
    return [
        {"name": name, "params": params, "lr": rate, "initial_lr": rate, "weight_decay": decay}
        for name, params, rate, decay in groups
        if params
    ]


OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = MappingProxyType(
    {
        "adamw": torch.optim.AdamW,
        "adam": torch.optim.Adam,
        "nadam": torch.optim.NAdam,
        "radam": torch.optim.RAdam,
        "rmsprop": torch.optim.RMSprop,
        "adagrad": torch.optim.Adagrad,
        "sgd": partial(torch.optim.SGD, lr=1e-3),  # a group without a rate of its own is never made
        "momentum": partial(torch.optim.SGD, lr=1e-3, momentum=0.9),
    }
)
"""By name; each takes parameter groups. Weight decay is decoupled in AdamW, in the others a part of the gradient."""


def build_optimizer(
    net: Network,
    optimizer: str | Callable[..., torch.optim.Optimizer] = "adamw",
    *,
    lr: float,
    cell_lr: float,
    weight_decay: float,
) -> torch.optim.Optimizer:
    """An optimizer over :func:`parameter_groups`: AdamW (Loshchilov & Hutter 2019) unless another is named.

    Args:
        net: the network.
        optimizer: a name in :data:`OPTIMIZERS`, or what makes an optimizer of a list of parameter groups.
        lr, cell_lr, weight_decay: see :func:`parameter_groups`.

    Raises:
        InputError: no optimizer has that name.
    """
    groups = parameter_groups(net, lr=lr, cell_lr=cell_lr, weight_decay=weight_decay)
    return choose_optimizer(optimizer)(groups)


def choose_optimizer(optimizer: str | Callable[..., torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """What makes the optimizer of that name, or ``optimizer`` itself.

    Raises:
        InputError: no optimizer has that name.
    """
    if callable(optimizer):
        return optimizer
    if optimizer not in OPTIMIZERS:
        raise unknown_name("optimizer", str(optimizer), OPTIMIZERS)
    return OPTIMIZERS[optimizer]


def _constant(_epoch: int, _epochs: int) -> float:
    return 1.0


def _cosine(epoch: int, epochs: int) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))


SCHEDULES: Mapping[str, Callable[[int, int], float]] = MappingProxyType({"constant": _constant, "cosine": _cosine})
"""(finished epochs, epochs) -> factor on every learning rate; no state, so nothing to resume."""
