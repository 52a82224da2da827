"""Sinabs's neurons: a current that decays as it arrives, one spike or several at the threshold.

Checked against Sinabs 3.1. Time constants are in steps; ``norm_input`` is 1 or 0. A neuron fires up to ``most``
spikes in one step: 1 for ``SingleSpike``, any number for ``MultiSpike``. The first of them takes its part off the
membrane ``v`` at once, the ``n`` others theirs as the next step begins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from neuro.compatibility.exchange import Learned, Loaded, Made, Maker, Peer, make_cell, require, scalar
from neuro.compatibility.exchange import load as exchange_load
from neuro.compatibility.state_dict import load_state as fill
from neuro.errors import InputError
from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.network import Sequential
from neuro.neurons.cell import Cell
from neuro.synapses import SumPool2d

__all__ = [
    "SinabsCurrentIAF",
    "SinabsCurrentLIF",
    "SinabsExpLeak",
    "SinabsIAF",
    "SinabsLIF",
    "load",
    "load_state",
    "surrogate",
]

_TAU_MEM = Parameter(10.0, "1", doc="membrane time constant in steps")
_TAU_SYN = Parameter(5.0, "1", doc="synaptic time constant in steps")
_NORM = Parameter(1.0, "1", doc="1 where the input is scaled by 1 - exp(-1/tau_mem), else 0")
_FIRING: Mapping[str, Parameter] = MappingProxyType(
    {
        "v_threshold": Parameter(1.0, "V", doc="firing threshold"),
        "v_subtract": Parameter(1.0, "V", doc="what a spike takes off the membrane"),
        "v_min": Parameter(-1e30, "V", doc="where a step begins at the lowest"),
        "most": Parameter(1.0, "1", doc="spikes in one step at most"),
    }
)
_LEAKING: Mapping[str, Parameter] = MappingProxyType(
    {"tau_mem": _TAU_MEM, "norm_input": _NORM, "v_min": _FIRING["v_min"]}
)
_FIRE = """
    n' = 0
    spike when v >= v_threshold
    reset subtract: v = v - v_subtract
    reset subtract: n = Min(whole(v, v_threshold), most) - 1
    reset zero: v = 0
    output z + Max(Min(whole(v, v_threshold), most) - 1, 0)
