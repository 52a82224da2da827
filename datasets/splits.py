"""Named parts of a data set, and recordings as the frames a network takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from neuro.errors import InputError, unknown_name
from neuro.kernels.events.frames import bin_count, events_to_frames

__all__ = [
    "FRACTIONS",
    "LAYOUTS",
    "EventSource",
    "FrameDataset",
    "Part",
    "Parts",
    "Splits",
    "check_frames",
    "collate",
    "describe",
    "stratified",
]

FRACTIONS: Mapping[str, float] = MappingProxyType({"train": 0.6, "validation": 0.2, "test": 0.2})
LAYOUTS = ("flat", "frames")


def check_frames(dt: float, duration: float, layout: str) -> None:
    """Refuse an unknown layout, and times that are not a positive whole number of microseconds.

    Raises:
        InputError: one of them cannot be used.
    """
    bin_count(dt, duration)
    if layout not in LAYOUTS:
        raise unknown_name("layout", layout, LAYOUTS)


class EventSource(Protocol):
    """Where recordings come from: :class:`~neuro.datasets.store.EventStore` or ``Recordings``."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers ``[S]``."""
        ...

    def events(self, i: int) -> NDArray[np.void]:
        """Events ``[E]`` of sample ``i``."""
        ...


class Part(Protocol):
    """What every part of a data set is: sized, and yields (frames ``[T, ...]``, label)."""

    @property
    def sensor_size(self) -> tuple[int, int, int]:
        """(width, height, polarities)."""
        ...

    @property
    def dt(self) -> float:
        """Width of a time bin in seconds."""
        ...

    @property
    def steps(self) -> int:
        """Number of time bins T."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's frames, time first."""
        ...

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers ``[S]``."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory that ``tensors()`` takes."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> tuple[Tensor, int]: ...

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Frames ``[T, S, ...]`` and labels ``[S]``."""
        ...


@dataclass(frozen=True, eq=False)
class FrameDataset(Dataset[tuple[Tensor, int]]):
    """Recordings of one split, binned when they are asked for.

    ``dataset[i]`` is ``(frames, label)``. Frames are float32, time first: ``[T, P*H*W]`` in layout ``"flat"``
    (index ``(p*H + y)*W + x``), ``[T, P, H, W]`` in layout ``"frames"``; 1 where a bin holds an event, 0 elsewhere.

    Args:
        source: the recordings.
        indices: numbers of the recordings that belong to this split, ``[S]``.
        sensor_size: (width, height, polarities).
        dt: bin width in seconds.
        duration: length of each recording in seconds; there are ``ceil(duration / dt)`` bins.
        layout: ``"flat"`` for dense layers, ``"frames"`` for convolutions.
    """

    source: EventSource = field(repr=False)
    indices: NDArray[np.int64] = field(repr=False)
    sensor_size: tuple[int, int, int]
    dt: float
    duration: float
    layout: str = "flat"

    def __post_init__(self) -> None:
        check_frames(self.dt, self.duration, self.layout)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self._bits(i)).to(torch.float32), int(self.source.labels[self.indices[i]])

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers ``[S]`` of this split."""
        return self.source.labels[self.indices]

    @property
    def steps(self) -> int:
        """Number of time bins T."""
        return bin_count(self.dt, self.duration)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's frames, time first."""
        width, height, polarities = self.sensor_size
        frame = (polarities, height, width)
        return (self.steps, *(frame if self.layout == "frames" else (math.prod(frame),)))

    @property
    def nbytes(self) -> int:
        """Memory that the frames of all samples take as float32."""
        return 4 * math.prod(self.shape) * len(self)

    def events(self, i: int) -> NDArray[np.void]:
        """Events of sample ``i`` of this split (fields t in microseconds, x, y, p)."""
        return self.source.events(int(self.indices[i]))

    def tensors(
        self, samples: Sequence[int] | None = None, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Frames of many samples at once.

        Args:
            samples: which of this split's samples; all by default.
            dtype: of the frames; ``torch.uint8`` takes a quarter of the memory.

        Returns:
            Frames ``[T, S, ...]`` and labels ``[S]`` int64.
        """
        chosen = range(len(self)) if samples is None else samples
        x = torch.empty((self.steps, len(chosen), *self.shape[1:]), dtype=dtype)
        for column, i in enumerate(chosen):
            x[:, column] = torch.from_numpy(self._bits(i))
        return x, torch.from_numpy(self.labels[np.asarray(chosen, np.int64)])

    def _bits(self, i: int) -> NDArray[np.uint8]:
        frames, late = events_to_frames(self.events(i), self.sensor_size, self.dt, self.duration, binary=True)
        if late:
            raise InputError(f"sample {i}: {late} events at or after the duration {self.duration} s; give a longer one")
        return frames.reshape(self.shape)


P_co = TypeVar("P_co", bound=Part, covariant=True)


@dataclass(frozen=True, eq=False)
class Parts(Generic[P_co]):
    """A data set in its three fixed parts.

    Attributes:
        name: of the data set.
        train: what the weights learn from.
        validation: what chooses the model.
        test: what is looked at once.
        classes: name of each class.
        sensor_size: (width, height, polarities).
        dt: bin width in seconds.
        description: sizes, split and class counts, for people.
        split: how the parts were made, in words.
    """

    name: str
    train: P_co
    validation: P_co
    test: P_co
    classes: tuple[str, ...]
    sensor_size: tuple[int, int, int]
    dt: float
    description: str
    split: str = ""

    def __str__(self) -> str:
        return self.description


@dataclass(frozen=True, eq=False)
class Splits(Parts[FrameDataset]):
    """A data set of recordings in its three fixed parts."""


def stratified(
    labels: NDArray[np.int64], seed: int, fractions: Mapping[str, float] = FRACTIONS
) -> dict[str, NDArray[np.int64]]:
    """Part the samples so that every class is parted in the same proportions.

    Args:
        labels: class numbers ``[S]``.
        seed: of the shuffle.
        fractions: share of each part; they add up to 1.

    Returns:
        Sample numbers of each part, ascending; each sample is in exactly one.

    >>> parts = stratified(np.array([0] * 10 + [1] * 5), seed=0)
    >>> {name: len(numbers) for name, numbers in parts.items()}
    {'train': 9, 'validation': 3, 'test': 3}
    """
    if not math.isclose(sum(fractions.values()), 1.0) or min(fractions.values()) < 0:
        raise InputError(f"fractions must be positive and add up to 1, got {dict(fractions)}")
    generator = np.random.default_rng(seed)
    ends = np.cumsum(list(fractions.values()))
    parts: dict[str, list[NDArray[np.int64]]] = {name: [] for name in fractions}
    for number in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == number))
        cuts = np.rint(ends[:-1] * len(members)).astype(np.int64)
        for name, part in zip(fractions, np.split(members, cuts), strict=True):
            parts[name].append(part)
    return {name: np.sort(np.concatenate([*chosen, np.empty(0, np.int64)])) for name, chosen in parts.items()}


def describe(
    name: str, parts: Mapping[str, Part], classes: Sequence[str], split: str, samples: str = "recordings"
) -> str:
    """A data set in words: size of each part, how it was ``split``, number of ``samples`` of each class."""
    first = next(iter(parts.values()))
    lines = [f"{name}: {sum(map(len, parts.values()))} {samples}, {split}"]
    lines[0] += f", {first.steps} bins of {first.dt * 1e3:g} ms, frames {list(first.shape)}"
    lines.append(f"{'class':>12} " + " ".join(f"{c:>5}" for c in classes) + "   all")
    for part, dataset in parts.items():
        counts = np.bincount(dataset.labels, minlength=len(classes))
        lines.append(f"{part:>12} " + " ".join(f"{c:>5}" for c in counts) + f" {len(dataset):>5}")
    return "\n".join(lines)


def collate(batch: Sequence[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    """Samples to one batch, time first: the ``collate_fn`` for a ``DataLoader`` over a :class:`FrameDataset`.

    Returns:
        Frames ``[T, B, ...]`` and labels ``[B]`` int64.

    >>> x, y = collate([(torch.zeros(7, 3), 4), (torch.ones(7, 3), 1)])
    >>> x.shape, y
    (torch.Size([7, 2, 3]), tensor([4, 1]))
    """
    return torch.stack([frames for frames, _ in batch], dim=1), torch.tensor([label for _, label in batch])
