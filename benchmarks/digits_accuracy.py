"""Test accuracy of the model selected on validation: event-camera digits, three seeds, BPTT and SLTT.

``python benchmarks/digits_accuracy.py`` writes ``benchmarks/results/digits_accuracy.json`` and ``.md``.
The defaults of ``neuro.fit`` are used throughout; the test split is read once per run, after training.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

import neuro
from neuro.files import atomic_write
from neuro.training.evaluate import evaluate

RESULTS = Path(__file__).resolve().parent / "results"
SEEDS = (0, 1, 2)
RULES = ("bptt", "sltt")


def build(data: neuro.datasets.Splits, seed: int) -> neuro.Sequential:
    width, height, polarities = data.sensor_size
    torch.manual_seed(seed)
    return neuro.Sequential(
        neuro.Linear(width * height * polarities, 128),
        neuro.LIF(128, dt=data.dt, method="euler", reset="value"),
        neuro.Linear(128, len(data.classes)),
        neuro.LIF(len(data.classes), dt=data.dt, method="euler", reset="value"),
    )


def run(data: neuro.datasets.Splits, rule: str, seed: int) -> dict[str, Any]:
    net = build(data, seed)
    started = time.process_time()
    fitted = neuro.fit(net, data, rule, seed=seed, progress=False)
    processor = time.process_time() - started
    tested = evaluate(net, data)
    return {
        "rule": rule,
        "seed": seed,
        "test_accuracy": tested.accuracy,
        "validation_accuracy": fitted.validation_accuracy,
        "best_epoch": fitted.best_epoch,
        "epochs": len(fitted.history),
        "seconds": round(fitted.seconds, 2),
        "processor_seconds": round(processor, 2),
        "spikes_per_sample": {cell.name: round(cell.spikes, 1) for cell in tested.cells},
        "synops_per_sample": round(tested.synops),
        "macs_per_sample": round(tested.macs),
    }


def summarise(runs: list[dict[str, Any]], rule: str) -> dict[str, Any]:
    accuracies = [made["test_accuracy"] for made in runs if made["rule"] == rule]
    return {
        "rule": rule,
        "mean": statistics.mean(accuracies),
        "standard_deviation": statistics.stdev(accuracies),
        "lowest": min(accuracies),
        "processor_seconds": statistics.mean(made["processor_seconds"] for made in runs if made["rule"] == rule),
    }


def table(runs: list[dict[str, Any]], summaries: list[dict[str, Any]]) -> str:
    lines = ["| rule | seed | test % | validation % | best epoch | processor seconds |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {r['rule']} | {r['seed']} | {100 * r['test_accuracy']:.2f} | {100 * r['validation_accuracy']:.2f} "
        f"| {r['best_epoch']} of {r['epochs']} | {r['processor_seconds']:.1f} |"
        for r in runs
    ]
    lines += [
        f"| **{s['rule']}** | mean ± s.d. | **{100 * s['mean']:.2f} ± {100 * s['standard_deviation']:.2f}** | | "
        f"| {s['processor_seconds']:.1f} |"
        for s in summaries
    ]
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def main() -> None:
    torch.set_num_threads(1)
    data = neuro.datasets.digits()
    print(data.description)
    runs = []
    for rule in RULES:
        for seed in SEEDS:
            runs.append(run(data, rule, seed))
            print(json.dumps(runs[-1]), flush=True)
    summaries = [summarise(runs, rule) for rule in RULES]
    machine = {"python": platform.python_version(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    content = {"data": data.description, "machine": machine, "summary": summaries, "runs": runs}
    RESULTS.mkdir(exist_ok=True)
    write(RESULTS / "digits_accuracy.json", json.dumps(content, indent=2) + "\n")
    write(RESULTS / "digits_accuracy.md", table(runs, summaries))
    print(table(runs, summaries))


if __name__ == "__main__":
    main()
