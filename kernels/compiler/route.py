"""Which edges of the network unrolled in time a learning rule keeps."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Route"]


@dataclass(frozen=True)
class Route:
    """The edges of a cell's unrolled graph that backward ignores.

    A property of the rule, never of the neuron: the same cell runs under every route.

    Args:
        cut_time: ignore the edge from each state to the next step's (SLTT; Meng et al.
            2023, "Towards memory- and time-efficient backpropagation for training SNNs").
        cut_reset: ignore the edge from a spike to the reset it causes.
        cut_recurrence: ignore the edge from a spike through recurrent synapses to later
            currents (what e-prop cuts; Bellec et al. 2020, "A solution to the learning dilemma
            for recurrent networks of spiking neurons"). The synapses still learn.

    >>> Route(cut_time=True)
    Route(cut_time=True, cut_reset=True, cut_recurrence=False)
    """

    cut_time: bool = False
    cut_reset: bool = True
    cut_recurrence: bool = False
