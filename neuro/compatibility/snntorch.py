"""snnTorch's neurons: a reset that waits for the next step, detached, and surrogates by their factory.

The membrane that decides about the reset is that of the step before, so ``v`` is never seen reset: after a
spike it is left as it is, and ``r`` (by subtraction) or ``e`` (to zero) holds what the next step takes off.
Checked against snnTorch 1.0. Quantities are pure numbers per step; ``beta`` and ``alpha`` are cut to 0..1.
"""

from __future__ import annotations

import inspect
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
from neuro.neurons.recurrent import Recurrent

__all__ = [
    "SnnTorchLapicque",
    "SnnTorchLeaky",
    "SnnTorchRLeaky",
    "SnnTorchRSynaptic",
    "SnnTorchSynaptic",
    "load",
    "load_state",
    "surrogate",
]

_ALPHA = Parameter(0.8, "1", doc="share of the synaptic current left after a step")
_BETA = Parameter(0.9, "1", doc="share of the membrane left after a step")
_V_THRESHOLD = Parameter(1.0, "V", doc="firing threshold")
_BIAS = Parameter(0.0, "A", doc="bias of the recurrent synapses")
# r and e last one step: what follows a spike at the next one.
_FIRE = """
    r' = 0
    e' = 0
    spike when v > v_threshold
    reset subtract: r = 1
    reset zero: e = 1
"""


class SnnTorchLeaky(Cell):
    """``Leaky``: ``v = beta v + x - r v_threshold``; reset ``"zero"`` empties ``v`` before it decays.

    >>> SnnTorchLeaky(2).equations.reset_kinds
    ('subtract', 'zero', 'none')
    """

    equations = Equations(
        "SnnTorchLeaky",
        """
        v' = Min(1, Max(0, beta))*v + x - r*v_threshold
        r' = 0
        spike when v > v_threshold
        reset subtract: r = 1
        reset zero: v = 0
        """,
        {"beta": _BETA, "v_threshold": _V_THRESHOLD},
    )


class SnnTorchRLeaky(Cell):
    """The cell of ``RLeaky`` with its bias; reset ``"zero"`` drops the input of that step, too.

    >>> SnnTorchRLeaky(2).equations.states
    ('v', 'r', 'e')
    """

    equations = Equations(
        "SnnTorchRLeaky",
        "v' = (1 - e)*(Min(1, Max(0, beta))*v + x + bias) - r*v_threshold" + _FIRE,
        {"beta": _BETA, "v_threshold": _V_THRESHOLD, "bias": _BIAS},
    )


class SnnTorchSynaptic(Cell):
    """``Synaptic``: ``i = alpha i + x``, ``v = beta v + i - r v_threshold``; ``"zero"`` drops that step's current.

    >>> SnnTorchSynaptic(2).equations.states
    ('i', 'v', 'r', 'e')
    """

    equations = Equations(
        "SnnTorchSynaptic",
        """
        i' = Min(1, Max(0, alpha))*i + x
        v' = (1 - e)*(Min(1, Max(0, beta))*v + i') - r*v_threshold
        """
        + _FIRE,
        {"alpha": _ALPHA, "beta": _BETA, "v_threshold": _V_THRESHOLD},
    )


class SnnTorchRSynaptic(Cell):
    """The cell of ``RSynaptic`` with its bias.

    >>> SnnTorchRSynaptic(2).equations.states
    ('i', 'v', 'r', 'e')
    """

    equations = Equations(
        "SnnTorchRSynaptic",
        """
        i' = Min(1, Max(0, alpha))*i + x + bias
        v' = (1 - e)*(Min(1, Max(0, beta))*v + i') - r*v_threshold
        """
        + _FIRE,
        {"alpha": _ALPHA, "beta": _BETA, "v_threshold": _V_THRESHOLD, "bias": _BIAS},
    )


