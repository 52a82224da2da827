"""A plant in discrete time, and a PID controller that minds its limits; both for many in one batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from neuro.errors import InputError

__all__ = ["BLIMP", "PID", "Plant", "closed_loop"]

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class Plant:
    """``y[t] = sum_i b_i u[t - i] - sum_i a_i y[t - i]``, i from 1: a transfer function with its delay of one step.

    Args:
        numerator: ``b_1, b_2, ...``.
        denominator: ``a_1, a_2, ...``, as many; ``a_0`` is 1.
        dt: seconds from step to step.

    Raises:
        InputError: coefficients of different numbers, or none; dt out of range.

    >>> plant = Plant((0.5,), (-0.5,), dt=0.1)
    >>> y, state = plant.step(torch.ones(1), plant.rest(1))
    >>> y, plant.step(torch.ones(1), state)[0]
    (tensor([0.5000]), tensor([0.7500]))
    """

    numerator: tuple[float, ...]
    denominator: tuple[float, ...]
    dt: float

    def __post_init__(self) -> None:
        if not self.numerator or len(self.numerator) != len(self.denominator) or not self.dt > 0:
            seen = f"{len(self.numerator)} and {len(self.denominator)}, {self.dt}"
            raise InputError(f"a plant needs as many coefficients below as above, and dt above 0 s, got {seen}")

    def rest(self, *shape: int) -> State:
        """Last outputs and inputs, zero, ``[order, *shape]`` each."""
        zeros = torch.zeros(len(self.numerator), *shape)
        return zeros, zeros

    def step(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """The output after a step with input ``u``, any shape, and what the next step needs."""
        outputs, inputs = state
        inputs = torch.cat([u.unsqueeze(0), inputs[:-1]])
        b, a = u.new_tensor(self.numerator), u.new_tensor(self.denominator)
        y = torch.tensordot(b, inputs, 1) - torch.tensordot(a, outputs, 1)
        return y, (torch.cat([y.unsqueeze(0), outputs[:-1]]), inputs)


BLIMP = Plant((-9.694e-4, 1.0188e-3), (-1.99029, 0.990312), dt=1 / 30)
"""Height of a small indoor blimp, in metres, against its motor command: the model of the 2021 predecessor of the paper
named in :mod:`neuro.evolution.controller`."""


@dataclass(frozen=True)
class PID:
    """``u = k_p e + k_i sum e dt + k_d de/dt``; the sum is held within ``windup``, the command within ``limit``.

    Args:
        proportional: k_p.
        integral: k_i, 1/s.
        derivative: k_d, s.
        dt: seconds from step to step.
        limit: of the command, both ways.
        windup: of ``sum e dt``, both ways.

    >>> pid = PID(2.0, 0.0, 0.0)
    >>> pid.step(torch.tensor([1.5]), pid.rest(1))[0]
    tensor([3.])
    """

    proportional: float = 4.3
    integral: float = 0.06
    derivative: float = 5.0
    dt: float = 1 / 30
    limit: float = 10.0
    windup: float = 20.0

    def rest(self, *shape: int) -> State:
        """The sum and the last error, zero (NaN: there is none), of that shape."""
        return torch.zeros(*shape), torch.full(shape, math.nan)

    def step(self, error: Tensor, state: State) -> tuple[Tensor, State]:
        """The command for an error of any shape, and what the next step needs."""
        total, last = state
        total = (total + error * self.dt).clamp(-self.windup, self.windup)
        change = torch.where(torch.isnan(last), 0, (error - last) / self.dt)
        u = self.proportional * error + self.integral * total + self.derivative * change
        return u.clamp(-self.limit, self.limit), (total, error)


@torch.no_grad()
def closed_loop(
    plant: Plant, controller: Callable[[Tensor, State], tuple[Tensor, State]], state: State, reference: Tensor
) -> tuple[Tensor, Tensor]:
    """A plant at rest follows a reference: the controller sees the error, the plant its command.

    Args:
        plant: the plant.
        controller: a step: error and state to command and state, both of the shape of ``reference[0]``.
        state: of the controller, at first.
        reference: ``[T, ...]``, in the plant's unit.

    Returns:
        Outputs and commands, ``[T, ...]``: ``outputs[t]`` is what the controller answers at t.

    >>> pid = PID()
    >>> heights, _ = closed_loop(BLIMP, pid.step, pid.rest(1), torch.full((1800, 1), 2.0))
    >>> bool(abs(heights[-1] - 2) < 0.1)
    True
    """
    within = plant.rest(*reference.shape[1:])
    y, outputs, commands = torch.zeros_like(reference[0]), [], []
    for wanted in reference:
        u, state = controller(wanted - y, state)
        outputs.append(y)
        commands.append(u)
        y, within = plant.step(u, within)
    return torch.stack(outputs), torch.stack(commands)
