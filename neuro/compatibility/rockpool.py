"""Rockpool's LIFTorch: a current that decays as it arrives, a bias, one spike or several, each of which subtracts.

Checked against Rockpool 3.1. Time constants and ``dt`` are in seconds. A neuron fires up to ``most`` spikes in one
step (``max_spikes_per_dt``); the first of them takes a threshold off the membrane ``v`` at once, the ``n`` others
theirs as the next step begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from neuro.compatibility.exchange import Learned, Loaded, Made, Peer, linear, make_cell, require, scalar
from neuro.compatibility.exchange import load as exchange_load
from neuro.compatibility.state_dict import load_state as fill
from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.network import Sequential
from neuro.neurons.cell import Cell
from neuro.neurons.recurrent import Recurrent

__all__ = ["RockpoolLIF", "load", "load_state"]


class RockpoolLIF(Cell):
    """``LIFTorch``: ``i = exp(-dt/tau_syn) (i + x)``, ``v = exp(-dt/tau_mem) v + i + bias``.

    >>> RockpoolLIF(2, reset="subtract").equations.states
    ('i', 'v', 'n')
    """

    equations = Equations(
        "RockpoolLIF",
        """
        i' = exp(-dt/tau_syn)*(i + x)
        v' = exp(-dt/tau_mem)*(v - v_threshold*whole(n, 1)) + i' + bias
        n' = 0
        spike when v >= v_threshold
        reset subtract: v = v - v_threshold
        reset subtract: n = Min(whole(v, v_threshold), most) - 1
        output z + Max(Min(whole(v, v_threshold), most) - 1, 0)
        """,
        {
            "tau_syn": Parameter(20e-3, "s", doc="synaptic time constant"),
            "tau_mem": Parameter(20e-3, "s", doc="membrane time constant"),
            "bias": Parameter(0.0, "V", doc="added to the membrane at each step"),
            "v_threshold": Parameter(1.0, "V", doc="firing threshold"),
            "most": Parameter(65536.0, "1", doc="spikes in one step at most"),
        },
    )
    surrogate_default = Surrogate("step", width=0.5, peak=1.0)


def _surrogate(module: Any, threshold: float, most: float) -> Surrogate:
    """StepPWL, or PeriodicExponential, of which one spike a step leaves one period."""
    function = getattr(module.spike_generation_fn, "__self__", None)
    name = getattr(function, "__name__", str(module.spike_generation_fn))
    width = scalar(module, "learning_window", module.learning_window)
    if name == "StepPWL":
        return Surrogate("step", width=width, peak=1 / threshold)
    require(
        name == "PeriodicExponential" and most == 1,
        module,
        f"the surrogate of {name} with max_spikes_per_dt={most:g} has no equal; use StepPWL or give surrogate=",
    )
    return Surrogate("exponential", width=width, peak=1 / threshold)


def _lif(module: Any, size: tuple[int, ...], slope: Surrogate | None) -> Made:
    require(str(module.leak_mode) == "taus", module, "its decays are not held as time constants; use leak_mode='taus'")
    require(int(module.n_synapses) == 1, module, "its neurons have several synapses each")
    require(float(module.noise_std) == 0, module, "noise_std is not 0")
    threshold, most = scalar(module, "threshold", module.threshold), float(module.max_spikes_per_dt)
    values = {n: Learned.of(_column(getattr(module, n))) for n in ("tau_syn", "tau_mem", "bias")}
    values |= {"v_threshold": Learned(threshold), "most": Learned(most)}
    own = slope or _surrogate(module, threshold, most)
    cell = make_cell(RockpoolLIF, module, size, values, dt=float(module.dt), surrogate=own)
    if not module._has_rec:
        return Made(cell, True)
    recurrent = Recurrent(cell, weight=module.w_rec.t())
    recurrent.weight.requires_grad_(module.w_rec.requires_grad)
    return Made(recurrent, True)


def _column(value: Tensor) -> Tensor:
    """``[N, 1]``, one synapse a neuron, as ``[N]``."""
    return value.flatten() if value.dim() == 2 else value


def _linear(module: Any, _: tuple[int, ...], __: Surrogate | None) -> Made:
    return Made(linear(module.weight.t(), module.bias if isinstance(module.bias, Tensor) else None))


_TURNED = ("weight", "w_rec")  # [from, to] in Rockpool, [to, from] here
_PEER = Peer(
    package="rockpool",
    layers=MappingProxyType({"LIFTorch": _lif, "LinearTorch": _linear}),
    containers=frozenset({"Sequential", "TorchSequential"}),
    names=MappingProxyType({"threshold": "v_threshold", "w_rec": "weight"}),
    ignored=frozenset({"vmem", "isyn", "spikes"}),
    convert=lambda name, tensor: tensor.t() if name in _TURNED else tensor,
    inputs=lambda module: module.weight.shape[0] if type(module).__name__ == "LinearTorch" else None,
)


def load(
    modules: nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module],
    *,
    input_size: int | Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
    surrogate: Surrogate | None = None,
) -> Loaded:
    """The network equal to Rockpool's ``modules``, its values copied.

    Args:
        modules: a ``Sequential`` (Rockpool's or torch's), or the layers in the order they run, as a list or by
            name: LinearTorch, LIFTorch (recurrent or not), Linear.
        input_size: number of inputs or their shape, where the first layer does not say it.
        dtype: of the network; that of their first parameter unless said.
        surrogate: instead of theirs, for networks whose own has no equal here: the spikes stay equal.

    Returns:
        The network, ``[T, B, N]`` to ``[T, B, N]`` at Rockpool's ``dt`` [s] (Rockpool takes ``[B, T, N]``), equal to
        Rockpool after ``reset_state``, and the route that gives its gradients. The threshold does not train here:
        Rockpool scales its gradient by membrane over threshold, which no derivative of the equations gives.

    Raises:
        InputError: a layer or an option that cannot be equal, with the reason.
    """
    return exchange_load(_PEER, modules, input_size=input_size, dtype=dtype, surrogate=surrogate)


def load_state(net: Sequential, state: Mapping[str, Tensor]) -> None:
    """Fill ``net``, made of the cells of this module, with a state dict of Rockpool's.

    Args:
        net: the description: layers paired by name or, where names differ, in order.
        state: tensors by name, any shape that has as many elements as ours; weights ``[from, to]``, as those of
            LinearTorch and LIFTorch are.

    Raises:
        InputError: an entry no layer takes, a trained value that no entry fills.
    """
    fill(_PEER, net, state)
