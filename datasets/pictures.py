"""Handwritten digits as pictures: MNIST, each shown as a constant current.

70,000 pictures of 28 x 28 pixels (LeCun, Bottou, Bengio & Haffner 1998). Nothing is downloaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from neuro.datasets.idx import read_idx
from neuro.datasets.splits import LAYOUTS, Parts, describe
from neuro.errors import FileFormatError, InputError, unknown_name

__all__ = ["Pictures", "mnist"]

CLASSES = tuple("0123456789")
SIDE = 28
HELD_OUT = 5000
"""Training pictures that choose the model, of 60,000."""


@dataclass(frozen=True, eq=False)
class Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures of one split, each a current that is the same in all ``steps`` time steps.

    ``dataset[i]`` is ``(frames, label)``; frames are views of the picture, float32, time first: ``[T, H*W]`` in layout ``"flat"``,
    ``[T, 1, H, W]`` in layout ``"frames"``.

    Args:
        pictures: ``[S, H*W]`` or ``[S, 1, H, W]``, from 0 (black) to 1.
        numbers: class numbers ``[S]`` int64.
        sensor_size: (width, height, 1).
        dt: of a step in seconds.
        steps: for which a picture is shown.
    """

    pictures: Tensor = field(repr=False)
    numbers: Tensor = field(repr=False)
    sensor_size: tuple[int, int, int]
    dt: float
    steps: int

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        picture = self.pictures[i]
        return picture.expand(self.steps, *picture.shape), int(self.numbers[i])

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers ``[S]`` of this split."""
        found: NDArray[np.int64] = self.numbers.numpy()
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's frames, time first."""
        return (self.steps, *self.pictures.shape[1:])

    @property
    def nbytes(self) -> int:
        """Memory that all pictures take, once and not for every step."""
        return self.pictures.nbytes

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Frames ``[T, S, ...]``, a view of the pictures without a copy for each step, and labels ``[S]`` int64."""
        return self.pictures.expand(self.steps, *self.pictures.shape), self.numbers


def mnist(
    source: str | Path, *, steps: int = 10, dt: float = 1e-3, layout: str = "flat", seed: int = 0
) -> Parts[Pictures]:
    """MNIST, its pictures shown as constant currents from 0 to 1.

    MNIST has no validation split; 5,000 of the 60,000 training pictures, the last of a shuffle by ``seed``, are kept from
    training and choose the model. The test split is that of MNIST.

    Args:
        source: folder of the four idx files (``train-images-idx3-ubyte.gz`` and so on, or without ``.gz``).
        steps: time steps for which each picture is shown.
        dt: of a step in seconds.
        layout: ``"flat"`` for frames ``[T, 784]``, ``"frames"`` for ``[T, 1, 28, 28]``.
        seed: of the shuffle that parts training and validation.

    Raises:
        InputError: a parameter out of range, a file that is not there.
        FileFormatError: a truncated or damaged file, or files that do not belong together.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InputError(f"steps must be a whole number from 1, got {steps!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed must be a whole number from 0, got {seed!r}")
    if not (math.isfinite(dt) and dt > 0):
        raise InputError(f"dt must be a positive number of seconds, got {dt!r}")
    if layout not in LAYOUTS:
        raise unknown_name("layout", layout, LAYOUTS)
    (pictures, numbers), (unseen, truth) = (_read(Path(source), name, layout) for name in ("train", "t10k"))
    if len(numbers) <= HELD_OUT:
        raise InputError(f"{source} holds {len(numbers)} training pictures; {HELD_OUT} of them choose the model")
    order = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(seed))
    kept, held = order[:-HELD_OUT], order[-HELD_OUT:]
    size = (SIDE, SIDE, 1)
    parts = {
        "train": Pictures(pictures[kept], numbers[kept], size, dt, steps),
        "validation": Pictures(pictures[held], numbers[held], size, dt, steps),
        "test": Pictures(unseen, truth, size, dt, steps),
    }
    split = f"validation: {HELD_OUT} of the {len(numbers)} training pictures, the last of a shuffle with seed {seed}"
    return Parts(
        "mnist",
        **parts,
        classes=CLASSES,
        sensor_size=size,
        dt=dt,
        description=describe("mnist", parts, CLASSES, split, "pictures"),
        split=split,
    )


def _read(folder: Path, name: str, layout: str) -> tuple[Tensor, Tensor]:
    """Pictures from 0 to 1 and class numbers of ``"train"`` or ``"t10k"``."""
    files = [folder / f"{name}-images-idx3-ubyte.gz", folder / f"{name}-labels-idx1-ubyte.gz"]
    pictures, numbers = map(read_idx, files)
    if pictures.shape[1:] != (SIDE, SIDE):
        raise FileFormatError(files[0], f"must hold pictures of {SIDE} x {SIDE} pixels, has shape {pictures.shape}")
    if numbers.shape != pictures.shape[:1]:
        raise FileFormatError(files[1], f"has labels of shape {numbers.shape} for {len(pictures)} pictures")
    if len(numbers) == 0 or numbers.max() >= len(CLASSES):
        raise FileFormatError(files[1], f"must hold labels from 0 to {len(CLASSES) - 1}")
    shape = (-1, 1, SIDE, SIDE) if layout == "frames" else (-1, SIDE * SIDE)
    shown = torch.from_numpy(pictures.reshape(shape).astype(np.float32))
    return shown.div_(255), torch.from_numpy(numbers.astype(np.int64))