"""
_CURRENT = "i' = exp(-1/tau_syn)*(i + x)\n"
_REST = "Max(v - v_subtract*whole(n, 1), v_min)"  # a count: the gradient passes by the first spike alone
_LEAK = "v' = exp(-1/tau_mem)*{} + (1 - norm_input*exp(-1/tau_mem))*"
_ANY_NUMBER = 2.0**24  # the highest count that float32 has
_DEFAULT = Surrogate("exponential", width=0.5, peak=2.0)


class SinabsIAF(Cell):
    """``IAF``: ``v = v + x``.

    >>> SinabsIAF(2).equations.reset_kinds
    ('subtract', 'zero', 'none')
    """

    equations = Equations("SinabsIAF", f"v' = {_REST} + x" + _FIRE, _FIRING)
    surrogate_default = _DEFAULT


class SinabsCurrentIAF(Cell):
    """``IAF(tau_syn=...)``: ``i = exp(-1/tau_syn) (i + x)``, ``v = v + i``.

    >>> SinabsCurrentIAF(2).equations.states
    ('i', 'v', 'n')
    """

    equations = Equations("SinabsCurrentIAF", _CURRENT + f"v' = {_REST} + i'" + _FIRE, {"tau_syn": _TAU_SYN, **_FIRING})
    surrogate_default = _DEFAULT


class SinabsLIF(Cell):
    """``LIF``: ``v = a v + (1 - a) x`` with ``a = exp(-1/tau_mem)``; ``x`` whole where ``norm_input`` is 0.

    >>> SinabsLIF(2, norm_input=0.0).equations.states
    ('v', 'n')
    """

    equations = Equations(
        "SinabsLIF", _LEAK.format(_REST) + "x" + _FIRE, {"tau_mem": _TAU_MEM, "norm_input": _NORM, **_FIRING}
    )
    surrogate_default = _DEFAULT


class SinabsCurrentLIF(Cell):
    """``LIF(tau_syn=...)``: the membrane takes the current ``i = exp(-1/tau_syn) (i + x)``.

    >>> SinabsCurrentLIF(2).surrogate
    Surrogate(family='exponential', width=0.5, peak=2.0)
    """

    equations = Equations(
        "SinabsCurrentLIF",
        _CURRENT + _LEAK.format(_REST) + "i'" + _FIRE,
        {"tau_syn": _TAU_SYN, "tau_mem": _TAU_MEM, "norm_input": _NORM, **_FIRING},
    )
    surrogate_default = _DEFAULT


class SinabsExpLeak(Cell):
    """``ExpLeak``: the leaky integrator; the output is the membrane.

    >>> SinabsExpLeak(2).equations.reset_kinds
    ('none',)
    """

    equations = Equations("SinabsExpLeak", _LEAK.format("Max(v, v_min)") + "x\noutput v", _LEAKING)


def surrogate(function: Any, v_threshold: float = 1.0) -> Surrogate:
    """The surrogate equal to an object of ``sinabs.activation`` at the scalar threshold ``v_threshold`` [V].

    SingleExponential, Heaviside, and Gaussian and MultiGaussian about the threshold (``mu=0``; ``h=0.15, s=6``).

    Raises:
        InputError: another one (PeriodicExponential, which repeats at every multiple of the threshold).
    """
    name = type(function).__name__
    if name == "SingleExponential":
        width = v_threshold * function.grad_width
        return Surrogate("exponential", width=width, peak=function.grad_scale / width)
    if name == "Gaussian" and function.mu == 0:
        peak = function.grad_scale / (function.sigma * math.sqrt(2 * math.pi))
        return Surrogate("gaussian", width=math.sqrt(2) * function.sigma, peak=peak)
    if name == "MultiGaussian" and function.mu == 0 and (function.h, function.s) == (0.15, 6):
        tails = 2 * function.h / function.s * math.exp(-1 / (2 * function.s**2))
        peak = function.grad_scale * (1 + function.h - tails) / (function.sigma * math.sqrt(2 * math.pi))
        return Surrogate("multi_gaussian", width=function.sigma, peak=peak)
    if name == "Heaviside":
        return Surrogate("step", width=function.window, peak=1 / v_threshold)
    raise InputError(
        f"no surrogate here is equal to Sinabs's {function}; known are SingleExponential, Heaviside, Gaussian(mu=0) "
        "and MultiGaussian(mu=0, h=0.15, s=6), and load(surrogate=) takes another for equal spikes alone"
    )


def _reset(module: Any) -> tuple[str, float]:
    """Name of the reset and what it subtracts."""
    function = module.reset_fn
    threshold = scalar(module, "spike_threshold", module.spike_threshold)
    if type(function).__name__ == "MembraneSubtract":
        return "subtract", threshold if function.subtract_value is None else float(function.subtract_value)
    require(type(function).__name__ == "MembraneReset", module, f"its reset_fn is {function}")
    require(function.reset_value == 0, module, "MembraneReset adds its reset_value at every step, spike or not; use 0")
    return "zero", threshold


def _spiking(plain: type[Cell], current: type[Cell], *names: str) -> Maker:
    def make(module: Any, size: tuple[int, ...], slope: Surrogate | None) -> Made:
        values = _values(module, *names) | {"most": Learned(_most(module))}
        if module.tau_syn is not None:
            values["tau_syn"] = Learned.of(module.tau_syn)
        reset, taken = _reset(module)
        threshold = scalar(module, "spike_threshold", module.spike_threshold)
        values |= {"v_threshold": Learned(threshold), "v_subtract": Learned(taken)}
        own = slope or surrogate(module.surrogate_grad_fn, threshold)
        kind = plain if module.tau_syn is None else current
        # MembraneReset compares the spikes with 0, where no gradient passes.
        return Made(make_cell(kind, module, size, values, reset=reset, surrogate=own), reset == "subtract")

    return make


def _most(module: Any) -> float:
    """Spikes in one step at most."""
    name = getattr(module.spike_fn, "__name__", type(module.spike_fn).__name__)
    require(name in ("SingleSpike", "MultiSpike", "MaxSpike"), module, f"its spike_fn is {name}")
    most = 1.0 if name == "SingleSpike" else getattr(module.spike_fn, "max_num_spikes_per_bin", None)
    return float(_ANY_NUMBER if most is None else most)


def _values(module: Any, *names: str) -> dict[str, Learned]:
    require(not module.train_alphas, module, "train_alphas=True trains the decay itself; use False, which trains tau")
    values = {n: Learned.of(float(module.norm_input) if n == "norm_input" else getattr(module, n)) for n in names}
    return values if module.min_v_mem is None else values | {"v_min": Learned(module.min_v_mem)}


def _exp_leak(module: Any, size: tuple[int, ...], slope: Surrogate | None) -> Made:
    return Made(make_cell(SinabsExpLeak, module, size, _values(module, "tau_mem", "norm_input")))


def _sum_pool(module: Any, _: tuple[int, ...], __: Surrogate | None) -> Made:
    window = module.kernel_size if isinstance(module.kernel_size, tuple) else (module.kernel_size,) * 2
    step = module.stride if isinstance(module.stride, tuple) else (module.stride,) * 2
    require(module.stride is None or step == window, module, "its windows overlap")
    return Made(SumPool2d(window))


_IAF = _spiking(SinabsIAF, SinabsCurrentIAF)
_LIF = _spiking(SinabsLIF, SinabsCurrentLIF, "tau_mem", "norm_input")
_PEER = Peer(
    package="sinabs",
    layers=MappingProxyType(
        {
            "IAF": _IAF,
            "IAFSqueeze": _IAF,
            "LIF": _LIF,
            "LIFSqueeze": _LIF,
            "ExpLeak": _exp_leak,
            "ExpLeakSqueeze": _exp_leak,
            "SumPool2d": _sum_pool,
        }
    ),
    names=MappingProxyType({"spike_threshold": "v_threshold", "min_v_mem": "v_min"}),
    ignored=frozenset({"v_mem", "i_syn"}),
)


def load(
    modules: nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module],
    *,
    input_size: int | Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
    surrogate: Surrogate | None = None,
    dt: float = 1e-3,
) -> Loaded:
    """The network equal to Sinabs's ``modules``, its values copied.

    Args:
        modules: an ``nn.Sequential``, or the layers in the order they run, as a list or by name: Linear, Conv2d,
            Flatten, SumPool2d, IAF, LIF and ExpLeak with their Squeeze forms.
        input_size: number of inputs or their shape ``(C, H, W)``, where the first layer does not say it.
        dtype: of the network; that of their first parameter unless said.
        surrogate: instead of theirs, for networks whose own has no equal here: the spikes stay equal.
        dt: seconds a step stands for; the equations do not use it.

    Returns:
        The network, ``[T, B, ...]`` to ``[T, B, N]`` (Sinabs takes ``[B, T, ...]``), equal to Sinabs after
        ``reset_states``, and the route that gives its gradients.

    Raises:
        InputError: a layer or an option that cannot be equal, with the reason.
    """
    return exchange_load(_PEER, modules, input_size=input_size, dtype=dtype, surrogate=surrogate, dt=dt)


def load_state(net: Sequential, state: Mapping[str, Tensor]) -> None:
    """Fill ``net``, made of the cells of this module, with a state dict of Sinabs's.

    Args:
        net: the description: layers paired by name or, where names differ, in order. What a spike subtracts
            (``v_subtract``) is no part of the state dict.
        state: tensors by name, any shape that has as many elements as ours.

    Raises:
        InputError: an entry no layer takes, a trained value that no entry fills.
    """
    fill(_PEER, net, state)
