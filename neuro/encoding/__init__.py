"""Values as spikes and back: encoders, their inverses, and readouts of what a network gives.

All are functions: an encoder has no parameter to train and no state to carry, and what it draws is fixed by its
seed, so there is nothing for a module to hold. Time is first.
"""

from neuro.encoding.decoders import (
    delta_value,
    first_spike_time,
    latency_value,
    phase_value,
    population_vector,
    rc_latency_value,
    spike_rate,
)
from neuro.encoding.encoders import bernoulli, delta, latency, phase, poisson, rc_latency, receptive_fields, repeat
from neuro.encoding.readouts import (
    first_spike,
    last_membrane,
    max_membrane,
    mean_membrane,
    softmax_sum,
    spike_count,
)

__all__ = [
    "bernoulli",
    "delta",
    "delta_value",
    "first_spike",
    "first_spike_time",
    "last_membrane",
    "latency",
    "latency_value",
    "max_membrane",
    "mean_membrane",
    "phase",
    "phase_value",
    "poisson",
    "population_vector",
    "rc_latency",
    "rc_latency_value",
    "receptive_fields",
    "repeat",
    "softmax_sum",
    "spike_count",
    "spike_rate",
]
