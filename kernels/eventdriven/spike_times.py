"""Spikes of a batch as a list of times, and to and from the grid of time steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neuro.errors import InputError

__all__ = ["SpikeTimes", "first_times", "from_grid", "to_grid"]

_SLACK = 1e-9  # of a step: what rounding may add to a time that stands for a whole step


@dataclass(frozen=True, eq=False)
class SpikeTimes:
    """The S spikes of a batch of B samples, sample by sample, in the order of time within each.

    Args:
        time: ``[S]`` float64, seconds from 0 on.
        neuron: ``[S]`` int32.
        start: ``[B + 1]`` int64, where each sample begins.
        count: ``[S]`` float64, one each. What a spike counts for; it carries gradients of spike counts
            (:func:`neuro.kernels.eventdriven.spiking_layer.spiking_layer` says which).
        neurons: N, the size of the population.

    Raises:
        InputError: arrays that do not fit together, times out of order, negative or not finite, a neuron out of range.
    """

    time: Tensor
    neuron: Tensor
    start: Tensor
    count: Tensor
    neurons: int

    def __post_init__(self) -> None:
        """Check what was given; the loops index with it unchecked."""
        if torch.compiler.is_compiling():
            return
        kinds = (("time", self.time, torch.float64), ("neuron", self.neuron, torch.int32))
        for name, tensor, dtype in (*kinds, ("start", self.start, torch.int64), ("count", self.count, torch.float64)):
            if tensor.dtype != dtype or tensor.dim() != 1 or tensor.device.type != "cpu":
                raise InputError(f"{name} must be 1-d {dtype} on the CPU, got {tensor.dtype} {list(tensor.shape)}")
        spikes = self.time.numel()
        if not spikes == self.neuron.numel() == self.count.numel():
            raise InputError(f"time, neuron and count must be [S], got {spikes}, {self.neuron.numel()} and others")
        start = self.start.numpy()
        if not start.size or start[0] != 0 or start[-1] != spikes or (np.diff(start) < 0).any():
            raise InputError(f"start must rise from 0 to S = {spikes}, got {start[:5].tolist()}...")
        if spikes:
            self._check_spikes(start)

    def _check_spikes(self, start: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        time, neuron = self.time.detach().numpy(), self.neuron.numpy()
        fresh = np.zeros(time.size + 1, dtype=bool)
        fresh[start] = True
        if not (np.isfinite(time).all() and time.min() >= 0):
            raise InputError("times must be finite numbers of seconds from 0 on")
        if not (fresh[1:-1] | (np.diff(time) >= 0)).all():
            raise InputError("times must not fall within a sample; sort them")
        if not 0 <= neuron.min() <= neuron.max() < self.neurons:
            raise InputError(f"neuron must be in 0..{self.neurons - 1}, got {neuron.min()}..{neuron.max()}")

    @property
    def batch(self) -> int:
        """Number of samples."""
        return self.start.numel() - 1

    @property
    def sample(self) -> Tensor:
        """The sample of each spike, ``[S]`` int64."""
        return torch.repeat_interleave(torch.arange(self.batch), self.start.diff())


def from_grid(x: Tensor, dt: float) -> SpikeTimes:
    """Spikes ``x [T, B, N]`` of 0 and 1, those of step k at ``k dt`` seconds.

    Raises:
        InputError: another shape, dtype or device; an entry that is neither 0 nor 1.

    >>> from_grid(torch.tensor([0.0, 1.0]).view(2, 1, 1), dt=0.5).time.tolist()
    [0.5]
    """
    if x.dim() != 3 or x.dtype not in (torch.float32, torch.float64) or x.device.type != "cpu":
        raise InputError(f"x must be [T, B, N] float32 or float64 on the CPU, got {list(x.shape)} {x.dtype}")
    from neuro.kernels.eventdriven.spike_times_numba import by_sample, list_spikes

    steps, batch, neurons = x.shape
    rows = x.detach().reshape(steps * batch, neurons).contiguous()
    first = np.zeros(steps * batch + 1, np.int64)
    index = list_spikes(rows.numpy(), first)
    if index is None:
        raise InputError("x must be 0 or 1 everywhere: a spike has a time but no size; use BPTT for graded input")
    start = torch.zeros(batch + 1, dtype=torch.int64)
    np.cumsum(np.diff(first).reshape(steps, batch).sum(0), out=start.numpy()[1:])
    time, neuron = torch.empty(index.size, dtype=torch.float64), torch.empty(index.size, dtype=torch.int32)
    by_sample(first, index, batch, dt, start.numpy(), time.numpy(), neuron.numpy())
    return SpikeTimes(time, neuron, start, torch.ones_like(time), neurons)


def to_grid(spikes: SpikeTimes, steps: int, dt: float, dtype: torch.dtype) -> Tensor:
    """How often each neuron spiked in each step, ``[T, B, N]``; differentiable in ``count``.

    Step k holds the spikes from ``k dt`` to before ``(k + 1) dt``, dt in seconds.

    >>> to_grid(from_grid(torch.tensor([0.0, 1.0]).view(2, 1, 1), dt=0.5), 2, 0.5, torch.float32).flatten().tolist()
    [0.0, 1.0]
    """
    step = torch.floor(spikes.time.detach() / dt + _SLACK).long().clamp_(0, max(0, steps - 1))
    place = (step * spikes.batch + spikes.sample) * spikes.neurons + spikes.neuron
    made = spikes.count.new_zeros(steps * spikes.batch * spikes.neurons).index_add(0, place, spikes.count)
    return made.view(steps, spikes.batch, spikes.neurons).to(dtype)


def first_times(spikes: SpikeTimes, end: float) -> Tensor:
    """When each neuron first spiked, ``[B, N]`` float64 seconds, ``end`` where it never did; differentiable in ``time``.

    >>> first_times(from_grid(torch.tensor([[0.0, 1.0], [0.0, 1.0]]).view(2, 1, 2), dt=0.5), 9.0).tolist()
    [[9.0, 0.0]]
    """
    place, first = np.unique((spikes.sample * spikes.neurons + spikes.neuron).numpy(), return_index=True)
    made = spikes.time.new_full((spikes.batch * spikes.neurons,), end)
    return made.index_put((torch.from_numpy(place),), spikes.time[first]).view(spikes.batch, spikes.neurons)
