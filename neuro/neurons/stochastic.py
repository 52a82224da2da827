"""Neurons that fire at random, by a rate that their membrane sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.kernels.engines.counter_random import counter_uniform
from neuro.layer import State
from neuro.neurons.cell import Cell

__all__ = ["SRM", "STOCHASTIC"]

_STATES = 4  # of the neuron itself; those that follow count the random numbers
_LAP = 2**20  # steps after which a counter begins anew: a float32 counts to 2^24 and no further


class SRM(Cell):
    r"""Spike response neuron with escape noise (SRM0): the membrane sets a rate of firing, chance does the rest.

    The membrane is the input filtered by ``exp(-t/tau_syn)`` and ``exp(-t/tau)``, plus a
    hyperpolarisation that every spike deepens by ``v_refractory`` and that decays with
    ``tau_refractory``. In a step a spike comes with the probability ``1 - exp(-rho dt)``, where
    ``rho = rate exp((v + h - v_threshold) / v_noise)``: Gerstner & Kistler 2002, "Spiking Neuron
    Models", sections 4.2 and 5.3. It is drawn by comparing the drive with a random number, so
    that this is a cell like any other and trains by its surrogate: on average over the numbers a
    spike's derivative is that of its probability, for which a surrogate stands in (Gygax & Zenke
    2025, "Elucidating the theoretical underpinnings of surrogate gradient learning in spiking
    neural networks").

    The numbers depend on ``seed``, the neuron, the sample and the step alone. Step and sample are
    part of the state (``step`` and ``lap``, and ``sample``, the place in the batch it began at), so pieces of
    a sequence fire as the whole does, on any number of threads and on every engine. For other
    numbers in the next batch, change ``cell.seed`` or hand on the state.

    Args:
        seed: of the random numbers.
        others: as for :class:`neuro.Cell`.

    >>> cell = SRM(1, rate=50.0, seed=3)
    >>> z, _ = cell(torch.zeros(20000, 1, 1))  # far from threshold: 50 Hz * exp(-1 / 0.2) = 0.34 Hz
    >>> 2 < int(z.sum()) < 14
    True
    """

    equations = Equations(
        "SRM",
        """
        di/dt = (r*x - i) / tau_syn
        dv/dt = (v_leak - v + i) / tau
        dh/dt = -h / tau_refractory
        g' = e
        step' = step + 1 - 1048576 * whole(step + 1, 1048576)
        lap' = lap + whole(step + 1, 1048576)
        sample' = sample
        spike when (v + h - v_threshold) / v_noise + log(rate) > g
        reset value: h = h - v_refractory
        """,
        {
            "tau": Parameter(20e-3, "s", positive=True, doc="time constant of the membrane"),
            "tau_syn": Parameter(5e-3, "s", positive=True, doc="time constant of the synapse"),
            "tau_refractory": Parameter(10e-3, "s", positive=True, doc="time constant of the hyperpolarisation"),
            "r": Parameter(1.0, "Ohm", doc="resistance"),
            "v_leak": Parameter(0.0, "V", doc="resting membrane"),
            "v_threshold": Parameter(1.0, "V", doc="membrane at which the rate of firing is ``rate``"),
            "v_noise": Parameter(0.2, "V", positive=True, doc="what multiplies the rate by e"),
            "v_refractory": Parameter(1.0, "V", doc="depth of the hyperpolarisation after a spike"),
            "rate": Parameter(100.0, "Hz", positive=True, doc="rate of firing at threshold"),
        },
        ("x", "e"),
    )
    learn_default = ("tau",)

    def __init__(self, size: int | tuple[int, ...], *, seed: int = 0, **options: Any) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise InputError(f"SRM seed must be a whole number, got {seed!r}")
        super().__init__(size, **options)
        self.seed = seed

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """At rest, step 0, samples numbered by their place: ``[batch, *size]`` each."""
        *rest, sample = super().initial_state(batch, device=device, dtype=dtype)
        number = torch.arange(batch, device=sample.device, dtype=sample.dtype)
        return (*rest, sample + number.view(-1, *(1 for _ in self.size)))

    def _inputs(self, flat: Tensor, before: Sequence[Tensor]) -> list[Tensor]:
        """The current and, for every step, the logarithm of the rate above which a spike comes in it."""
        step, lap, sample = (s.detach().long() for s in before[_STATES:])
        time = torch.arange(flat.shape[0], device=flat.device).view(-1, 1, 1) + lap * _LAP
        neuron = torch.arange(flat.shape[2], device=flat.device)
        uniform = counter_uniform(self.seed, sample, neuron, step + time)
        return [flat, torch.log(-torch.log(uniform) / self.dt).to(flat.dtype)]

    def definition(self) -> dict[str, Any]:
        """What rebuilds this cell but for its values, JSON-able."""
        return {**super().definition(), "seed": self.seed}

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> SRM:
        """The cell that :meth:`definition` describes, with the declared default values."""
        made = super().from_definition(definition)
        made.seed = definition["seed"]
        return made


STOCHASTIC: Mapping[str, type[Cell]] = MappingProxyType({"SRM": SRM})
"""The cells that fire at random, by name."""
