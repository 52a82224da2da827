"""An ordinary network made spiking: MNIST by QCFS and by percentile balancing, over the number of steps.

``python benchmarks/conversion.py FOLDER`` reads the four idx.gz files of FOLDER, trains 784-400-400-10 on one thread, once
with QCFS (for each number of levels) and once with ReLU, the epoch chosen on validation, converts both and tests them with
T steps. A minute or two for each. Writes ``benchmarks/results/conversion.json`` and a picture beside it.
(Bu et al. 2022, ICLR; Rueckauer et al. 2017; Diehl et al. 2015.)
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

import neuro
from neuro.compression import convert, use_qcfs
from neuro.datasets.pictures import Pictures, mnist
from neuro.files import atomic_write
from neuro.neurons import PrimedIF

RESULTS = Path(__file__).resolve().parent / "results" / "conversion.json"
LEVELS = (4, 8)
SHORT, LONG = (1, 2, 4, 8, 16, 32), (4, 8, 16, 32, 64, 128, 256)
BALANCED = ((100.0, 0.0), (99.9, 0.0), (99.9, 0.5))  # percentile, share of the threshold at which membranes begin
CALIBRATION = 2000  # training pictures
HIDDEN, BATCH = 400, 128


def right(ann: nn.Module, split: Pictures) -> float:
    """Accuracy of the ordinary network."""
    ann.eval()
    with torch.no_grad():
        return float((ann(split.pictures).argmax(1) == split.numbers).float().mean())


def train(ann: nn.Sequential, data: Any, epochs: int) -> float:
    """Train in place, leave the epoch that validation chose; its accuracy there."""
    optimizer = torch.optim.Adam(ann.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    best, kept = -1.0, copy.deepcopy(ann.state_dict())
    for _ in range(epochs):
        ann.train()
        for index in torch.randperm(len(data.train)).split(BATCH):
            loss = F.cross_entropy(ann(data.train.pictures[index]), data.train.numbers[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        if (reached := right(ann, data.validation)) > best:
            best, kept = reached, copy.deepcopy(ann.state_dict())
    ann.load_state_dict(kept)
    return best


@torch.no_grad()
def over_time(net: neuro.Sequential, split: Pictures, steps: Sequence[int]) -> dict[str, float]:
    """Accuracy of the mean output after each number of steps: one run as long as the longest."""
    hits = dict.fromkeys(steps, 0)
    for x, y in zip(split.pictures.split(100), split.numbers.split(100), strict=True):
        total = net(x.expand(max(steps), *x.shape))[0].cumsum(0)
        for count in steps:
            hits[count] += int((total[count - 1].argmax(1) == y).sum())
    return {str(count): found / len(split) for count, found in hits.items()}


def build() -> nn.Sequential:
    """784-400-400-10."""
    torch.manual_seed(0)
    hidden = (nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU())
    return nn.Sequential(*hidden, nn.Dropout(0.2), nn.Linear(HIDDEN, 10))


def measure(folder: Path, epochs: int) -> dict[str, Any]:
    """Everything, by name."""
    data = mnist(folder, steps=1)
    batch: Tensor = data.train.pictures[:CALIBRATION]
    made: dict[str, Any] = {
        "network": f"784-{HIDDEN}-{HIDDEN}-10",
        "epochs": epochs,
        "threads": torch.get_num_threads(),
    }
    for levels in LEVELS:
        ann = use_qcfs(build(), levels, threshold=4.0)
        held = train(ann, data, epochs)
        spiking = over_time(convert(ann, batch), data.test, SHORT)
        made[f"qcfs {levels}"] = {"validation": held, "ann": right(ann, data.test), "spiking": spiking}
        print(levels, made[f"qcfs {levels}"], flush=True)
    ann = build()
    relu: dict[str, Any] = {"validation": train(ann, data, epochs), "ann": right(ann, data.test)}
    for percentile, primed in BALANCED:
        net = convert(ann, batch, percentile=percentile, cell=partial(PrimedIF, primed=primed))
        name = f"percentile {percentile:g}, primed {primed:g}"
        relu[name] = over_time(net, data.test, LONG)
        print(name, relu[name], flush=True)
    return made | {"relu": relu}


def draw(made: dict[str, Any], path: Path) -> None:
    """Accuracy over steps."""
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    curves = {f"QCFS, L = {n}": made[f"qcfs {n}"]["spiking"] for n in LEVELS}
    curves |= {name: values for name, values in made["relu"].items() if "99.9" in name}
    for name, values in curves.items():
        axes.plot([int(k) for k in values], [100 * v for v in values.values()], "o-", label=name)
    axes.set(xscale="log", xlabel="steps T", ylabel="test accuracy [%]", ylim=(90, 99))
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    made = measure(given.folder, given.epochs)
    made["processor_seconds"] = round(time.process_time() - start)
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    draw(made, RESULTS.with_suffix(".png"))


if __name__ == "__main__":
    main()
