"""Norse's neurons: currents that jump before the membrane sees them, resets that carry gradients.

Checked against Norse 1.1. Inverse time constants are in 1/s, ``dt`` in seconds, as there. Its recurrent
cells detach the reset, its feed-forward cells do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from neuro.compatibility.exchange import Learned, Loaded, Made, Maker, Peer, linear, make_cell, require, scalar
from neuro.compatibility.exchange import load as exchange_load
from neuro.compatibility.state_dict import load_state as fill
from neuro.errors import InputError
from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.network import Sequential
from neuro.neurons.cell import Cell
from neuro.neurons.recurrent import Recurrent

__all__ = ["NorseIAF", "NorseLI", "NorseLIBox", "NorseLIF", "NorseLIFBox", "load", "load_state", "surrogate"]

_TAU_SYN_INV = Parameter(200.0, "1/s", doc="inverse synaptic time constant")
_TAU_MEM_INV = Parameter(100.0, "1/s", doc="inverse membrane time constant")
_V_LEAK = Parameter(0.0, "V", doc="resting membrane potential, where it starts")
_FIRING: Mapping[str, Parameter] = MappingProxyType(
    {
        "v_threshold": Parameter(1.0, "V", doc="firing threshold"),
        "v_reset": Parameter(0.0, "V", doc="membrane potential after a spike"),
    }
)
_DEFAULT = Surrogate("fast_sigmoid", width=1.0, peak=1.0)
_CURRENT = """
    v' = v + dt*tau_mem_inv*((v_leak - v) + (i + x))
    i' = (i + x) - dt*tau_syn_inv*(i + x)
    start v = v_leak
