"""Synaptic dynamics: the current that a spike leaves behind, and what the last spikes left of a synapse.

Filters stand between weights and neurons, short-term plasticity between neurons and weights::

    LIF -> ShortTermPlasticity -> Linear -> AlphaSynapse -> LIF

All are cells declared by equations, whose steps are exact for spikes on the grid of time, whatever ``dt``:
they are maps with exponentials, so ``method`` makes no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.neurons.cell import Cell

__all__ = ["AlphaSynapse", "DoubleExponentialSynapse", "ExponentialSynapse", "ShortTermPlasticity", "Sigma"]


class ExponentialSynapse(Cell):
    """Each spike adds a current that decays: ``i(t) = exp(-t / tau)``, peak 1 at the spike.

    ``i[k] = exp(-dt / tau) i[k - 1] + x[k]``. ``x`` and output ``[T, B, *size]``, ``tau`` [s]; state ``i``.

    >>> y, _ = ExponentialSynapse(1, tau=1e-3)(torch.tensor([1.0, 0.0]).view(2, 1, 1))
    >>> [round(v, 3) for v in y.flatten().tolist()]
    [1.0, 0.368]
    """

    equations = Equations(
        "ExponentialSynapse",
        "i' = exp(-dt/tau)*i + x\noutput i",
        {"tau": Parameter(5e-3, "s", positive=True, doc="time constant of the decay")},
    )
    learn_default = ("tau",)


class AlphaSynapse(Cell):
    """Each spike adds ``i(t) = (t / tau) exp(1 - t / tau)``, peak 1 after ``tau``.

    ``x`` and output ``[T, B, *size]``, ``tau`` [s]; states ``a`` (what drives the current) and ``i``. In steps,
    ``i[k] = exp(-dt/tau) (i[k - 1] + e (dt/tau) a[k - 1])``, ``a[k] = exp(-dt/tau) a[k - 1] + x[k]``
    (Rotter & Diesmann 1999, Biol. Cybern. 81:381, propagator of the alpha function).

    >>> y, _ = AlphaSynapse(1, tau=2e-3)(torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1))
    >>> [round(v, 3) for v in y.flatten().tolist()]
    [0.0, 0.824, 1.0]
    """

    equations = Equations(
        "AlphaSynapse",
        """
        i' = exp(-dt/tau)*i + exp(1 - dt/tau)*(dt/tau)*a
        a' = exp(-dt/tau)*a + x
        output i
        """,
        {"tau": Parameter(5e-3, "s", positive=True, doc="time from a spike to the peak")},
    )
    learn_default = ("tau",)


class DoubleExponentialSynapse(Cell):
    """Each spike adds ``i(t) = (exp(-t / tau_decay) - exp(-t / tau_rise)) / peak``, which at most is 1.

    The peak comes ``tau_decay tau_rise / (tau_decay - tau_rise) log(tau_decay / tau_rise)`` after the spike;
    ``peak`` is the difference there, so that the current then is 1 (between steps, as a rule). ``x`` and
    output ``[T, B, *size]``; ``tau_rise`` < ``tau_decay`` [s]; states ``d``, ``r`` (the two exponentials).

    Raises:
        InputError: ``tau_rise`` not below ``tau_decay`` (equal ones are an :class:`AlphaSynapse`).

    >>> y, _ = DoubleExponentialSynapse(1)(torch.tensor([1.0, *[0.0] * 40]).view(41, 1, 1))
    >>> 0.99 < float(y.detach().max()) <= 1, float(y[0].detach())
    (True, 0.0)
    """

    equations = Equations(
        "DoubleExponentialSynapse",
        """
        d' = exp(-dt/tau_decay)*d + x
        r' = exp(-dt/tau_rise)*r + x
        output (d - r) / (exp(-log(tau_decay/tau_rise)*tau_rise/(tau_decay - tau_rise))
        """.rstrip()
        + " - exp(-log(tau_decay/tau_rise)*tau_decay/(tau_decay - tau_rise)))",
        {
            "tau_rise": Parameter(2e-3, "s", positive=True, doc="time constant of the rise"),
            "tau_decay": Parameter(10e-3, "s", positive=True, doc="time constant of the decay"),
        },
    )
    learn_default = ("tau_rise", "tau_decay")

    def __init__(self, size: int | Sequence[int], **options: Any) -> None:
        super().__init__(size, **options)
        rise, decay = self.value("tau_rise").detach(), self.value("tau_decay").detach()
        if bool((rise >= decay).any()):
            raise InputError(
                f"tau_rise must be below tau_decay, got {float(rise.max()):g} s and {float(decay.min()):g} s; "
                "use AlphaSynapse for equal ones"
            )


class ShortTermPlasticity(Cell):
    """Facilitation and depression: each spike is passed on with the size that the ones before it left.

    A spike finds the resources ``R`` and the use ``p`` of them; it raises the use, spends and sends::

        p -> p + U (1 - p);   y = p R;   R -> R - y

    In between ``p`` decays to 0 with ``tau_facil`` and ``R`` recovers to 1 with ``tau_rec``, exactly: steps
    without a spike compose to the one exponential (Tsodyks, Pawelzik & Markram 1998, Neural Comput. 10:821,
    eqs. 2.2 to 2.4). ``x`` ``[T, B, *size]``, spikes of 0 or 1 of the presynaptic neurons; output of that shape.
    Parameters ``U`` in (0, 1), ``tau_rec``, ``tau_facil`` [s], by default those of Mongillo et al. 2008
    (Science 319:1543); a ``tau_facil`` far below ``dt`` is a synapse that only depresses.
    States ``p``, ``y`` and ``spent = 1 - R``. ``U``, where it trains, is held in (0, 1) by a logistic.

    Raises:
        InputError: ``U`` not between 0 and 1.

    >>> y, _ = ShortTermPlasticity(1, U=0.5, tau_facil=1e-6)(torch.ones(3, 1, 1))
    >>> [round(v, 2) for v in y.flatten().tolist()]
    [0.5, 0.25, 0.13]
    """

    equations = Equations(
        "ShortTermPlasticity",
        """
        p' = exp(-dt/tau_facil)*p + U*(1 - exp(-dt/tau_facil)*p)*x
        y' = x*p'*(1 - exp(-dt/tau_rec)*spent)
        spent' = exp(-dt/tau_rec)*spent + y'
        output y
        """,
        {
            "U": Parameter(0.2, "1", positive=True, doc="share of the unused release that a spike adds"),
            "tau_rec": Parameter(0.2, "s", positive=True, doc="time constant of recovery"),
            "tau_facil": Parameter(1.5, "s", positive=True, doc="time constant of facilitation"),
        },
    )
    learn_default = ("U", "tau_rec", "tau_facil")

    def _register(self, name: str, value: float | Tensor) -> None:
        if name != "U":
            super()._register(name, value)
            return
        tensor = self._tensor(name, value)
        bad = ~((tensor > 0) & (tensor < 1))
        if bool(bad.any()):
            raise InputError(f"ShortTermPlasticity U must be above 0 and below 1, got {tensor[bad][0].item():g}")
        if name in self.learn:
            self.register_parameter("logit_U", nn.Parameter(torch.logit(self._spread(name, tensor)).clone()))
        else:
            self.register_buffer(name, tensor)

    def value(self, name: str) -> Tensor:
        """As :meth:`neuro.Cell.value`, shape ``[*size]`` or 0-d; ``U`` through its logistic where it trains."""
        if name == "U" and name in self.learn:
            return torch.sigmoid(self.get_parameter("logit_U"))
        return super().value(name)


class Sigma(Cell):
    """Adds up what comes in, the other half of :class:`neuro.Delta`: ``v[t] = v[t - 1] + x[t]``, output ``v + bias``.

    ``x`` and output ``[T, B, *size]``; ``bias``, added once and not at each change, is in the unit of ``x``.

    >>> y, _ = Sigma(1)(torch.tensor([0.5, 0.0, 1.0, -0.5]).view(4, 1, 1))
    >>> y.flatten().tolist()
    [0.5, 0.5, 1.5, 1.0]
    """

    equations = Equations(
        "Sigma", "v' = v + x\noutput v + bias", {"bias": Parameter(0.0, "1", doc="constant part of the output")}
    )
    learn_default = ("bias",)
