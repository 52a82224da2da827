"""SpikingJelly's neurons: a spike where the membrane meets the threshold, hard or soft reset.

Checked against SpikingJelly 2.0. ``tau`` is in steps. ``v_reset=None`` there is reset ``"soft"`` here, a number
reset ``"hard"``; ``detach_reset`` becomes the route that ``load`` returns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from neuro.compatibility.exchange import Learned, Loaded, Made, Maker, Peer, make_cell, require
from neuro.compatibility.exchange import load as exchange_load
from neuro.compatibility.state_dict import load_state as fill
from neuro.errors import InputError
from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.network import Sequential
from neuro.neurons.cell import Cell

__all__ = [
    "SpikingJellyIF",
    "SpikingJellyLIF",
    "SpikingJellyPLIF",
    "SpikingJellyWholeInputLIF",
    "SpikingJellyWholeInputPLIF",
    "load",
    "load_state",
    "surrogate",
]

_FIRING: Mapping[str, Parameter] = MappingProxyType(
    {
        "v_threshold": Parameter(1.0, "V", doc="firing threshold"),
        "v_reset": Parameter(0.0, "V", doc="membrane potential at rest, at the start and after a hard reset"),
    }
)
_TAU = Parameter(2.0, "1", doc="membrane time constant in steps")
_W = Parameter(0.0, "1", doc="membrane time constant: 1/tau = 1/(1 + exp(-w)), in steps")
_FIRE = """
    start v = v_reset
    spike when v >= v_threshold
    reset hard: v = v_reset
    reset soft: v = v - v_threshold
