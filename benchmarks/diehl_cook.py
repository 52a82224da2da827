"""Digits without labels: 400 neurons that learn MNIST by spike timing (Diehl and Cook 2015).

``python benchmarks/diehl_cook.py FOLDER`` reads the four idx.gz files of FOLDER, learns from the first 50,000 training
pictures on one thread, three times over, and writes ``benchmarks/results/diehl_cook.json`` and a picture of what
the neurons have learned. Labels are assigned on pictures that were learned from; the last 10,000 training pictures are for
validation, and the test set is looked at once. Where the run is stopped, the same command goes on.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from neuro.files import atomic_write
from neuro.plasticity import CompetitionLaw, DiehlCook
from neuro.plasticity.diehl_cook import VOTES
from neuro.report.fields import receptive_fields

RESULTS = Path(__file__).resolve().parent / "results"
LEARNED = 50_000


def read(path: Path) -> Tensor:
    """An array of an idx.gz file."""
    content = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(content, ">i4", content[3], 4)
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape).copy())


def mnist(folder: Path, name: str) -> tuple[Tensor, Tensor]:
    """Pictures from 0 to 1 and labels."""
    pictures = read(folder / f"{name}-images-idx3-ubyte.gz").flatten(1).float() / 255
    return pictures, read(folder / f"{name}-labels-idx1-ubyte.gz").long()


def learn(
    net: DiehlCook, given: argparse.Namespace, data: tuple[Tensor, Tensor], state: Path
) -> list[dict[str, float]]:
    """Learn in pieces; after each, label the neurons and look at validation. Everything is stored after each piece."""
    curve: list[dict[str, float]] = []
    record = state.with_suffix(".json")
    if state.exists() and record.exists():
        curve = json.loads(record.read_text(encoding="utf-8"))
        net.load_state_dict(load_file(state))
    pictures, labels = data
    while int(net.shown) < given.passes * LEARNED:
        started = time.process_time()
        net.fit(pictures[:LEARNED], presentations=given.piece)
        spent = time.process_time() - started
        net.assign(pictures[: given.labelled], labels[: given.labelled])
        counts = net.respond(pictures[LEARNED:])
        row = {"shown": float(net.shown), "processor_seconds": round(spent, 1)}
        row |= {str(vote): (net.decide(counts, vote) == labels[LEARNED:]).float().mean().item() for vote in VOTES}
        curve.append(row)
        print(curve[-1], flush=True)
        state.parent.mkdir(exist_ok=True)
        save_file(net.state_dict(), state)
        record.write_text(json.dumps(curve), encoding="utf-8")
    return curve


def summary(net: DiehlCook, given: argparse.Namespace, curve: list[dict[str, float]]) -> dict[str, object]:
    """Figures of the run, those of the test set included."""
    pictures, labels = mnist(given.folder, "t10k")
    counts = net.respond(pictures)
    return {
        "neurons": given.neurons,
        "seed": given.seed,
        "dt": given.dt,
        "passes": given.passes,
        "labelled_training_pictures": given.labelled,
        "processor_seconds_of_learning": round(sum(row["processor_seconds"] for row in curve), 1),
        "test_accuracy": {vote: (net.decide(counts, vote) == labels).float().mean().item() for vote in VOTES},
        "spikes_per_test_picture": counts.float().sum(1).mean().item(),
        "silent_neurons": int((net.responses.sum(1) == 0).sum()),
        "theta_millivolts": [round(1e3 * float(q), 1) for q in net.theta.quantile(torch.tensor([0.0, 0.5, 1.0]))],
        "validation_curve": curve,
    }


def main() -> None:
    """One run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="holds the four idx.gz files of MNIST")
    parser.add_argument("--neurons", type=int, default=400)
    parser.add_argument("--passes", type=int, default=3, help="times the 50,000 pictures are shown")
    parser.add_argument("--labelled", type=int, default=10_000, help="training pictures that give neurons their labels")
    parser.add_argument("--piece", type=int, default=10_000, help="pictures between two looks at validation")
    parser.add_argument("--dt", type=float, default=1e-3, help="time step in seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, default=Path("runs/diehl_cook"), help="folder that holds unfinished runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    name = f"{given.neurons}_dt{1e3 * given.dt:g}ms_seed{given.seed}"
    net = DiehlCook(784, given.neurons, law=CompetitionLaw(dt=given.dt), seed=given.seed)
    curve = learn(net, given, mnist(given.folder, "train"), given.state / f"{name}.safetensors")
    row = summary(net, given, curve)
    print(json.dumps(row), flush=True)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "diehl_cook.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(rows | {name: row}, indent=2) + "\n", encoding="utf-8")
    receptive_fields(net.weight.t().reshape(-1, 28, 28).numpy()).savefig(given.state / f"{name}.png")


if __name__ == "__main__":
    main()
