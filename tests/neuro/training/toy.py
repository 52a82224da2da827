"""A small task and network for the tests of this folder; as a script, one training run on them.

``python toy.py FOLDER EPOCHS`` trains into FOLDER, so that a test can kill it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from torch import Tensor

import neuro

CLASSES = ("a", "b", "c")


class Held:
    """Spike trains ``[T, S, 11]`` whose rates depend on the class."""

    def __init__(self, samples: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        rates = torch.rand(len(CLASSES), 11, generator=torch.Generator().manual_seed(99)).square()
        self.y = torch.arange(samples) % len(CLASSES)
        self.x = (torch.rand(17, samples, 11, generator=draw) < rates[self.y]).float()

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.x[:, i], int(self.y[i])

    def tensors(self) -> tuple[Tensor, Tensor]:
        return self.x, self.y


class Streamed:
    """The same samples, one at a time only."""

    def __init__(self, held: Held) -> None:
        self._held = held

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self._held[i]


class Forbidden:
    """A split that must not be looked at."""

    def __len__(self) -> int:
        raise AssertionError("the test split was touched")

    __getitem__ = tensors = __len__


@dataclass(frozen=True)
class Toy:
    """Named parts of the task."""

    train: object
    validation: object
    test: object
    name: str = "toy"
    classes: tuple[str, ...] = CLASSES


def make_data() -> Toy:
    return Toy(Held(53, 1), Held(31, 2), Forbidden())


def make_net(hidden: int = 7, *, seed: int = 0, tau: float = 5e-3) -> neuro.Sequential:
    torch.manual_seed(seed)
    return neuro.Sequential(
        {
            "in": neuro.Linear(11, hidden),
            "hidden": neuro.LIF(hidden, tau=tau),
            "out": neuro.Linear(hidden, len(CLASSES)),
            "vote": neuro.LIF(len(CLASSES), tau=tau),
        }
    )


if __name__ == "__main__":
    neuro.fit(make_net(), make_data(), epochs=int(sys.argv[2]), batch_size=8, output=sys.argv[1], progress=False)
