"""Recordings that differ a little each time they are asked for, as augmentation of a training split."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from neuro.datasets.splits import FrameDataset
from neuro.errors import InputError
from neuro.kernels.events.frames import events_to_frames

__all__ = ["Jitter", "JitteredDataset"]


@dataclass(frozen=True)
class Jitter:
    """How a recording is changed: ``t -> t (1 + stretch)^u1 + shift u2`` and ``x -> x + round(columns u3)``.

    u1 and u3 are uniform in -1..1, u2 in 0..1. Each event is lost with probability ``drop``, and so is what leaves the sensor
    or the recording. For the bands of a cochlea x is pitch: moving it makes a longer or shorter vocal tract.

    Args:
        stretch: largest lengthening, 0.2 for 20 %; the largest shortening is its inverse.
        shift: largest delay in seconds.
        columns: largest move along x.
        drop: probability that an event is lost.

    Raises:
        InputError: a value that is negative or not finite, ``drop`` of 1 or more.

    >>> Jitter(stretch=0.2, columns=2)
    Jitter(stretch=0.2, shift=0.0, columns=2.0, drop=0.0)
    """

    stretch: float = 0.0
    shift: float = 0.0
    columns: float = 0.0
    drop: float = 0.0

    def __post_init__(self) -> None:
        for name in ("stretch", "shift", "columns", "drop"):
            value = float(getattr(self, name))
            if not (math.isfinite(value) and value >= 0 and (name != "drop" or value < 1)):
                limit = "below 1" if name == "drop" else "finite"
                raise InputError(f"jitter {name} must be at least 0 and {limit}, got {value}")
            object.__setattr__(self, name, value)

    def __call__(self, events: NDArray[np.void], width: int, duration: float) -> NDArray[np.void]:
        """Changed events ``[E']`` in the order of ``events`` ``[E]``; random numbers are torch's.

        Args:
            events: the recording; it stays as it is.
            width: of the sensor.
            duration: of the recording in seconds.
        """
        stretch, shift, columns = torch.rand(3, dtype=torch.float64).tolist()
        made = events.copy()
        scale = (1 + self.stretch) ** (2 * stretch - 1)
        made["t"] = np.rint(events["t"] * scale + 1e6 * self.shift * shift)
        x = events["x"].astype(np.int64) + round(self.columns * (2 * columns - 1))
        kept = (x >= 0) & (x < width) & (made["t"] < round(1e6 * duration))
        if self.drop:
            kept &= (torch.rand(len(events)) >= self.drop).numpy()
        made["x"] = np.where(kept, x, 0)
        left: NDArray[np.void] = made[kept]
        return left


@dataclass(frozen=True, eq=False)
class JitteredDataset(Dataset[tuple[Tensor, int]]):
    """A split whose samples are jittered anew each time: ``dataset[i]`` is (frames ``[T, P*H*W]``, label).

    Random numbers are those of torch's generator, which :func:`neuro.fit` seeds before each epoch. The split is
    read sample by sample, since nothing of it can be held.

    Args:
        base: the split, in layout ``"flat"`` or ``"frames"``.
        jitter: how its recordings are changed.
    """

    base: FrameDataset = field(repr=False)
    jitter: Jitter

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        base = self.base
        events = self.jitter(base.events(i), base.sensor_size[0], base.duration)
        frames, _ = events_to_frames(events, base.sensor_size, base.dt, base.duration, binary=True)
        return torch.from_numpy(frames.reshape(base.shape)).to(torch.float32), int(base.labels[i])