class SnnTorchLapicque(Cell):
    """``Lapicque``: ``v = x time_step / c + (1 - time_step / (r_mem c)) v - r v_threshold``.

    >>> SnnTorchLapicque(2).equations.reset_kinds
    ('subtract', 'zero', 'none')
    """

    equations = Equations(
        "SnnTorchLapicque",
        "v' = (1 - e)*(x*time_step/c + (1 - time_step/(r_mem*c))*v) - r*v_threshold" + _FIRE,
        {
            "r_mem": Parameter(1.0, "1", doc="R, membrane resistance"),
            "c": Parameter(10.0, "1", doc="C, membrane capacitance"),
            "time_step": Parameter(1.0, "1", doc="step in the unit of R C"),
            "v_threshold": _V_THRESHOLD,
        },
    )


_SURROGATES: Mapping[str, Callable[..., Surrogate]] = MappingProxyType(
    {
        "atan": lambda alpha: Surrogate("atan", width=2 / (math.pi * alpha), peak=alpha / 2),
        "fast_sigmoid": lambda slope: Surrogate("fast_sigmoid", width=1 / slope, peak=1.0),
        "sigmoid": lambda slope: Surrogate("sigmoid", width=1 / slope, peak=slope / 4),
        "straight_through_estimator": lambda: Surrogate("straight_through", width=1.0, peak=1.0),
    }
)


def surrogate(spike_grad: Callable[[Tensor], Tensor]) -> Surrogate:
    """The surrogate equal to what a factory of ``snntorch.surrogate`` made (a function, drive to spike, any shape).

    ``atan``, ``fast_sigmoid``, ``sigmoid`` and ``straight_through_estimator``; the others are not symmetric
    about the threshold, random, or of one's own.

    Raises:
        InputError: another function.
    """
    name, _, inner = getattr(spike_grad, "__qualname__", "").partition(".")
    if inner != "<locals>.inner" or name not in _SURROGATES:
        raise InputError(
            f"no surrogate here is equal to snnTorch's {name or spike_grad}; known are {', '.join(_SURROGATES)}, and "
            "load(surrogate=) takes another for equal spikes alone"
        )
    settings = inspect.getclosurevars(spike_grad).nonlocals
    return _SURROGATES[name](**{k: float(v) for k, v in settings.items()})


def _options(module: Any, slope: Surrogate | None) -> dict[str, Any]:
    require(not module.inhibition, module, "inhibition lets one neuron depend on the others of its layer")
    require(not module.state_quant, module, "state_quant rounds the states")
    derived = not module.surrogate_disable or slope is not None
    require(derived, module, "surrogate_disable leaves the spike without a derivative; give surrogate=")
    require(
        getattr(module, "reset_delay", True),
        module,
        "reset_delay=False resets twice where the membrane passes two thresholds; use the default reset_delay=True",
    )
    factor = module.graded_spikes_factor
    require(
        not factor.requires_grad and bool((factor == 1).all()),
        module,
        "graded_spikes_factor is not 1; multiply the weights of the next layer by it",
    )
    return {"reset": module.reset_mechanism, "surrogate": slope or surrogate(module.spike_grad)}


def _values(module: Any, *names: str) -> dict[str, Learned]:
    return {"v_threshold": Learned.of(module.threshold)} | {n: Learned.of(getattr(module, n)) for n in names}


def _leaky(module: Any, size: tuple[int, ...], slope: Surrogate | None) -> Made:
    return Made(make_cell(SnnTorchLeaky, module, size, _values(module, "beta"), **_options(module, slope)), False)


def _synaptic(module: Any, size: tuple[int, ...], slope: Surrogate | None) -> Made:
    values = _values(module, "alpha", "beta")
    return Made(make_cell(SnnTorchSynaptic, module, size, values, **_options(module, slope)), False)


