"""Spiking controllers whose numbers are evolved: many in one batch, after a PID controller or in a closed loop.

Burgers, Stroobants and de Croon 2023, "Evolving spiking neural networks to mimic PID control for autonomous blimps", evolve
LIF networks towards the output of a PID controller. Here too: fitness is ``MSE / var + (1 - Pearson)`` of the command.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from neuro.errors import InputError
from neuro.layer import State
from neuro.neurons import LI, LIF

__all__ = ["SpikingController", "mimicry"]

_GENES = 5  # of a pair: log tau, gain, bias, log tau of its trace, weight
_FASTEST, _SLOWEST, _LONGEST = 0.01, 1.0, 60.0  # seconds: membranes between the first two, traces up to the last


class SpikingController(nn.Module):
    """Controllers of ``pairs`` opposed LIF neurons, the command a weighted sum of their synaptic traces.

    A neuron and its opposite get the currents ``g e + b`` and ``-g e + b`` of the error e, and their traces count with
    ``w`` and ``-w``: whatever the genes, the controller answers opposite errors oppositely. Neurons with short traces make
    the proportional and, in pairs of different delays, the derivative part; traces of up to a minute the integral.
    Neurons of all controllers are one population; of all the genes of a controller, five for each pair, zero is the middle.

    Args:
        genomes: one row for each controller, ``[P, 5 * pairs]``.
        dt: seconds of a step of the controller.
        substeps: steps of the neurons in one of the controller.
        scale: command of a pair that always spikes, weight 1.
        limit: of the command, both ways.

    Raises:
        InputError: genomes of another shape; a number out of range.

    >>> controllers = SpikingController(torch.zeros(8, 20), dt=1 / 30)
    >>> u, state = controllers(torch.ones(6, 2))
    >>> u.shape
    torch.Size([6, 2, 8])
    """

    def __init__(
        self, genomes: Tensor, *, dt: float, substeps: int = 2, scale: float = 20.0, limit: float = 10.0
    ) -> None:
        super().__init__()
        if genomes.dim() != 2 or not genomes.numel() or genomes.shape[1] % _GENES:
            raise InputError(f"genomes must be [P, 5 * pairs], got {list(genomes.shape)}")
        if substeps < 1 or not (dt > 0 and scale > 0 and limit > 0):
            seen = f"{substeps}, {dt}, {scale} and {limit}"
            raise InputError(f"substeps must be at least 1, dt (s), scale and limit above 0, got {seen}")
        self.controllers, self.pairs = genomes.shape[0], genomes.shape[1] // _GENES
        self.dt, self.substeps, self.scale, self.limit = dt, substeps, scale, limit
        genes = genomes.detach().float().view(self.controllers, self.pairs, _GENES)
        fine = dt / substeps
        tau = _between(genes[..., 0], max(_FASTEST, 1.01 * fine), _SLOWEST)
        trace = _between(genes[..., 3], max(_FASTEST, 1.01 * fine), _LONGEST)
        self.gain: Tensor
        self.register_buffer("gain", _opposed(2 * genes[..., 1], -1))
        self.bias: Tensor
        self.register_buffer("bias", _opposed(1 + genes[..., 2], 1))
        self.weight: Tensor
        self.register_buffer("weight", _opposed(scale * genes[..., 4], -1))
        size = self.gain.numel()
        self.neurons = LIF(size, dt=fine, tau=_opposed(tau, 1).flatten(), reset="subtract", learn=())
        self.traces = LI(size, dt=fine, tau=_opposed(trace, 1).flatten(), learn=())

    def rest(self, batch: int) -> State:
        """State before the first step: membranes and traces, ``[B, neurons]`` of all controllers."""
        return (*self.neurons.initial_state(batch), *self.traces.initial_state(batch))

    @torch.no_grad()
    def forward(self, error: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Commands ``[T, B, P]`` for errors ``[T, B]`` that all controllers see, or ``[T, B, P]``, each its own.

        Raises:
            InputError: errors of another shape.
        """
        own = error.unsqueeze(2) if error.dim() == 2 else error
        if own.dim() != 3 or own.shape[2] not in (1, self.controllers):
            raise InputError(f"error must be [T, B] or [T, B, {self.controllers}], got {list(error.shape)}")
        time, batch, _ = own.shape
        v, y = (self.rest(batch) if state is None else state)[:2]
        current = (own.unsqueeze(3) * self.gain + self.bias).flatten(2)  # [T, B, neurons]
        spikes, (v,) = self.neurons(current.repeat_interleave(self.substeps, 0), (v,))
        traced, (y,) = self.traces(spikes, (y,))
        seen = traced[self.substeps - 1 :: self.substeps].view(time, batch, self.controllers, -1)
        command = torch.einsum("tbpn,pn->tbp", seen, self.weight)
        return command.clamp(-self.limit, self.limit), (v, y)

    def step(self, error: Tensor, state: State) -> tuple[Tensor, State]:
        """Commands ``[B, P]`` for errors ``[B, P]``, as :func:`neuro.evolution.closed_loop` wants it."""
        u, after = self(error.unsqueeze(0), state)
        return u[0], after


def _between(gene: Tensor, low: float, high: float) -> Tensor:
    """A time constant between two, in seconds, equal steps of the gene for equal factors about the middle."""
    return low * torch.exp(math.log(high / low) * torch.sigmoid(gene))


def _opposed(values: Tensor, sign: int) -> Tensor:
    """``[P, pairs]`` -> ``[P, 2 * pairs]``: of the neurons, then of their opposites."""
    return torch.cat([values, sign * values], 1)


def mimicry(command: Tensor, target: Tensor) -> Tensor:
    """How far commands are from those of a model, each controller by itself: ``MSE / var + (1 - Pearson)``.

    Args:
        command: ``[T, B, P]``.
        target: ``[T, B]``.

    Returns:
        ``[P]``; 0 is the same, 2 silence.

    Raises:
        InputError: shapes that do not fit; a target that is constant.

    >>> wanted = torch.linspace(-1, 1, 9).unsqueeze(1)
    >>> mimicry(torch.stack([wanted, 0 * wanted], 2), wanted).round(decimals=4).abs().tolist()
    [0.0, 2.0]
    """
    if command.dim() != 3 or command.shape[:2] != target.shape:
        raise InputError(
            f"command and target must be [T, B, P] and [T, B], got {list(command.shape)}, {list(target.shape)}"
        )
    wanted = target.flatten().unsqueeze(1)
    made = command.flatten(0, 1)
    variance = wanted.var(correction=0)
    if not float(variance) > 0:
        raise InputError("target must vary, got a constant")
    centred, goal = made - made.mean(0), wanted - wanted.mean()
    deviation = centred.square().mean(0).sqrt()
    pearson = (centred * goal).mean(0) / (deviation * variance.sqrt()).clamp_min(1e-12)
    return (made - wanted).square().mean(0) / variance + 1 - pearson
