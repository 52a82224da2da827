"""Fewer and fewer time steps: MNIST at T = 5, 3, 2, 1, each stage from the weights before, beside T = 1 from the start.

``python benchmarks/latency.py FOLDER`` reads the four idx.gz files of FOLDER and trains 784-128-128-128-128-10 on one
thread; the epoch is chosen on validation, the test is looked at once a stage. ``direct`` has as many epochs at T = 1
as all stages together. Stages lie in ``--runs`` and go on from there. Some minutes. Writes
``benchmarks/results/latency.json``. (Chowdhury, Rathi & Roy 2021.)
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

import neuro
from neuro.compression import first_steps, reduce_latency
from neuro.datasets.pictures import mnist
from neuro.files import atomic_write
from neuro.training.evaluate import evaluate

RESULTS = Path(__file__).resolve().parent / "results" / "latency.json"
STEPS, HIDDEN, DEPTH = (5, 3, 2, 1), 128, 4
LOSS = "mean_membrane"


def build(seed: int) -> neuro.Sequential:
    """Spikes in the hidden layers, currents at the end; time constants and thresholds of each layer learn."""
    torch.manual_seed(seed)
    layers: list[torch.nn.Module] = []
    surrogate = neuro.Surrogate("triangle", width=1.0, peak=0.3)
    learned = ("tau", "v_threshold")
    for before, after in pairwise((784, *(HIDDEN,) * DEPTH)):
        cell = neuro.LIF(after, tau=2e-3, r=2.0, reset="subtract", surrogate=surrogate, learn=learned, shared=learned)
        layers += [neuro.Linear(before, after), cell]
    return neuro.Sequential(*layers, neuro.Linear(HIDDEN, 10))


def main() -> None:
    """Both arms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2, help="of each stage")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data, start = mnist(given.folder, steps=STEPS[0]), time.process_time()
    options: dict[str, Any] = {"loss": LOSS, "batch_size": 128, "lr": 2e-3, "weight_decay": 0.0, "seed": given.seed}
    options |= {"progress": False, "resume": given.runs.exists()}
    made: dict[str, Any] = {"network": f"784{f'-{HIDDEN}' * DEPTH}-10", "epochs": given.epochs, "seed": given.seed}
    net = build(given.seed)
    rows = reduce_latency(net, data, STEPS, output=given.runs / "stages", epochs=given.epochs, **options)
    made["stages"] = []
    for row in rows:
        trained = neuro.load(given.runs / "stages" / f"steps-{row.steps}" / "network.safetensors")
        tested = evaluate(trained, first_steps(data, row.steps), loss=LOSS)
        made["stages"].append(
            asdict(row) | {"test": tested.accuracy, "rates": [round(c.rate, 4) for c in tested.cells]}
        )
        print(made["stages"][-1], flush=True)
    alone, once = build(given.seed), first_steps(data, 1)
    options["resume"] = (given.runs / "direct").exists()
    fitted = neuro.fit(alone, once, output=given.runs / "direct", epochs=given.epochs * len(STEPS), **options)
    tested = evaluate(alone, once, loss=LOSS)
    made["direct"] = {"validation": fitted.validation_accuracy, "test": tested.accuracy}
    made["direct"]["rates"] = [round(c.rate, 4) for c in tested.cells]
    made["processor_seconds"] = round(time.process_time() - start)
    print(made["direct"], flush=True)
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
