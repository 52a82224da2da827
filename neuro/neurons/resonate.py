"""Cells that oscillate, and cells whose output is graded instead of a spike."""

from __future__ import annotations

from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.neurons.cell import Cell

__all__ = ["LRU", "EventGate", "ResonateAndFire"]

_OMEGA = Parameter(62.83185307179586, "rad/s", positive=True, doc="angular frequency")


class ResonateAndFire(Cell):
    """Resonate-and-fire: the complex membrane ``re + i im`` turns at ``omega`` and decays with ``tau``.

    ``dz/dt = (-1/tau + i omega) z + r x``, a spike where ``im > v_threshold``, a reset to
    ``i v_reset``: Izhikevich 2001, "Resonate-and-fire neurons" (Neural Networks 14), whose reset
    is to ``i`` (``v_reset=1``). The step is exact for an input constant over it, under either ``method``.

    >>> ResonateAndFire(2).equations.states
    ('re', 'im')
    """

    equations = Equations(
        "ResonateAndFire",
        """
        re' = exp(-dt/tau)*(cos(omega*dt)*re - sin(omega*dt)*im) + \
r*x*(omega*exp(-dt/tau)*sin(omega*dt) - (exp(-dt/tau)*cos(omega*dt) - 1)/tau)/(1/(tau*tau) + omega*omega)
        im' = exp(-dt/tau)*(sin(omega*dt)*re + cos(omega*dt)*im) + \
r*x*(omega*(1 - exp(-dt/tau)*cos(omega*dt)) - exp(-dt/tau)*sin(omega*dt)/tau)/(1/(tau*tau) + omega*omega)
        spike when im > v_threshold
        reset value: re = 0
        reset value: im = v_reset
        """,
        {
            "tau": Parameter(50e-3, "s", positive=True, doc="time constant of the decay"),
            "omega": _OMEGA,
            "r": Parameter(50.0, "V/(A s)", doc="gain of the input"),
            "v_threshold": Parameter(1.0, "V", doc="firing threshold"),
            "v_reset": Parameter(0.0, "V", doc="imaginary part after a spike"),
        },
    )
    learn_default = ("tau", "omega")


class LRU(Cell):
    """Complex leaky integrator, the diagonal recurrence of the linear recurrent unit; the output is its real part.

    ``h[t] = exp((-1/tau + i omega) dt) h[t-1] + sqrt(1 - exp(-2 dt/tau)) x[t]``, so that white
    noise gives a state of unit variance: Orvieto et al. 2023, "Resurrecting recurrent neural
    networks for long sequences" (ICML). Real input; the unit's matrices B, C and D are layers of their own.

    >>> LRU(2).equations.reset_kinds
    ('none',)
    """

    equations = Equations(
        "LRU",
        """
        re' = exp(-dt/tau)*(cos(omega*dt)*re - sin(omega*dt)*im) + sqrt(1 - exp(-2*dt/tau))*x
        im' = exp(-dt/tau)*(sin(omega*dt)*re + cos(omega*dt)*im)
        output re
        """,
        {"tau": Parameter(50e-3, "s", positive=True, doc="time constant of the decay"), "omega": _OMEGA},
    )
    learn_default = ("tau", "omega")


class EventGate(Cell):
    """The event gate of the EGRU: a leaky state ``c`` that is sent on, graded, when it passes threshold.

    ``c = u c + (1 - u) x`` with ``u = exp(-dt/tau)``, ``z = c > v_threshold``, output ``z c``, then
    ``c - z v_threshold``: Subramoney et al. 2023, "Efficient recurrent architectures through
    activity sparsity and sparse back-propagation through time" (ICLR). There ``u`` is a gate
    computed from the input at each step; here it is a constant of the neuron.

    >>> str(EventGate(2).equations.output)
    'c*z'
    """

    equations = Equations(
        "EventGate",
        """
        c' = exp(-dt/tau)*c + (1 - exp(-dt/tau))*x
        spike when c > v_threshold
        reset subtract: c = c - v_threshold
        output z*c
        """,
        {
            "tau": Parameter(5e-3, "s", positive=True, doc="time constant of the state"),
            "v_threshold": Parameter(0.3, "1", doc="threshold of an event"),
        },
    )
    learn_default = ("tau", "v_threshold")
    surrogate_default = Surrogate("triangle", width=1.0, peak=0.7)
