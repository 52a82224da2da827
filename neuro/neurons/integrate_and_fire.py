"""The leaky integrate-and-fire family, with NIR's names and meanings.

Equations: Pedersen et al. 2024, "Neuromorphic intermediate representation" (Nat. Commun. 15).
Membrane and threshold are in volts, currents in amperes, resistances in ohms, time constants
in seconds; networks commonly use them as pure numbers around a threshold of 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.neurons.cell import Cell

__all__ = ["IF", "LI", "LIF", "CuBaLIF", "PrimedIF"]

_TAU = Parameter(20e-3, "s", positive=True, doc="membrane time constant")
_R = Parameter(1.0, "ohm", doc="membrane resistance")
_V_LEAK = Parameter(0.0, "V", doc="resting membrane potential")
_FIRING: Mapping[str, Parameter] = MappingProxyType(
    {
        "v_threshold": Parameter(1.0, "V", doc="firing threshold"),
        "v_reset": Parameter(0.0, "V", doc="membrane potential after a spike"),
    }
)
_SPIKE = """
    spike when v > v_threshold
    reset value: v = v_reset
    reset subtract: v = v - v_threshold
"""


class LIF(Cell):
    """Leaky integrate-and-fire: ``tau dv/dt = (v_leak - v) + r x``, a spike where ``v > v_threshold``.

    Parameters ``tau`` [s], ``r`` [ohm], ``v_leak``, ``v_threshold``, ``v_reset`` [V]; resets
    ``"value"`` (to ``v_reset``), ``"subtract"`` (by ``v_threshold``) and ``"none"``.

    >>> LIF(2, tau=0.01, reset="subtract")
    LIF(2, dt=0.001, method='euler', reset='subtract', learn=('tau',))
    """

    equations = Equations(
        "LIF",
        "dv/dt = ((v_leak - v) + r*x) / tau" + _SPIKE,
        {"tau": _TAU, "r": _R, "v_leak": _V_LEAK, **_FIRING},
    )
    learn_default = ("tau",)


class CuBaLIF(Cell):
    """Current-based LIF: an exponential synapse ``tau_syn di/dt = w_in x - i`` drives the membrane.

    With ``method="exponential"`` the membrane follows the exact two exponentials.

    >>> CuBaLIF(2).equations.states
    ('i', 'v')
    """

    equations = Equations(
        "CuBaLIF",
        "di/dt = (w_in*x - i) / tau_syn\ndv/dt = ((v_leak - v) + r*i) / tau_mem" + _SPIKE,
        {
            "tau_syn": Parameter(5e-3, "s", positive=True, doc="synaptic time constant"),
            "tau_mem": _TAU,
            "r": _R,
            "v_leak": _V_LEAK,
            **_FIRING,
            "w_in": Parameter(1.0, "1", doc="gain of the input current"),
        },
    )
    learn_default = ("tau_syn", "tau_mem")


class IF(Cell):
    """Integrate-and-fire without leak: ``dv/dt = r x``, ``r`` in volts per ampere and second.

    >>> IF(2).learn
    ()
    """

    equations = Equations("IF", "dv/dt = r*x" + _SPIKE, {"r": _R, **_FIRING})


class PrimedIF(Cell):
    """Integrate-and-fire that starts part of the way: ``v[t] = v[t-1] + x[t]``, a spike where ``v >= v_threshold``.

    The membrane begins at ``primed * v_threshold`` and loses ``v_threshold`` [V] with a spike, so a constant input
    ``x`` (what one step adds, V) of at most the threshold makes ``floor(T x / v_threshold + primed)`` spikes in T steps:
    with the half that is the default, its count is rounded to the nearest instead of down. Bu et al. 2022, "Optimal
    ANN-SNN conversion for high-accuracy and ultra-low-latency spiking neural networks" (eq. 6 and theorem 2).

    >>> import torch
    >>> z, _ = PrimedIF(1)(torch.full((4, 1, 1), 0.4))
    >>> z.flatten().tolist()
    [0.0, 1.0, 0.0, 1.0]
    """

    equations = Equations(
        "PrimedIF",
        """
        v' = v + x
        start v = primed*v_threshold
        spike when v >= v_threshold
        reset subtract: v = v - v_threshold
        """,
        {
            "v_threshold": Parameter(1.0, "V", positive=True, doc="firing threshold"),
            "primed": Parameter(
                0.5, "1", doc="share of the threshold at which the membrane begins; no gradient reaches it"
            ),
        },
    )


class LI(Cell):
    """Leaky integrator readout: ``tau dv/dt = (v_leak - v) + r x``; the output is the membrane.

    >>> LI(2).equations.reset_kinds
    ('none',)
    """

    equations = Equations(
        "LI",
        "dv/dt = ((v_leak - v) + r*x) / tau\noutput v",
        {"tau": _TAU, "r": _R, "v_leak": _V_LEAK},
    )
    learn_default = ("tau",)