"""


class NorseLIF(Cell):
    """``LIF`` and ``LIFCell``: ``v`` takes the current after its jump, before its decay.

    >>> NorseLIF(2).equations.states
    ('v', 'i')
    """

    equations = Equations(
        "NorseLIF",
        _CURRENT + "spike when v > v_threshold\nreset value: v = v_reset",
        {"tau_syn_inv": _TAU_SYN_INV, "tau_mem_inv": _TAU_MEM_INV, "v_leak": _V_LEAK, **_FIRING},
    )
    surrogate_default = _DEFAULT


class NorseLIFBox(Cell):
    """``LIFBoxCell``: ``v = v + dt tau_mem_inv (x + v_leak - v)``.

    >>> NorseLIFBox(2).equations.reset_kinds
    ('value', 'subtract', 'none')
    """

    equations = Equations(
        "NorseLIFBox",
        """
        v' = v + dt*tau_mem_inv*(x + v_leak - v)
        start v = v_leak
        spike when v > v_threshold
        reset value: v = v_reset
        reset subtract: v = v - v_threshold
        """,
        {"tau_mem_inv": _TAU_MEM_INV, "v_leak": _V_LEAK, **_FIRING},
    )
    surrogate_default = _DEFAULT


class NorseIAF(Cell):
    """``IAF`` and ``IAFCell``: ``v = v + x``, from ``v_reset``.

    >>> NorseIAF(2).equations.states
    ('v',)
    """

    equations = Equations(
        "NorseIAF",
        """
        v' = v + x
        start v = v_reset
        spike when v > v_threshold
        reset value: v = v_reset
        """,
        _FIRING,
    )
    surrogate_default = _DEFAULT


class NorseLI(Cell):
    """``LI`` and ``LICell``: the leaky integrator behind a current; the output is the membrane.

    >>> NorseLI(2).equations.reset_kinds
    ('none',)
    """

    equations = Equations(
        "NorseLI",
        _CURRENT + "output v",
        {"tau_syn_inv": _TAU_SYN_INV, "tau_mem_inv": _TAU_MEM_INV, "v_leak": _V_LEAK},
    )


class NorseLIBox(Cell):
    """``LIBoxCell``: the leaky integrator without a current.

    >>> NorseLIBox(2).equations.states
    ('v',)
    """

    equations = Equations(
        "NorseLIBox",
        "v' = v + dt*tau_mem_inv*((v_leak - v) + x)\nstart v = v_leak\noutput v",
        {"tau_mem_inv": _TAU_MEM_INV, "v_leak": _V_LEAK},
    )


_SURROGATES: Mapping[str, Callable[[float], Surrogate]] = MappingProxyType(
    {
        "super": lambda _: _DEFAULT,  # whatever alpha is: Norse's backward does not read it
        "tanh": lambda alpha: Surrogate("sigmoid", width=1 / (2 * alpha), peak=1.0),
        "triangle": lambda alpha: Surrogate("triangle", width=1.0, peak=alpha),
        "heavi_erfc": lambda alpha: Surrogate("gaussian", width=1 / alpha, peak=2 / math.sqrt(math.pi)),
    }
)


def surrogate(method: str, alpha: float = 100.0) -> Surrogate:
    """The surrogate equal to Norse's threshold function ``method`` with the scalar ``alpha``.

    ``"super"`` ignores ``alpha``, as Norse does. ``"circ"`` has no equal here, ``"heaviside"`` no derivative,
    ``"adjoint"`` is another rule.

    Raises:
        InputError: another method.

    >>> surrogate("tanh", 4.0)
    Surrogate(family='sigmoid', width=0.125, peak=1.0)
    """
    if method not in _SURROGATES:
        raise InputError(
            f"no surrogate here is equal to Norse's {method!r}; known are {', '.join(_SURROGATES)}, and "
            "load(surrogate=) takes another for equal spikes alone"
        )
    return _SURROGATES[method](float(alpha))


def _maker(kind: type[Cell], *, spiking: bool) -> Maker:
    def make(module: Any, size: tuple[int, ...], slope: Surrogate | None) -> Made:
        p = module.p
        values = {n: Learned.of(getattr(p, "v_th" if n == "v_threshold" else n)) for n in kind.equations.parameters}
        options = {"dt": float(module.dt)}
        if not spiking:
            return Made(make_cell(kind, module, size, values, **options))
        reset = _reset(module)
        chosen = slope or surrogate(p.method, scalar(module, "alpha", p.alpha))
        return Made(make_cell(kind, module, size, values, reset=reset, surrogate=chosen, **options), True)

    return make


def _recurrent(module: Any, size: tuple[int, ...], slope: Surrogate | None) -> Made:
    """Recurrent cells: synapses, the population with its own, and a reset that is detached."""
    made = _LIF(module, (int(module.hidden_size),), slope)
    assert isinstance(made.layer, Cell)
    layer = Recurrent(made.layer, weight=module.recurrent_weights)
    if not module.autapses:
        layer.weight.register_hook(_without_diagonal)
    return Made(layer, False, linear(module.input_weights, None))


def _without_diagonal(gradient: Tensor) -> Tensor:
    """Norse keeps neurons from learning a synapse onto themselves so."""
    return gradient.clone().fill_diagonal_(0)


def _reset(module: Any) -> str:
    method = getattr(module.p, "reset_method", None)
    name = "reset_value" if method is None else getattr(method, "__name__", "")
    require(name in ("reset_value", "reset_subtract"), module, "its reset_method is of one's own")
    return name.removeprefix("reset_")


_LIF, _LI, _IAF = _maker(NorseLIF, spiking=True), _maker(NorseLI, spiking=False), _maker(NorseIAF, spiking=True)
_PEER = Peer(
    package="norse",
    layers=MappingProxyType(
        {
            "LIF": _LIF,
            "LIFCell": _LIF,
            "LIFRecurrent": _recurrent,
            "LIFRecurrentCell": _recurrent,
            "LIFBoxCell": _maker(NorseLIFBox, spiking=True),
            "IAF": _IAF,
            "IAFCell": _IAF,
            "LI": _LI,
            "LICell": _LI,
            "LIBoxCell": _maker(NorseLIBox, spiking=False),
        }
    ),
    names=MappingProxyType({"input_weights": "_input.weight", "recurrent_weights": "weight"}),
    inputs=lambda module: int(module.input_size) if hasattr(module, "recurrent_weights") else None,
)


def load(
    modules: nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module],
    *,
    input_size: int | Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
    surrogate: Surrogate | None = None,
) -> Loaded:
    """The network equal to Norse's ``modules``, its values copied.

    Args:
        modules: a ``SequentialState`` or ``nn.Sequential``, or the layers in the order they run, as a list or by
            name: Linear, Conv2d, Flatten, LIF, LIFCell, LIFRecurrent, LIFRecurrentCell, LIFBoxCell, IAF, IAFCell, LI,
            LICell, LIBoxCell.
        input_size: number of inputs or their shape ``(C, H, W)``, where the first layer does not say it.
        dtype: of the network; that of their first parameter unless said.
        surrogate: instead of theirs, for networks whose own has no equal here: the spikes stay equal.

    Returns:
        The network, ``[T, B, ...]`` to ``[T, B, N]`` at Norse's ``dt`` [s], and the route that gives its gradients.
        Parameters ``p`` that take a gradient train here, too. Without ``autapses`` a hook takes the gradient off
        the diagonal of the recurrent weights, as Norse's does; a network that is saved and read again has none.

    Raises:
        InputError: a layer or an option that cannot be equal, with the reason.
    """
    return exchange_load(_PEER, modules, input_size=input_size, dtype=dtype, surrogate=surrogate)


def load_state(net: Sequential, state: Mapping[str, Tensor]) -> None:
    """Fill ``net``, made of the cells of this module, with a state dict of Norse's, which holds weights only.

    Args:
        net: the description, with its time constants: layers paired by name or, where names differ, in order.
        state: tensors by name, any shape that has as many elements as ours.

    Raises:
        InputError: an entry no layer takes, a trained value that no entry fills.
    """
    fill(_PEER, net, state)
