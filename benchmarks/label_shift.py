"""A stream of digits whose labels change their meaning: a homeostatic learning rate beside constant and random ones.

``python benchmarks/label_shift.py FOLDER`` reads the four idx.gz files of FOLDER. A spiking network 196-64-10 (digits at 14 x 14, four
steps) meets 3,000 digits one by one, predicts each, is told its label and takes one step of SGD by BPTT; two labels swap every so many
samples. For each pace the best constant rate is chosen on a stream of its own; the homeostatic learner has it as its
set point, the random walk starts there; both stay within a factor of 10 of it. Then streams of test pictures, two seeds.
One thread; figures go to ``benchmarks/results/label_shift.json``, the picture beside it; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

import neuro
from neuro.adaptation import ConstantRate, HomeostaticRate, RandomRate, Rate, after_shifts, meet, recovery, shifted
from neuro.datasets.idx import read_idx
from neuro.files import atomic_write
from neuro.report.style import LAYERS, MUTED, OFF, ON, figure, styled
from neuro.training.losses import mean_membrane
from neuro.training.rules import BPTT

RESULTS = Path(__file__).resolve().parent / "results" / "label_shift.json"
STREAM, STEPS, WINDOW = 3000, 4, 50
PACES = (None, 1000, 200, 50)
CONSTANTS = (0.03, 0.1, 0.3)
SEEDS = (1, 2)
RATES: Mapping[str, Callable[[float, int], Rate]] = MappingProxyType(
    {
        "constant": lambda lr, _: ConstantRate(lr),
        "homeostatic": lambda lr, _: HomeostaticRate([1, -1] * 5, lr, low=lr / 10, high=10 * lr),
        "random": lambda lr, seed: RandomRate(lr, low=lr / 10, high=10 * lr, seed=seed),
    }
)


def stream(folder: Path, part: str, seed: int) -> tuple[Tensor, Tensor]:
    """Digits in an order of their own: ``[4, 3000, 196]`` and classes ``[3000]``."""
    labels = torch.from_numpy(read_idx(folder / f"{part}-labels-idx1-ubyte.gz")).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:STREAM]
    pictures = torch.from_numpy(read_idx(folder / f"{part}-images-idx3-ubyte.gz"))[order].unsqueeze(1).float() / 255
    return F.avg_pool2d(pictures, 2).flatten(1).expand(STEPS, -1, -1), labels[order]


def run(x: Tensor, y: Tensor, pace: int | None, rate: Rate, seed: int) -> dict[str, Any]:
    """One learner on one stream."""
    torch.manual_seed(seed)
    net = neuro.Sequential(
        neuro.Linear(196, 64),
        neuro.LIF(64, tau=2e-3, reset="subtract", learn=()),
        neuro.Linear(64, 10),
        neuro.LI(10, tau=2e-3, learn=()),
    )
    neuro.calibrate(net, x[:, :200], drive=1.0)
    told = shifted(y, pace, classes=10, seed=seed)
    met = meet(net, x, told.labels, rate, BPTT(), mean_membrane)
    pieces = met.right.double().view(-1, 100).mean(1)
    return {
        "accuracy": round(float(met.right.double().mean()), 4),
        "after_shifts": round(after_shifts(met.right, told.starts, WINDOW), 4) if told.starts else None,
        "recovery_samples": recovery(met.right, told.starts) if told.starts else None,
        "by_hundreds": [round(value, 3) for value in pieces.tolist()],
        "rate_by_hundreds": [round(value, 4) for value in met.rates.view(-1, 100).log().mean(1).exp().tolist()],
    }


def measure(folder: Path, rows: dict[str, Any], save: Callable[[], None]) -> None:
    """Every pace: choose the constant rate, then run all three."""
    for pace in PACES:
        row = rows.setdefault(str(pace), {"tuning": {}, "runs": {}})
        for lr in CONSTANTS:
            if str(lr) not in row["tuning"]:
                x, y = stream(folder, "train", 0)
                row["tuning"][str(lr)] = run(x, y, pace, ConstantRate(lr), 0)["accuracy"]
                save()
        row["lr"] = max(CONSTANTS, key=lambda lr: row["tuning"][str(lr)])
        for seed in SEEDS:
            x, y = stream(folder, "t10k", seed)
            for name, made in RATES.items():
                if f"{name} {seed}" not in row["runs"]:
                    row["runs"][f"{name} {seed}"] = run(x, y, pace, made(row["lr"], seed), seed)
                    save()
        row["accuracy"] = {
            name: round(statistics.mean(row["runs"][f"{name} {seed}"]["accuracy"] for seed in SEEDS), 4)
            for name in RATES
        }
        save()
        print(pace, row["lr"], row["tuning"], row["accuracy"], flush=True)


@styled
def draw(rows: Mapping[str, Any]) -> Figure:
    """Accuracy over the pace of shifts, and the curves of one stream with the homeostatic rate above them."""
    drawn = figure(3.6)
    left, middle, right = drawn.subplots(1, 3)
    names = ["never" if pace is None else str(pace) for pace in PACES]
    for (name, colour), width in zip(
        (("constant", OFF), ("homeostatic", ON), ("random", MUTED)), (3, 1.5, 1), strict=True
    ):
        left.plot(names, [100 * rows[str(pace)]["accuracy"][name] for pace in PACES], "o-", color=colour, label=name)
        seen = rows["1000"]["runs"][f"{name} {SEEDS[0]}"]
        places = [100 * k + 50 for k in range(len(seen["by_hundreds"]))]
        middle.plot(places, [100 * value for value in seen["by_hundreds"]], color=colour, linewidth=width)
        right.plot(places, seen["rate_by_hundreds"], color=colour, linewidth=width)
    for place in (middle, right):
        for start in range(1000, STREAM, 1000):
            place.axvline(start, color=LAYERS[1], linewidth=0.8, linestyle=(0, (4, 3)))
        place.set_xlabel("sample; dashed: two labels swap")
    left.set_title("accuracy on the whole stream (%)")
    left.set_xlabel("samples between shifts")
    middle.set_title("accuracy by hundreds (%)")
    right.set_title("learning rate")
    right.set_yscale("log")
    for place in (left, middle, right):
        place.grid(axis="y")
    left.legend(loc="lower left")
    return drawn


def main() -> None:
    """Run what is missing, then draw."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path)
    folder = asked.parse_args().folder
    torch.set_num_threads(1)
    rows: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}

    def save() -> None:
        with atomic_write(RESULTS) as temporary:
            temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")

    measure(folder, rows, save)
    draw(rows).savefig(RESULTS.with_suffix(".png"), facecolor="white")


if __name__ == "__main__":
    main()
