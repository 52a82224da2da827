"""A spiking network on corrupted digits, adapting without labels: its error beside that of the network as trained.

``python benchmarks/corrupted_digits.py FOLDER NETWORK`` reads the four idx.gz files of FOLDER, trains a convolutional spiking network
on clean digits (kept in the file NETWORK and taken from there the next time), chooses the rates of each method on the
last 2,000 training pictures (corrupted by draws of their own), and looks at the 10,000 test pictures once, in batches of 200 under ten
corruptions of strength 3. Each corruption begins with the network as trained. One thread; figures go to
``benchmarks/results/corrupted_digits.json``, the picture beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from matplotlib.figure import Figure
from torch import Tensor

import neuro
from neuro.adaptation import CORRUPTIONS, NHL, BatchStatistics, Tent, corrupt
from neuro.datasets.idx import read_idx
from neuro.files import atomic_write
from neuro.network import Network
from neuro.report.style import LAYERS, MUTED, OFF, ON, figure, styled
from neuro.training.losses import mean_membrane

RESULTS = Path(__file__).resolve().parent / "results" / "corrupted_digits.json"
STEPS, BATCH, STRENGTH, VALIDATION = 4, 200, 3, 2000
TEST_SEED, VALIDATION_SEED = 100, 200  # of the corruptions' draws
METHODS: Mapping[str, tuple[Callable[..., BatchStatistics], Mapping[str, tuple[float, ...]]]] = MappingProxyType(
    {
        "statistics": (BatchStatistics, {}),
        "tent": (Tent, {"lr": (1e-3, 3e-3, 1e-2)}),
        "hebbian": (NHL, {"lr": (0.0,), "rate": (3e-3, 1e-2, 3e-2)}),
        "nhl": (NHL, {"lr": (1e-3, 3e-3, 1e-2), "rate": (3e-3, 1e-2)}),
    }
)


@dataclass(frozen=True)
class Pictures:
    """Pictures ``[S, 28, 28]`` as a current that does not change."""

    pictures: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return shown(self.pictures[i : i + 1])[:, 0], int(self.labels[i])

    def tensors(self) -> tuple[Tensor, Tensor]:
        return shown(self.pictures), self.labels


@dataclass(frozen=True)
class Digits:
    """The parts."""

    train: Pictures
    validation: Pictures
    test: Pictures
    name: str = "mnist"
    classes: tuple[str, ...] = tuple("0123456789")


def shown(pictures: Tensor) -> Tensor:
    """``[S, H, W] -> [T, S, 1, H, W]``."""
    return pictures.unsqueeze(1).expand(STEPS, -1, -1, -1, -1)


def digits(folder: Path) -> Digits:
    """The last 2,000 of the training pictures are for validation."""
    parts = []
    for name in ("train", "t10k"):
        labels = torch.from_numpy(read_idx(folder / f"{name}-labels-idx1-ubyte.gz")).long()
        parts.append((torch.from_numpy(read_idx(folder / f"{name}-images-idx3-ubyte.gz")).float() / 255, labels))
    (x, y), (unseen, truth) = parts
    kept = len(y) - VALIDATION
    return Digits(Pictures(x[:kept], y[:kept]), Pictures(x[kept:], y[kept:]), Pictures(unseen, truth))


def build() -> neuro.Sequential:
    """Two convolutions, each with its normalisation and neurons, and a readout."""
    torch.manual_seed(0)
    return neuro.Sequential(
        neuro.Conv2d(1, 16, 5, stride=2, bias=False),
        neuro.BatchNorm(16),
        neuro.LIF((16, 12, 12), tau=2e-3, reset="subtract", learn=()),
        neuro.Conv2d(16, 32, 3, stride=2, bias=False),
        neuro.BatchNorm(32),
        neuro.LIF((32, 5, 5), tau=2e-3, reset="subtract", learn=()),
        neuro.Flatten(),
        neuro.Linear(800, 10),
        neuro.LI(10, tau=2e-3, learn=()),
    )


def trained(data: Digits, file: Path) -> Network:
    """The network of that file, trained first if it is not there."""
    if not file.exists():
        net = build()
        for name in ("1", "4"):  # currents that reach the threshold
            torch.nn.init.constant_(net.layers[name].get_parameter("weight"), 2.0)
        neuro.fit(
            net, data, "bptt", "mean_membrane", epochs=2, batch_size=100, lr=3e-3, calibrated=True, progress=False
        )
        neuro.save(net, file)
    return neuro.load(file).eval()


def accuracy(method: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    """Share of right answers in percent, batch after batch."""
    right = 0
    for some, truth in zip(x.split(BATCH), y.split(BATCH), strict=True):
        right += int((mean_membrane.logits(method(shown(some))).argmax(1) == truth).sum())
    return round(100 * right / len(y), 2)


def by_corruption(method: Any, split: Pictures, seed: int) -> dict[str, float]:
    """Accuracy under each corruption, the method as new for each."""
    found = {}
    for k, name in enumerate(CORRUPTIONS):
        x = corrupt(name, split.pictures, strength=STRENGTH, seed=seed + k)
        found[name] = accuracy(method, x, split.labels)
        if isinstance(method, BatchStatistics):
            method.reset()
    return found


def mean(values: Mapping[str, float]) -> float:
    return round(sum(values.values()) / len(values), 2)


def chosen(net: Network, name: str, split: Pictures) -> tuple[dict[str, float], float]:
    """The options with the best mean on validation, and that mean."""
    made, options = METHODS[name]
    best: tuple[dict[str, float], float] = ({}, -1.0)
    for values in product(*options.values()):
        given = dict(zip(options, values, strict=True))
        method = made(net, **given)
        found = mean(by_corruption(method, split, VALIDATION_SEED))
        print(name, given, found, flush=True)
        best = max(best, (given, found), key=lambda pair: pair[1])
    return best


def plain(net: Network) -> Callable[[Tensor], Tensor]:
    """The network as trained."""

    @torch.no_grad()
    def run(x: Tensor) -> Tensor:
        output: Tensor = net(x)[0]
        return output

    return run


def measure(net: Network, data: Digits) -> dict[str, Any]:
    """All methods on the test pictures, options from validation."""
    found = by_corruption(plain(net), data.test, TEST_SEED)
    clean = accuracy(plain(net), data.test.pictures, data.test.labels)
    rows: dict[str, Any] = {"source": {"clean": clean, "mean": mean(found), "corrupted": found}}
    for name, (made, _) in METHODS.items():
        options, validated = chosen(net, name, data.validation)
        started = time.process_time()
        method = made(net, **options)
        found = by_corruption(method, data.test, TEST_SEED)
        clean = accuracy(method, data.test.pictures, data.test.labels)
        method.reset()
        rows[name] = {"options": options, "validation_mean": validated, "clean": clean, "mean": mean(found)}
        rows[name] |= {"corrupted": found, "processor_seconds": round(time.process_time() - started)}
        print(name, rows[name], flush=True)
    return rows


@styled
def draw(rows: Mapping[str, Any]) -> Figure:
    """Bars by corruption and method."""
    drawn = figure(3.6)
    axes = drawn.subplots()
    names = [*CORRUPTIONS, "mean"]
    colours = (MUTED, LAYERS[1], OFF, LAYERS[0], ON)
    for k, ((name, row), colour) in enumerate(zip(rows.items(), colours, strict=True)):
        heights = [*row["corrupted"].values(), row["mean"]]
        places = [i + 0.16 * (k - 2) for i in range(len(names))]
        axes.bar(places, heights, width=0.15, color=colour, label=f"{name} ({row['mean']:.1f})")
    axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
    axes.set_ylim(bottom=20)
    axes.set_axisbelow(True)
    axes.set_ylabel("test accuracy (%)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=5)
    axes.grid(axis="y")
    return drawn


def main() -> None:
    """Train or read, choose, measure, draw."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path)
    asked.add_argument("network", type=Path)
    given = asked.parse_args()
    torch.set_num_threads(1)
    data = digits(given.folder)
    rows = measure(trained(data, given.network), data)
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    draw(rows).savefig(RESULTS.with_suffix(".png"), facecolor="white")


if __name__ == "__main__":
    main()
