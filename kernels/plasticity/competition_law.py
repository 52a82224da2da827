"""The law of competitive learning by spike timing: neurons, input, inhibition and plasticity."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from neuro.errors import InputError

__all__ = ["CompetitionLaw"]

_SIGNED = ("rest", "reset", "threshold", "e_excitatory", "e_inhibitory")
_ZERO = ("pause", "refractory", "theta_step", "rate_step", "inhibition", "a_plus", "a_minus")
_WHOLE = ("least", "attempts")


@dataclass(frozen=True)
class CompetitionLaw:
    """Conductance-based neurons that silence one another, with thresholds that rise and plastic input synapses.

    Membranes follow ``tau v' = (rest - v) + g (e_excitatory - v) + h (e_inhibitory - v)``, stepped implicitly in v.
    A spike of input i adds ``w[i]`` to g in the same step; a spike of a neuron adds ``inhibition`` to the h of all
    others one step later: its own inhibitory neuron, which a spike always fires, is that one step. A neuron fires
    above ``threshold + theta``; its theta rises by ``theta_step`` and decays with ``tau_theta``. With traces
    that the last spike sets to 1 (``r`` of an input, ``o1`` and ``o2`` of a neuron)::

        w -= a_minus o1       at a spike of the input, not below 0
        w += a_plus r o2      at a spike of the neuron, not above w_max; o2 as the spike before left it

    Inputs of a step come before the neurons' answers to them. After a picture the weights of each neuron that fired
    are scaled to the sum ``total``, and everything but weights and theta forgets the picture in the ``pause``.
    Diehl and Cook, "Unsupervised learning of digit recognition using spike-timing-dependent plasticity", Frontiers
    in Computational Neuroscience 2015, with the constants of their program at twice its time step; conduction
    delays of the input, which leave a Poisson process one, are left out, and theta counts from 0 (there, from 20 mV).

    Args:
        dt, duration, pause: step, showing of a picture and rest after it, in seconds.
        rate: of a white pixel, in Hz. A picture that has not made ``least`` spikes is shown again at a rate higher by
            ``rate_step``, up to ``attempts`` times in all.
        tau, tau_excitatory, tau_inhibitory: of membrane and conductances, in seconds.
        rest, reset, threshold, e_excitatory, e_inhibitory: in volts.
        refractory: in seconds.
        inhibition: conductance, in units of the leak's.
        theta_step: in volts.
        tau_theta: in seconds.
        a_plus, a_minus, w_max, total: of the weights, which are conductances in units of the leak's.
        tau_pre, tau_post, tau_before: of r, o1 and o2, in seconds.

    Raises:
        InputError: a value out of range.

    >>> CompetitionLaw(duration=0.1).steps
    100
    """

    dt: float = 1e-3
    duration: float = 0.35
    pause: float = 0.15
    rate: float = 63.75
    rate_step: float = 31.875
    least: int = 5
    attempts: int = 8
    tau: float = 0.1
    tau_excitatory: float = 1e-3
    tau_inhibitory: float = 2e-3
    rest: float = -65e-3
    reset: float = -65e-3
    threshold: float = -52e-3
    e_excitatory: float = 0.0
    e_inhibitory: float = -100e-3
    refractory: float = 5e-3
    inhibition: float = 17.0
    theta_step: float = 0.05e-3
    tau_theta: float = 1e4
    a_plus: float = 1e-2
    a_minus: float = 1e-4
    tau_pre: float = 20e-3
    tau_post: float = 20e-3
    tau_before: float = 40e-3
    w_max: float = 1.0
    total: float = 78.0

    def __post_init__(self) -> None:
        """Check every value."""
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if name in _WHOLE:
                if not isinstance(value, int) or value < (name == "attempts"):
                    raise InputError(f"{name} must be a whole number, {int(name == 'attempts')} or more, got {value!r}")
            elif not math.isfinite(value) or (name not in _SIGNED and value < 0):
                raise InputError(f"{name} must be finite{'' if name in _SIGNED else ' and not negative'}, got {value}")
            elif value == 0 and name not in (*_SIGNED, *_ZERO):
                raise InputError(f"{name} must be above 0, got {value}")
        if not max(self.rest, self.reset) < self.threshold:
            raise InputError(f"threshold must be above rest and reset, got {self.threshold}, {self.rest}, {self.reset}")
        if self.steps < 1:
            raise InputError(f"duration must be a step dt = {self.dt} s at least, got {self.duration}")

    @property
    def steps(self) -> int:
        """Of one showing."""
        return round(self.duration / self.dt)

    def numbers(self) -> list[float]:
        """As the loops take them.

        dt / tau, what a step leaves of g and h, rest, reset, threshold, both reversal potentials, inhibition, theta_step,
        what a showing leaves of theta, a_plus, a_minus, w_max, total.
        """
        keep_theta = math.exp(-(self.duration + self.pause) / self.tau_theta)
        return [
            self.dt / self.tau,
            *(math.exp(-self.dt / tau) for tau in (self.tau_excitatory, self.tau_inhibitory)),
            *(self.rest, self.reset, self.threshold, self.e_excitatory, self.e_inhibitory),
            *(self.inhibition, self.theta_step, keep_theta, self.a_plus, self.a_minus, self.w_max, self.total),
        ]

    def traces(self) -> list[list[float]]:
        """What r, o1 and o2 are k steps after the spike that set them, ``[3][steps]``."""
        return [
            [math.exp(-k * self.dt / tau) for k in range(self.steps)]
            for tau in (self.tau_pre, self.tau_post, self.tau_before)
        ]
