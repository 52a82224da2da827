"""Leaky integrate-and-fire cells with a threshold or a current that adapts to their own spikes.

The recurrent matrices of the papers are layers of their own, not part of a cell. Quantities
are pure numbers around a threshold of 1; time constants are seconds.
"""

from __future__ import annotations

from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.neurons.cell import Cell

__all__ = ["ALIF", "PLIF", "AdLIF", "SEAdLIF"]

_TAU = Parameter(20e-3, "s", positive=True, doc="membrane time constant")
_R = Parameter(1.0, "ohm", doc="membrane resistance")
_V_LEAK = Parameter(0.0, "V", doc="resting membrane potential")
_V_THRESHOLD = Parameter(1.0, "V", doc="firing threshold")


class PLIF(Cell):
    """LIF whose one time constant, shared by the population, is learned.

    Fang et al. 2021, "Incorporating learnable membrane time constant to enhance learning of
    spiking neural networks" (ICCV). ``tau`` trains by its logarithm, which keeps it positive;
    the paper's ``1/tau = sigmoid(w)`` also keeps it above ``dt``.

    >>> [tuple(p.shape) for p in PLIF(100).parameters()]
    [()]
    """

    equations = Equations(
        "PLIF",
        """
        dv/dt = ((v_leak - v) + r*x) / tau
        spike when v > v_threshold
        reset value: v = v_reset
        reset subtract: v = v - v_threshold
        """,
        {
            "tau": _TAU,
            "r": _R,
            "v_leak": _V_LEAK,
            "v_threshold": _V_THRESHOLD,
            "v_reset": Parameter(0.0, "V", doc="membrane potential after a spike"),
        },
    )
    learn_default = ("tau",)
    shared_default = ("tau",)


class ALIF(Cell):
    """LIF with an adaptive threshold ``v_threshold + beta a``; every spike adds 1 to ``a``.

    The adaptive unit of the LSNN: Bellec et al. 2020, "A solution to the learning dilemma for
    recurrent networks of spiking neurons" (Nat. Commun. 11), with ``method="exponential"``.

    >>> ALIF(2).reset
    'subtract'
    """

    equations = Equations(
        "ALIF",
        """
        dv/dt = ((v_leak - v) + r*x) / tau
        da/dt = -a / tau_a
        spike when v > v_threshold + beta*a
        reset subtract: v = v - v_threshold
        reset subtract: a = a + 1
        reset value: v = v_leak
        reset value: a = a + 1
        """,
        {
            "tau": _TAU,
            "r": _R,
            "v_leak": _V_LEAK,
            "v_threshold": _V_THRESHOLD,
            "tau_a": Parameter(200e-3, "s", positive=True, doc="time constant of the threshold"),
            "beta": Parameter(0.1, "V", doc="rise of the threshold per spike"),
        },
    )
    learn_default = ("tau", "tau_a")


class AdLIF(Cell):
    """LIF with an adaptation current ``w`` that follows membrane and spikes (adLIF; with recurrence RadLIF).

    ``w[t] = d_w w[t-1] + a v[t-1] + b z[t-1]`` and ``v[t] = d (v[t-1] - v_threshold z[t-1]) +
    (1 - d) (x[t] - w[t])`` with ``d = exp(-dt/tau)``, ``d_w = exp(-dt/tau_w)`` and ``v`` before its
    reset: Bittar & Garner 2022, "A surrogate gradient spiking baseline for speech command
    recognition" (Front. Neurosci. 16). There tau is kept in 5..25, tau_w in 30..120 steps,
    a in [-1, 1], b in [0, 2]; here nothing is clamped. ``w`` after a spike holds what makes the
    next step see the ``v`` and ``z`` of this one.

    >>> AdLIF(2).equations.states
    ('w', 'v')
    """

    equations = Equations(
        "AdLIF",
        """
        w' = exp(-dt/tau_w)*w + a*v
        v' = exp(-dt/tau)*v + (1 - exp(-dt/tau))*(x - w')
        spike when v > v_threshold
        reset subtract: v = v - v_threshold
        reset subtract: w = w + (b + a*v_threshold)*exp(dt/tau_w)
        """,
        {
            "tau": Parameter(10e-3, "s", positive=True, doc="membrane time constant"),
            "tau_w": Parameter(60e-3, "s", positive=True, doc="time constant of the adaptation"),
            "a": Parameter(0.1, "1", doc="adaptation to the membrane, per step"),
            "b": Parameter(0.5, "V", doc="adaptation to a spike"),
            "v_threshold": _V_THRESHOLD,
        },
    )
    learn_default = ("tau", "tau_w", "a", "b")
    surrogate_default = Surrogate("boxcar", width=1.0, peak=1.0)


class SEAdLIF(Cell):
    """Adaptive LIF stepped by the symplectic Euler method (SE-adLIF), stable where adLIF is not.

    ``v = d v + (1 - d) (x - w)``, a spike, ``v (1 - z)``, and only then ``w = d_w w + (1 - d_w) q
    (a v + b z)`` of the new ``v`` and ``z``: Baronig et al. 2025, "Advancing spatio-temporal
    processing through adaptation in spiking neural networks" (Nat. Commun. 16). There tau is
    5..25 steps, tau_w 60..300, a in [0, 1], b in [0, 2], q = 120; here nothing is clamped.

    >>> SEAdLIF(2).surrogate
    Surrogate(family='exponential', width=0.2, peak=1.0)
    """

    equations = Equations(
        "SEAdLIF",
        """
        v' = exp(-dt/tau)*v + (1 - exp(-dt/tau))*(x - w)
        w' = exp(-dt/tau_w)*w + (1 - exp(-dt/tau_w))*q*a*v'
        spike when v > v_threshold
        reset value: v = 0
        reset value: w = w + (1 - exp(-dt/tau_w))*q*(b - a*v)
        """,
        {
            "tau": Parameter(15e-3, "s", positive=True, doc="membrane time constant"),
            "tau_w": Parameter(150e-3, "s", positive=True, doc="time constant of the adaptation"),
            "a": Parameter(0.5, "1", doc="adaptation to the membrane"),
            "b": Parameter(1.0, "V", doc="adaptation to a spike"),
            "q": Parameter(120.0, "1", doc="scale of the adaptation"),
            "v_threshold": _V_THRESHOLD,
        },
    )
    learn_default = ("tau", "tau_w", "a", "b")
    surrogate_default = Surrogate("exponential", width=0.2, peak=1.0)
