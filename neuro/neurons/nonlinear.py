"""Integrate-and-fire cells whose membrane itself starts the spike: quadratic and exponential.

No step of forward Euler can overflow: the growth of QIF and Izhikevich is that of
``min(v, v_threshold)``, which any reset to a value below threshold makes the same thing, and the
exponent of EIF and AdEx is at most :data:`EXPONENT_BOUND`, where the membrane moves by
``exp(20) delta dt/tau`` a step, past any threshold at once.
"""

from __future__ import annotations

from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.neurons.cell import Cell

__all__ = ["EIF", "EXPONENT_BOUND", "QIF", "AdEx", "Izhikevich"]

EXPONENT_BOUND = 20
"""Largest exponent that EIF and AdEx evaluate."""

_TAU = Parameter(20e-3, "s", positive=True, doc="membrane time constant")
_R = Parameter(1.0, "ohm", doc="membrane resistance")
_V_LEAK = Parameter(0.0, "V", doc="resting membrane potential")
_V_THRESHOLD = Parameter(1.0, "V", doc="membrane potential at which the spike is cut off")


class QIF(Cell):
    """Quadratic integrate-and-fire: ``tau dv/dt = gain (v - v_leak)(v - v_critical) + r x``.

    Latham et al. 2000, "Intrinsic dynamics in neuronal networks" (J. Neurophysiol. 83); the
    normal form of a saddle-node. Above ``v_critical`` [V] the membrane runs away by itself.

    >>> QIF(2, v_critical=0.5).parameters_si()["v_critical"]
    tensor([0.5000, 0.5000])
    """

    equations = Equations(
        "QIF",
        """
        dv/dt = (gain*(Min(v, v_threshold) - v_leak)*(Min(v, v_threshold) - v_critical) + r*x) / tau
        start v = v_leak
        spike when v > v_threshold
        reset value: v = v_reset
        """,
        {
            "tau": _TAU,
            "r": _R,
            "v_leak": _V_LEAK,
            "v_critical": Parameter(0.8, "V", doc="membrane potential beyond which it spikes without input"),
            "gain": Parameter(1.0, "1/V", doc="strength of the quadratic"),
            "v_threshold": _V_THRESHOLD,
            "v_reset": Parameter(-0.1, "V", doc="membrane potential after a spike"),
        },
    )
    learn_default = ("tau",)


class EIF(Cell):
    """Exponential integrate-and-fire: ``tau dv/dt = v_leak - v + delta exp((v - v_rheobase)/delta) + r x``.

    Fourcaud-Trocme et al. 2003, "How spike generation mechanisms determine the neuronal response
    to fluctuating inputs" (J. Neurosci. 23). Constant current makes it fire from
    ``r x = v_rheobase - v_leak - delta`` on. The exponent is at most :data:`EXPONENT_BOUND`.

    >>> EIF(2).equations.membrane
    ('v',)
    """

    equations = Equations(
        "EIF",
        f"""
        dv/dt = ((v_leak - v) + delta*exp(Min((v - v_rheobase)/delta, {EXPONENT_BOUND})) + r*x) / tau
        start v = v_leak
        spike when v > v_threshold
        reset value: v = v_reset
        """,
        {
            "tau": _TAU,
            "r": _R,
            "v_leak": _V_LEAK,
            "v_rheobase": Parameter(0.8, "V", doc="membrane potential at which the spike starts"),
            "delta": Parameter(0.1, "V", positive=True, doc="sharpness of the spike's start"),
            "v_threshold": _V_THRESHOLD,
            "v_reset": Parameter(0.0, "V", doc="membrane potential after a spike"),
        },
    )
    learn_default = ("tau",)


class AdEx(Cell):
    """Adaptive exponential integrate-and-fire, in volts and amperes.

    ``tau dv/dt = v_leak - v + delta exp((v - v_rheobase)/delta) + r (x - w)`` and
    ``tau_w dw/dt = a (v - v_leak) - w``; every spike adds ``b`` to ``w``: Brette & Gerstner 2005,
    "Adaptive exponential integrate-and-fire model" (J. Neurophysiol. 94), whose regular neuron
    the defaults are (281 pF, 30 nS), the spike cut off at 0 V. The exponent is at most
    :data:`EXPONENT_BOUND`. Inputs are around 1e-9 A.

    >>> AdEx(1).initial_state(1)[0]
    tensor([[-0.0706]])
    """

    equations = Equations(
        "AdEx",
        f"""
        dv/dt = ((v_leak - v) + delta*exp(Min((v - v_rheobase)/delta, {EXPONENT_BOUND})) + r*(x - w)) / tau
        dw/dt = (a*(v - v_leak) - w) / tau_w
        start v = v_leak
        spike when v > v_threshold
        reset value: v = v_reset
        reset value: w = w + b
        """,
        {
            "tau": Parameter(281e-12 / 30e-9, "s", positive=True, doc="membrane time constant"),
            "r": Parameter(1 / 30e-9, "ohm", doc="membrane resistance"),
            "v_leak": Parameter(-70.6e-3, "V", doc="resting membrane potential"),
            "v_rheobase": Parameter(-50.4e-3, "V", doc="membrane potential at which the spike starts"),
            "delta": Parameter(2e-3, "V", positive=True, doc="sharpness of the spike's start"),
            "v_threshold": Parameter(0.0, "V", doc="membrane potential at which the spike is cut off"),
            "v_reset": Parameter(-70.6e-3, "V", doc="membrane potential after a spike"),
            "tau_w": Parameter(144e-3, "s", positive=True, doc="time constant of the adaptation"),
            "a": Parameter(4e-9, "S", doc="adaptation to the membrane"),
            "b": Parameter(80.5e-12, "A", doc="adaptation to a spike"),
        },
    )
    learn_default = ("tau", "tau_w")
    surrogate_default = Surrogate("atan", width=10e-3, peak=10.0)


class Izhikevich(Cell):
    """Izhikevich's simple model, in millivolts as published; time is in seconds as everywhere here.

    ``dv/dt = 0.04 v^2 + 5 v + 140 - w + x`` and ``dw/dt = a (b v - w)`` per millisecond, a reset of
    ``v`` to ``c`` and of ``w`` by ``d`` at 30 mV: Izhikevich 2003, "Simple model of spiking neurons"
    (IEEE Trans. Neural Netw. 14), whose regular spiking neuron the defaults are. ``x`` is in
    mV/ms. Steps of 0.5 ms or less follow the equation; the default 1 ms is coarse.

    >>> [s.item() for s in Izhikevich(1).initial_state(1)]
    [-70.0, -14.0]
    """

    equations = Equations(
        "Izhikevich",
        """
        dv/dt = 1000*(0.04*Min(v, v_threshold)*Min(v, v_threshold) + 5*Min(v, v_threshold) + 140 - w + x)
        dw/dt = 1000*a*(b*v - w)
        start v = -70
        start w = -70*b
        spike when v > v_threshold
        reset value: v = c
        reset value: w = w + d
        """,
        {
            "a": Parameter(0.02, "1/ms", doc="rate of the recovery variable"),
            "b": Parameter(0.2, "1", doc="its sensitivity to the membrane"),
            "c": Parameter(-65.0, "mV", doc="membrane potential after a spike"),
            "d": Parameter(8.0, "mV/ms", doc="step of the recovery variable at a spike"),
            "v_threshold": Parameter(30.0, "mV", doc="membrane potential at which the spike is cut off"),
        },
    )
    surrogate_default = Surrogate("atan", width=10.0, peak=0.1)