def _lapicque(module: Any, size: tuple[int, ...], slope: Surrogate | None) -> Made:
    values = _values(module, "time_step") | {"r_mem": Learned.of(module.R), "c": Learned.of(module.C)}
    for name, value in values.items():
        require(name == "v_threshold" or not value.trains, module, f"{name} trains")
    return Made(make_cell(SnnTorchLapicque, module, size, values, **_options(module, slope)), False)


def _recurrent(kind: type[Cell], *names: str) -> Maker:
    def make(module: Any, size: tuple[int, ...], slope: Surrogate | None) -> Made:
        synapses = module.recurrent
        require(isinstance(synapses, nn.Linear), module, "its recurrent synapses are not all-to-all")
        values = _values(module, *names) | {"bias": Learned.of(synapses.bias)}
        cell = make_cell(kind, module, size, values, **_options(module, slope))
        made = Recurrent(cell, weight=synapses.weight)
        made.weight.requires_grad_(synapses.weight.requires_grad)
        return Made(made, False)

    return make


_RESETS = ("subtract", "zero", "none")  # by snnTorch's numbers
_PEER = Peer(
    package="snntorch",
    layers=MappingProxyType(
        {
            "Leaky": _leaky,
            "RLeaky": _recurrent(SnnTorchRLeaky, "beta"),
            "Synaptic": _synaptic,
            "RSynaptic": _recurrent(SnnTorchRSynaptic, "alpha", "beta"),
            "Lapicque": _lapicque,
        }
    ),
    names=MappingProxyType(
        {
            "threshold": "v_threshold",
            "recurrent.weight": "weight",
            "recurrent.bias": "bias",
            "R": "r_mem",
            "C": "c",
        }
    ),
    ignored=frozenset({"graded_spikes_factor", "reset_mechanism_val", "mem", "syn", "spk"}),
)


def load(
    modules: nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module],
    *,
    input_size: int | Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
    surrogate: Surrogate | None = None,
    dt: float = 1e-3,
) -> Loaded:
    """The network equal to snnTorch's ``modules``, its values copied.

    Args:
        modules: an ``nn.Sequential``, or the layers in the order they run, as a list or by name: Linear, Conv2d,
            Flatten, and Leaky, RLeaky, Synaptic, RSynaptic, Lapicque with any reset_mechanism.
        input_size: number of inputs or their shape ``(C, H, W)``, where the first layer does not say it.
        dtype: of the network; that of their first parameter unless said.
        surrogate: instead of theirs, for networks whose own has no equal here: the spikes stay equal.
        dt: seconds a step stands for; the equations do not use it.

    Returns:
        The network, ``[T, B, ...]`` to ``[T, B, N]``, and the route that gives snnTorch's gradients. Hidden states
        (``init_hidden``) are not taken over: state is passed here.

    Raises:
        InputError: a layer or an option that cannot be equal, with the reason.
    """
    return exchange_load(_PEER, modules, input_size=input_size, dtype=dtype, surrogate=surrogate, dt=dt)


def load_state(net: Sequential, state: Mapping[str, Tensor]) -> None:
    """Fill ``net``, made of the cells of this module, with a state dict of snnTorch's.

    Args:
        net: the description: layers paired by name or, where names differ, in order.
        state: tensors by name, any shape that has as many elements as ours.

    Raises:
        InputError: an entry no layer takes, a trained value that no entry fills, another reset mechanism, a
            graded_spikes_factor.
    """
    named = [(name.rpartition(".")[2], value) for name, value in state.items()]
    if any(name == "graded_spikes_factor" and bool((value != 1).any()) for name, value in named):
        raise InputError(
            "graded_spikes_factor of the state dict is not 1; multiply the weights of the next layer by it"
        )
    theirs = [_RESETS[int(value)] for name, value in named if name == "reset_mechanism_val"]
    ours = [cell.reset for cell in net.cells.values()]
    if theirs and theirs != ours:
        raise InputError(f"the neurons of the state dict have reset_mechanism {theirs}, those of the network {ours}")
    fill(_PEER, net, state)
