"""Digits without labels: 400 neurons that learn MNIST by spike timing (Diehl and Cook 2015).

``python benchmarks/diehl_cook.py FOLDER`` learns from the 55,000 training pictures of ``neuro.datasets.mnist(FOLDER)`` on one
thread, three times over, and adds its figures to ``benchmarks/results/diehl_cook.json``, and a picture of what the neurons
have learned to the folder of unfinished runs. Labels are assigned on pictures that were learned from; 5,000 others are
for validation, and the test set is looked at once. Where the run is stopped, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from safetensors.torch import load_file, save_file

from neuro.datasets import Parts, Pictures, mnist
from neuro.files import atomic_write
from neuro.plasticity import CompetitionLaw, DiehlCook
from neuro.plasticity.diehl_cook import VOTES
from neuro.report.fields import receptive_fields

RESULTS = Path(__file__).resolve().parent / "results"


def learn(net: DiehlCook, given: argparse.Namespace, data: Parts[Pictures], state: Path) -> list[dict[str, float]]:
    """Learn in pieces; after each, label the neurons and look at validation. Everything is stored after each piece."""
    curve: list[dict[str, float]] = []
    record = state.with_suffix(".json")
    if state.exists() and record.exists():
        curve = json.loads(record.read_text(encoding="utf-8"))
        net.load_state_dict(load_file(state))
    pictures, labels = data.train.pictures, data.train.numbers
    while (left := given.passes * len(pictures) - int(net.shown)) > 0:
        started = time.process_time()
        net.fit(pictures, presentations=min(given.piece, left))
        spent = time.process_time() - started
        net.assign(pictures[: given.labelled], labels[: given.labelled])
        row = {"shown": float(net.shown), "processor_seconds": round(spent, 1)}
        curve.append(row | accuracies(net, data.validation))
        print(curve[-1], flush=True)
        state.parent.mkdir(exist_ok=True)
        save_file(net.state_dict(), state)
        record.write_text(json.dumps(curve), encoding="utf-8")
    return curve


def accuracies(net: DiehlCook, part: Pictures) -> dict[str, float]:
    """By each way to vote, and the number of spikes for a picture."""
    counts = net.respond(part.pictures)
    made = {str(vote): (net.decide(counts, vote) == part.numbers).float().mean().item() for vote in VOTES}
    return {name: round(value, 4) for name, value in made.items()} | {"spikes": counts.float().sum(1).mean().item()}


def summary(
    net: DiehlCook, given: argparse.Namespace, data: Parts[Pictures], curve: list[dict[str, float]]
) -> dict[str, object]:
    """Figures of the run, those of the test set included."""
    tested = accuracies(net, data.test)
    return {
        "neurons": given.neurons,
        "seed": given.seed,
        "dt": given.dt,
        "passes": given.passes,
        "labelled_training_pictures": given.labelled,
        "processor_seconds_of_learning": round(sum(row["processor_seconds"] for row in curve), 1),
        "spikes_per_test_picture": round(tested.pop("spikes"), 2),
        "test_accuracy": tested,
        "silent_neurons": int((net.responses.sum(1) == 0).sum()),
        "theta_millivolts": [round(1e3 * float(q), 1) for q in net.theta.quantile(torch.tensor([0.0, 0.5, 1.0]))],
        "validation_curve": curve,
    }


def main() -> None:
    """One run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="holds the four idx.gz files of MNIST")
    parser.add_argument("--neurons", type=int, default=400)
    parser.add_argument("--passes", type=int, default=3, help="times the training pictures are shown")
    parser.add_argument("--labelled", type=int, default=10_000, help="training pictures that give neurons their labels")
    parser.add_argument("--piece", type=int, default=10_000, help="pictures between two looks at validation")
    parser.add_argument("--dt", type=float, default=1e-3, help="time step in seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, default=Path("runs/diehl_cook"), help="folder that holds unfinished runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    name = f"{given.neurons}_dt{1e3 * given.dt:g}ms_seed{given.seed}"
    net = DiehlCook(784, given.neurons, law=CompetitionLaw(dt=given.dt), seed=given.seed)
    data = mnist(given.folder, steps=1)
    curve = learn(net, given, data, given.state / f"{name}.safetensors")
    row = summary(net, given, data, curve)
    print(json.dumps(row), flush=True)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "diehl_cook.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(rows | {name: row}, indent=2) + "\n", encoding="utf-8")
    receptive_fields(net.weight.t().reshape(-1, 28, 28).numpy()).savefig(given.state / f"{name}.png")


if __name__ == "__main__":
    main()
