"""Recordings that differ a little each time they are asked for, as augmentation of a training split."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """How a recording is changed: ``t -> t (1 + stretch)^u1 + shift u2``, ``x -> x + round(columns u3)``.

    y moves as x does, by ``round(rows u4)``. u1, u3 and u4 are uniform in -1..1, u2 in 0..1. Each event is lost with probability ``drop``, and so is what leaves the sensor
    or the recording. For the bands of a cochlea x is pitch: moving it makes a longer or shorter vocal tract.

    Args:
        stretch: largest lengthening, 0.2 for 20 %; the largest shortening is its inverse.
        shift: largest delay in seconds.
        columns: largest move along x.
        drop: probability that an event is lost.
        rows: largest move along y.

    Raises:
        InputError: a value that is negative or not finite, ``drop`` of 1 or more.

    >>> Jitter(stretch=0.2, columns=2)
    Jitter(stretch=0.2, shift=0.0, columns=2.0, drop=0.0, rows=0.0)
    """

    stretch: float = 0.0
    shift: float = 0.0
    columns: float = 0.0
    drop: float = 0.0
    rows: float = 0.0

    def __post_init__(self) -> None:
        for name in ("stretch", "shift", "columns", "rows", "drop"):
            value = float(getattr(self, name))
            if not (math.isfinite(value) and value >= 0 and (name != "drop" or value < 1)):
                limit = "below 1" if name == "drop" else "finite"
                raise InputError(f"jitter {name} must be at least 0 and {limit}, got {value}")
            object.__setattr__(self, name, value)

    def __call__(self, events: NDArray[np.void], size: Sequence[int], duration: float) -> NDArray[np.void]:
        """Changed events ``[E']`` in the order of ``events`` ``[E]``; random numbers are torch's.

        Args:
            events: the recording; it stays as it is.
            size: (width, height) of the sensor; what follows them is not read.
            duration: of the recording in seconds.
        """
        stretch, shift, columns = torch.rand(3, dtype=torch.float64).tolist()
        made = events.copy()
        scale = (1 + self.stretch) ** (2 * stretch - 1)
        made["t"] = np.rint(events["t"] * scale + 1e6 * self.shift * shift)
        x = events["x"].astype(np.int64) + round(self.columns * (2 * columns - 1))
        y = events["y"].astype(np.int64)
        if self.rows:  # only then, so that what is moved along x alone takes the same random numbers as ever
            y += round(self.rows * (2 * float(torch.rand((), dtype=torch.float64)) - 1))
        kept = (x >= 0) & (x < size[0]) & (y >= 0) & (y < size[1]) & (made["t"] < round(1e6 * duration))
        if self.drop:
            kept &= (torch.rand(len(events)) >= self.drop).numpy()
        made["x"], made["y"] = np.where(kept, x, 0), np.where(kept, y, 0)
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

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's frames, time first."""
        return self.base.shape

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        base = self.base
        events = self.jitter(base.events(i), base.sensor_size, base.duration)
        frames, _ = events_to_frames(events, base.sensor_size, base.dt, base.duration, binary=True)
        return torch.from_numpy(frames.reshape(base.shape)).to(torch.float32), int(base.labels[i])
