"""Five tasks one after the other: MNIST under five permutations of its pixels, with and without HLOP.

``python benchmarks/permuted_mnist.py FOLDER [ARM...]`` reads the four idx.gz files of FOLDER and trains a spiking network
784-400-400-10 by BPTT and SGD on one thread, once as it is (``plain``) and once with its gradients projected (``hlop``); all
tasks share the ten outputs. Figures go to ``benchmarks/results/permuted_mnist.json``, the picture beside it. Settings were
chosen on the last 10,000 training pictures; the test pictures are looked at once, after the last task and after each task's own.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from matplotlib.figure import Figure
from torch import Tensor

import neuro
from neuro.datasets.idx import read_idx
from neuro.files import atomic_write
from neuro.report.style import OFF, ON, figure, styled
from neuro.training.continual import HLOP
from neuro.training.losses import mean_membrane
from neuro.training.rules import BPTT

RESULTS = Path(__file__).resolve().parent / "results" / "permuted_mnist.json"
ARMS = ("plain", "hlop")
TASKS, EPOCHS, BATCH, STEPS = 5, 6, 128, 6
TRAINED = 30_000  # of the first 50,000 training pictures
LR, MOMENTUM = 0.2, 0.9
HIDDEN = 400
ROWS = {"0": 80, "2": 70, "4": 70}
LATERAL = 0.5  # rate of the lateral synapses


def pictures(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """``[S, 784]`` from 0 to 1, and classes ``[S]``."""
    shown = torch.from_numpy(read_idx(folder / f"{part}-images-idx3-ubyte.gz")).flatten(1).float() / 255
    return shown, torch.from_numpy(read_idx(folder / f"{part}-labels-idx1-ubyte.gz")).long()


def shown(x: Tensor) -> Tensor:
    """The same current in every step, ``[T, S, 784]``."""
    return x.expand(STEPS, *x.shape)


def build(x: Tensor) -> neuro.Sequential:
    """784-400-400-10 without biases, its weights scaled on a batch of the first task."""
    torch.manual_seed(0)
    sizes = (784, HIDDEN, HIDDEN)
    layers: list[torch.nn.Module] = []
    for before, after in pairwise(sizes):
        layers.append(neuro.Linear(before, after, bias=False))
        layers.append(neuro.LIF(after, tau=4e-3, reset="subtract", learn=()))
    net = neuro.Sequential(*layers, neuro.Linear(HIDDEN, 10, bias=False), neuro.LI(10, tau=2e-3, learn=()))
    return neuro.calibrate(net, shown(x[:256]), drive=1.0)


@torch.no_grad()
def accuracy(net: neuro.Sequential, x: Tensor, y: Tensor) -> float:
    """Share of right answers, in percent."""
    parts = zip(x.split(1000), y.split(1000), strict=True)
    right = sum(int((mean_membrane.logits(net(shown(some))[0]).argmax(1) == truth).sum()) for some, truth in parts)
    return round(100 * right / len(y), 2)


def train(net: neuro.Sequential, rule: neuro.rules.Rule, x: Tensor, y: Tensor) -> None:
    """One task: a fresh optimizer, six passes."""
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(y)).split(BATCH):
            optimizer.zero_grad()
            rule.backward(net, shown(x[chosen]), y[chosen], mean_membrane)
            optimizer.step()


def run(arm: str, folder: Path) -> dict[str, Any]:
    """All tasks of one arm."""
    (x, y), (unseen, truth) = pictures(folder, "train"), pictures(folder, "t10k")
    x, y = x[:TRAINED], y[:TRAINED]
    draw = torch.Generator().manual_seed(1)
    orders = [torch.randperm(784, generator=draw) for _ in range(TASKS)]
    net = build(x[:, orders[0]])
    protected = HLOP(net, ROWS, BPTT(), lr=LATERAL) if arm == "hlop" else None
    table, started = [], time.process_time()
    for k, order in enumerate(orders):
        with nullcontext() if protected is None else protected.task():
            train(net, protected or BPTT(), x[:, order], y)
        table.append([accuracy(net, unseen[:, seen], truth) for seen in orders[: k + 1]])
        print(arm, k, table[-1], flush=True)
    forgotten = [table[k][k] - table[-1][k] for k in range(TASKS - 1)]
    return {
        "accuracy_after_each_task": table,
        "mean_final_accuracy": round(sum(table[-1]) / TASKS, 2),
        "mean_forgetting": round(sum(forgotten) / len(forgotten), 2),
        "processor_seconds": round(time.process_time() - started),
    }


@styled
def draw(rows: dict[str, Any]) -> Figure:
    """Accuracy on each task over the tasks learned since."""
    drawn = figure(3.2)
    axes = drawn.subplots(1, 2, sharey=True)
    for place, arm, title, colour in zip(axes, ARMS, ("BPTT alone", "BPTT with HLOP"), (OFF, ON), strict=True):
        table = rows[arm]["accuracy_after_each_task"]
        for k in range(TASKS):
            column = [row[k] for row in table[k:]]
            place.plot(range(k + 1, TASKS + 1), column, "o-", color=colour, alpha=1 - 0.16 * k, markersize=3)
            place.annotate(f"{k + 1}", (k + 1, column[0]), xytext=(0, 5), textcoords="offset points", ha="center")
        place.set_title(f"{title}: {rows[arm]['mean_forgetting']:.1f} points forgotten on average")
        place.set_xlabel("tasks learned")
        place.set_xticks(range(1, TASKS + 1))
        place.grid(axis="y")
    axes[0].set_ylabel("test accuracy of each task (%)")
    return drawn


def main() -> None:
    """The arms named on the command line, or both."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path)
    asked.add_argument("arms", nargs="*", default=ARMS)
    given = asked.parse_args()
    torch.set_num_threads(1)
    for arm in given.arms:
        if arm not in ARMS:
            asked.error(f"{arm!r} is none of {', '.join(ARMS)}")
        row = run(arm, given.folder)
        held = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        setting = {"tasks": TASKS, "pictures": TRAINED, "epochs": EPOCHS, "batch": BATCH, "steps": STEPS, "lr": LR}
        held |= {"setting": setting | {"momentum": MOMENTUM, "rows": ROWS, "lateral_lr": LATERAL}, arm: row}
        with atomic_write(RESULTS) as temporary:
            temporary.write_text(json.dumps(held, indent=2) + "\n", encoding="utf-8")
    if set(ARMS) <= set(held):
        draw(held).savefig(RESULTS.with_suffix(".png"), facecolor="white")


if __name__ == "__main__":
    main()
