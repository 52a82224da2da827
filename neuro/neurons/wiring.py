"""Who is connected to whom in a liquid network: everyone, or the four layers of a neural circuit policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name

__all__ = ["NCP", "WIRINGS", "AutoNCP", "FullyConnected", "Wiring", "wiring_of"]

Random = np.random.Generator


class Wiring:
    """Base of all wirings: ``units`` neurons, the first ``motor`` of which are read.

    >>> FullyConnected(3).internal().shape
    torch.Size([3, 3])
    """

    units: int
    motor: int

    def internal(self) -> Tensor:
        """Polarity of the synapses between neurons, ``[N, N]`` (pre, post): +1, -1, or 0 for none."""
        raise NotImplementedError

    def sensory(self, inputs: int) -> Tensor:
        """Polarity of the synapses from inputs, ``[inputs, N]``."""
        raise NotImplementedError

    def definition(self) -> dict[str, Any]:
        """What rebuilds this wiring, JSON-able; :func:`wiring_of` is its inverse."""
        return {"type": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True)
class FullyConnected(Wiring):
    """Every input and every neuron reaches every neuron; two thirds of the synapses excite.

    Args:
        units: number of neurons.
        motor: how many of them are read; all unless given.
        seed: of the polarities.
    """

    units: int
    motor: int = -1
    seed: int = 22222

    def __post_init__(self) -> None:
        """Check the sizes."""
        _at_least("units", self.units, 1)
        if self.motor == -1:
            object.__setattr__(self, "motor", self.units)
        if not 1 <= self.motor <= self.units:
            raise InputError(f"motor must be in 1..{self.units}, the number of units, got {self.motor}")

    def internal(self) -> Tensor:
        """As in :meth:`Wiring.internal`: no zero in it, ``[N, N]``."""
        return self._polarities(self.units, 0)

    def sensory(self, inputs: int) -> Tensor:
        """As in :meth:`Wiring.sensory`: no zero in it, ``[inputs, N]``."""
        return self._polarities(inputs, 1)

    def _polarities(self, pre: int, stream: int) -> Tensor:
        random = np.random.default_rng((self.seed, stream))
        return torch.from_numpy(np.where(random.random((pre, self.units)) < 2 / 3, 1, -1))


@dataclass(frozen=True)
class NCP(Wiring):
    """Neural circuit policy: inputs -> inter neurons -> command neurons (recurrent) -> motor neurons.

    Neurons are numbered motor, command, inter. Each source reaches exactly its fan-out of targets; a target that
    no source chose gets as many synapses as the others have on average. Polarities are +1 or -1 with equal chance.

    Args:
        inter: number of inter neurons.
        command: number of command neurons.
        motor: number of motor neurons, which are the output.
        sensory_fanout: inter neurons that each input reaches.
        inter_fanout: command neurons that each inter neuron reaches.
        recurrent_command_synapses: synapses between command neurons, drawn with replacement.
        motor_fanin: command neurons that each motor neuron hears.
        seed: of the draws.

    Raises:
        InputError: a layer without neurons, a fan that is larger than the layer it goes to.

    Source: Lechner et al. 2020, "Neural circuit policies enabling auditable autonomy", methods.

    >>> wiring = NCP(inter=4, command=3, motor=2, sensory_fanout=2, inter_fanout=2,
    ...              recurrent_command_synapses=3, motor_fanin=2)
    >>> wiring.units, wiring.sensory(5).shape
    (9, torch.Size([5, 9]))
    """

    inter: int
    command: int
    motor: int
    sensory_fanout: int
    inter_fanout: int
    recurrent_command_synapses: int
    motor_fanin: int
    seed: int = 22222

    def __post_init__(self) -> None:
        """Check that every layer has neurons and every fan fits the layer it goes to."""
        for name in ("inter", "command", "motor"):
            _at_least(name, getattr(self, name), 1)
        _at_least("recurrent_command_synapses", self.recurrent_command_synapses, 0)
        limits = (("sensory_fanout", self.inter), ("inter_fanout", self.command), ("motor_fanin", self.command))
        for name, limit in limits:
            if not 1 <= getattr(self, name) <= limit:
                raise InputError(f"{name} must be in 1..{limit}, the size of its layer, got {getattr(self, name)}")

    @property
    def units(self) -> int:  # type: ignore[override]
        """Number of neurons."""
        return self.motor + self.command + self.inter

    def internal(self) -> Tensor:
        """As in :meth:`Wiring.internal`, ``[N, N]``."""
        random = np.random.default_rng((self.seed, 0))
        command, first_inter = self.motor, self.motor + self.command
        made = np.zeros((self.units, self.units), np.int64)
        made[first_inter:, command:first_inter] = _spread(random, self.inter, self.command, self.inter_fanout)
        for _ in range(self.recurrent_command_synapses):
            pre, post = random.integers(self.command, size=2) + command
            made[pre, post] = random.choice((-1, 1))
        # Seen from the motor neurons: each hears motor_fanin commands, and a command nobody hears finds a listener.
        made[command:first_inter, : self.motor] = _spread(random, self.motor, self.command, self.motor_fanin).T
        return torch.from_numpy(made)

    def sensory(self, inputs: int) -> Tensor:
        """As in :meth:`Wiring.sensory`, ``[inputs, N]``."""
        made = np.zeros((inputs, self.units), np.int64)
        random = np.random.default_rng((self.seed, 1))
        made[:, self.motor + self.command :] = _spread(random, inputs, self.inter, self.sensory_fanout)
        return torch.from_numpy(made)


def _spread(random: Random, sources: int, targets: int, fan: int) -> np.ndarray[Any, Any]:
    """``[sources, targets]``: ``fan`` targets of each source; targets left out get the average number of sources."""
    made = np.zeros((sources, targets), np.int64)
    for row in made:
        row[random.choice(targets, fan, replace=False)] = random.choice((-1, 1), fan)
    average = min(sources, max(1, sources * fan // targets))
    for target in np.flatnonzero(~made.any(0)):
        made[random.choice(sources, average, replace=False), target] = random.choice((-1, 1), average)
    return made


def AutoNCP(units: int, motor: int, *, sparsity: float = 0.5, seed: int = 22222) -> NCP:
    """A neural circuit policy of ``units`` neurons, its layers and fans chosen by its size.

    Of what the motor neurons leave, 40 % are command and 60 % inter neurons; each fan is the share
    ``1 - sparsity`` of the layer it goes to.

    Args:
        units: number of neurons.
        motor: number of motor neurons, the output.
        sparsity: share of possible synapses left out, in [0.1, 0.9].
        seed: of the draws.

    Raises:
        InputError: too few units for the motor neurons, a sparsity out of range.

    >>> AutoNCP(28, 4).inter, AutoNCP(28, 4).command
    (15, 9)
    """
    _at_least("motor", motor, 1)
    _at_least(f"units, with {motor} motor neurons,", units, motor + 3)
    if not 0.1 <= sparsity <= 0.9:
        raise InputError(f"sparsity must be in [0.1, 0.9], got {sparsity}")
    density = 1 - sparsity
    command = max(1, int(0.4 * (units - motor)))
    inter = units - motor - command
    return NCP(
        inter,
        command,
        motor,
        sensory_fanout=max(1, int(inter * density)),
        inter_fanout=max(1, int(command * density)),
        recurrent_command_synapses=max(1, int(2 * command * density)),
        motor_fanin=max(1, int(command * density)),
        seed=seed,
    )


def _at_least(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or value < least:
        raise InputError(f"{name} must be an integer from {least} on, got {value!r}")


WIRINGS: Mapping[str, type[Wiring]] = MappingProxyType({c.__name__: c for c in (FullyConnected, NCP)})
"""Wirings by name."""


def wiring_of(definition: Mapping[str, Any]) -> Wiring:
    """The wiring that :meth:`Wiring.definition` describes.

    Raises:
        InputError: a wiring of another name.
    """
    kind = definition["type"]
    if kind not in WIRINGS:
        raise unknown_name("wiring", kind, WIRINGS)
    return WIRINGS[kind](**{k: v for k, v in definition.items() if k != "type"})