"""
_DEFAULT = Surrogate("sigmoid", width=1 / 4, peak=1.0)


class SpikingJellyIF(Cell):
    """``IFNode``: ``v = v + x``.

    >>> SpikingJellyIF(2).equations.reset_kinds
    ('hard', 'soft', 'none')
    """

    equations = Equations("SpikingJellyIF", "v' = v + x" + _FIRE, _FIRING)
    surrogate_default = _DEFAULT


class SpikingJellyLIF(Cell):
    """``LIFNode(decay_input=True)``: ``v = v + (x - (v - v_reset)) / tau``.

    >>> SpikingJellyLIF(2).surrogate
    Surrogate(family='sigmoid', width=0.25, peak=1.0)
    """

    equations = Equations("SpikingJellyLIF", "v' = v + (x - (v - v_reset))/tau" + _FIRE, {"tau": _TAU, **_FIRING})
    surrogate_default = _DEFAULT


class SpikingJellyWholeInputLIF(Cell):
    """``LIFNode(decay_input=False)``: ``v = v - (v - v_reset) / tau + x``.

    >>> SpikingJellyWholeInputLIF(2).equations.states
    ('v',)
    """

    equations = Equations(
        "SpikingJellyWholeInputLIF", "v' = v - (v - v_reset)/tau + x" + _FIRE, {"tau": _TAU, **_FIRING}
    )
    surrogate_default = _DEFAULT


class SpikingJellyPLIF(Cell):
    """``ParametricLIFNode(decay_input=True)``: as the LIF with ``1 / tau = sigmoid(w)``, one ``w`` for all neurons.

    >>> [tuple(p.shape) for p in SpikingJellyPLIF(100).parameters()]
    [()]
    """

    equations = Equations(
        "SpikingJellyPLIF", "v' = v + (x - (v - v_reset))/(1 + exp(-w))" + _FIRE, {"w": _W, **_FIRING}
    )
    learn_default = ("w",)
    shared_default = ("w",)
    surrogate_default = _DEFAULT


class SpikingJellyWholeInputPLIF(Cell):
    """``ParametricLIFNode(decay_input=False)``.

    >>> [tuple(p.shape) for p in SpikingJellyWholeInputPLIF(100).parameters()]
    [()]
    """

    equations = Equations(
        "SpikingJellyWholeInputPLIF", "v' = v - (v - v_reset)/(1 + exp(-w)) + x" + _FIRE, {"w": _W, **_FIRING}
    )
    learn_default = ("w",)
    shared_default = ("w",)
    surrogate_default = _DEFAULT


_SURROGATES: Mapping[str, Callable[[float], Surrogate | None]] = MappingProxyType(
    {
        "ATan": lambda alpha: Surrogate("atan", width=2 / (math.pi * alpha), peak=alpha / 2),
        "Sigmoid": lambda alpha: Surrogate("sigmoid", width=1 / alpha, peak=alpha / 4),
        "SoftSign": lambda alpha: Surrogate("fast_sigmoid", width=1 / alpha, peak=alpha / 2),
        "SuperSpike": lambda alpha: Surrogate("fast_sigmoid", width=1.0, peak=alpha),
        "PiecewiseQuadratic": lambda alpha: Surrogate("triangle", width=1 / alpha, peak=alpha),
        "PiecewiseExp": lambda alpha: Surrogate("exponential", width=1 / alpha, peak=alpha / 2),
        "Erf": lambda alpha: Surrogate("gaussian", width=1 / alpha, peak=alpha / math.sqrt(math.pi)),
        "Rect": lambda alpha: Surrogate("boxcar", width=1 / alpha, peak=alpha),
        "FakeNumericalGradient": lambda alpha: Surrogate("reciprocal", width=1 / alpha, peak=alpha),
        "QPseudoSpike": lambda alpha: Surrogate("fast_sigmoid", width=0.5, peak=1.0) if alpha == 2 else None,
        "DeterministicPass": lambda _: Surrogate("straight_through", width=1.0, peak=1.0),
    }
)


def surrogate(function: nn.Module) -> Surrogate:
    """The surrogate equal to an object of ``spikingjelly.activation_based.surrogate`` (scalar ``alpha``).

    Raises:
        InputError: one that is not symmetric about the threshold, of another tail (NonzeroSignLogAbs, QPseudoSpike
            of another order than 2) or of one's own; ``spiking=False``, whose output is no spike.
    """
    name = type(function).__name__
    require(bool(getattr(function, "spiking", True)), function, "spiking=False gives no spikes")
    own = type(function).__module__.split(".")[0] == "spikingjelly"
    made = _SURROGATES[name](float(getattr(function, "alpha", 1.0))) if own and name in _SURROGATES else None
    if made is None:
        raise InputError(
            f"no surrogate here is equal to SpikingJelly's {function}; known are {', '.join(_SURROGATES)}, and "
            "load(surrogate=) takes another for equal spikes alone"
        )
    return made


def _node(kind: type[Cell], whole: type[Cell] | None, *names: str) -> Maker:
    def make(module: Any, size: tuple[int, ...], slope: Surrogate | None) -> Made:
        soft = module.v_reset is None
        values = {n: Learned.of(getattr(module, n)) for n in names}
        values |= {"v_threshold": Learned(module.v_threshold), "v_reset": Learned(0.0 if soft else module.v_reset)}
        require(getattr(module, "_neuron_precision", None) is None, module, "its states have a precision of their own")
        chosen = kind if whole is None or module.decay_input else whole
        reset, own = "soft" if soft else "hard", slope or surrogate(module.surrogate_function)
        cell = make_cell(chosen, module, size, values, reset=reset, surrogate=own)
        return Made(cell, not module.detach_reset)

    return make


_PEER = Peer(
    package="spikingjelly",
    layers=MappingProxyType(
        {
            "IFNode": _node(SpikingJellyIF, None),
            "LIFNode": _node(SpikingJellyLIF, SpikingJellyWholeInputLIF, "tau"),
            "ParametricLIFNode": _node(SpikingJellyPLIF, SpikingJellyWholeInputPLIF, "w"),
        }
    ),
)


def load(
    modules: nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module],
    *,
    input_size: int | Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
    surrogate: Surrogate | None = None,
    dt: float = 1e-3,
) -> Loaded:
    """The network equal to SpikingJelly's ``modules``, its values copied.

    Args:
        modules: an ``nn.Sequential``, or the layers in the order they run, as a list or by name: Linear, Conv2d,
            Flatten (torch's or those of ``layer``), IFNode, LIFNode, ParametricLIFNode.
        input_size: number of inputs or their shape ``(C, H, W)``, where the first layer does not say it.
        dtype: of the network; that of their first parameter unless said.
        surrogate: instead of theirs, for networks whose own has no equal here: the spikes stay equal.
        dt: seconds a step stands for; the equations do not use it.

    Returns:
        The network, ``[T, B, ...]`` to ``[T, B, N]``, equal to step mode ``"m"`` after ``reset_net``, and the route
        that gives its gradients (``detach_reset``, the same in all layers).

    Raises:
        InputError: a layer or an option that cannot be equal, with the reason.
    """
    return exchange_load(_PEER, modules, input_size=input_size, dtype=dtype, surrogate=surrogate, dt=dt)


def load_state(net: Sequential, state: Mapping[str, Tensor]) -> None:
    """Fill ``net``, made of the cells of this module, with a state dict of SpikingJelly's.

    Args:
        net: the description: layers paired by name or, where names differ, in order. Time constants and
            thresholds that do not train are no part of the state dict.
        state: tensors by name, any shape that has as many elements as ours.

    Raises:
        InputError: an entry no layer takes, a trained value that no entry fills.
    """
    fill(_PEER, net, state)
