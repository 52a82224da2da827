"""Spoken digits by speakers never heard in training: a network with learnable delays beside the same without.

The recordings go through our cochlea (``neuro.datasets.spoken_digits``); four speakers train, one chooses the epoch,
one tests. Four networks are trained alike, each with several seeds: two hidden layers of 64 neurons with a delay
and a weight for each synapse; the same with delays drawn at random that do not learn; the same without delays; one
without delays that is wide enough to have as many parameters as the first.

``python benchmarks/spoken_digits.py [recordings]`` prints a table and writes ``results/spoken_digits.json``, ``.md`` and
``.svg``; a run takes up to a minute of processor time. ``--rule sltt`` compares under another learning rule; those that
go forward in time cannot take statistics over all steps and need ``--no-norm``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn

import neuro
from neuro.files import atomic_write
from neuro.training.evaluate import evaluate

RESULTS = Path(__file__).resolve().parent / "results"
SHARED = Path(os.environ.get("NEURO_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
DATA = SHARED / "fsdd" / "recordings.tar.xz"
DT, MAX_DELAY = 8e-3, 192e-3
TAU = 32e-3  # of 8, 16, 32 and 64 ms the best on validation, with delays and without
HIDDEN: Mapping[str, int] = MappingProxyType(
    {"delays": 64, "delays, not learned": 64, "no delays": 64, "no delays, wide": 100}
)
JITTER = neuro.datasets.Jitter(stretch=0.2, shift=50e-3, columns=2)
LOSS, LR, EPOCHS = "softmax_sum", 2e-3, 12


class Training(NamedTuple):
    """The data set with a training split that differs from epoch to epoch."""

    name: str
    classes: tuple[str, ...]
    train: neuro.datasets.JitteredDataset
    validation: neuro.datasets.FrameDataset
    test: neuro.datasets.FrameDataset


def build(model: str, inputs: int, classes: int, seed: int, tau: float, norm: bool) -> neuro.Sequential:
    """Two hidden layers; weights that the seed alone decides."""
    torch.manual_seed(seed)
    width = HIDDEN[model]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise((inputs, width, width)):
        gain = 1 / (1 - math.exp(-DT / tau))  # a current of 1 for one step lifts the membrane by 1
        cell = neuro.LIF(after, tau=tau, dt=DT, r=gain, method="exponential", reset="value")
        layers += [synapses(model, before, after, bias=not norm), *([neuro.BatchNorm(after)] if norm else []), cell]
    return neuro.Sequential(*layers, synapses(model, width, classes, bias=False), neuro.LI(classes, tau=tau, dt=DT))


def synapses(model: str, before: int, after: int, *, bias: bool) -> nn.Module:
    if model.startswith("delays"):
        layer = neuro.DelayedLinear(before, after, MAX_DELAY, dt=DT, bias=bias)
        layer.position.requires_grad_(model == "delays")
        return layer
    return neuro.Linear(before, after, bias=bias)


def run(model: str, data: neuro.datasets.Splits, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one network; the test speaker is heard once, by the weights of the epoch that validation chose."""
    net = build(model, data.train.shape[-1], len(data.classes), seed, options.tau, options.norm)
    jittered = neuro.datasets.JitteredDataset(data.train, JITTER)
    training = Training(data.name, data.classes, jittered, data.validation, data.test)
    started = time.process_time()
    fitted = neuro.fit(
        net, training, options.rule, LOSS, epochs=options.epochs, lr=LR, cell_lr=LR, seed=seed, progress=False
    )
    processor = time.process_time() - started
    tested = evaluate(net, data, loss=LOSS)
    return {
        "model": model,
        "rule": options.rule,
        "normalised": options.norm,
        "seed": seed,
        "tau": options.tau,
        "hidden": HIDDEN[model],
        "parameters": sum(p.numel() for p in net.parameters() if p.requires_grad),
        "test_accuracy": tested.accuracy,
        "validation_accuracy": fitted.validation_accuracy,
        "best_epoch": fitted.best_epoch,
        "epochs": len(fitted.history),
        "processor_seconds": round(processor, 1),
        "spikes_per_sample": {cell.name: round(cell.spikes, 1) for cell in tested.cells},
        "curve": [round(row["validation_accuracy"], 4) for row in fitted.history],
        "delays": delay_counts(net),
    }


def delay_counts(net: neuro.Sequential) -> dict[str, list[int]]:
    """Of each layer with delays, how many synapses have which rounded delay, in steps."""
    found: dict[str, Tensor] = {
        name: layer.steps.detach().round().long()
        for name, layer in net.named_children()
        if isinstance(layer, neuro.DelayedLinear)
    }
    return {
        n: torch.bincount(steps.flatten(), minlength=round(MAX_DELAY / DT) + 1).tolist() for n, steps in found.items()
    }


def summarise(runs: list[dict[str, Any]], model: str) -> dict[str, Any]:
    mine = [made for made in runs if made["model"] == model]
    tested = [made["test_accuracy"] for made in mine]
    return {
        "model": model,
        "hidden": mine[0]["hidden"],
        "parameters": mine[0]["parameters"],
        "tau": mine[0]["tau"],
        "test": statistics.mean(tested),
        "spread": statistics.stdev(tested) if len(tested) > 1 else 0.0,
        "seeds": tested,
        "validation": statistics.mean(made["validation_accuracy"] for made in mine),
        "processor_seconds": statistics.mean(made["processor_seconds"] for made in mine),
    }


def table(summaries: list[dict[str, Any]]) -> str:
    head = "| network | hidden | parameters | test %, mean ± s.d. | each seed | validation % | processor s a run |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for s in summaries:
        seeds = ", ".join(f"{100 * accuracy:.1f}" for accuracy in s["seeds"])
        lines.append(
            f"| {s['model']} | 2 x {s['hidden']} | {s['parameters']:,} | **{100 * s['test']:.1f} ± {100 * s['spread']:.1f}** "
            f"| {seeds} | {100 * s['validation']:.1f} | {s['processor_seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """Validation accuracy by epoch, and what the delays became."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    models = list(dict.fromkeys(made["model"] for made in runs))
    for number, model in enumerate(models):
        for made in (made for made in runs if made["model"] == model):
            first = made is next(m for m in runs if m["model"] == model)
            epochs = range(1, len(made["curve"]) + 1)
            left.plot(epochs, [100 * a for a in made["curve"]], f"C{number}", label=model if first else None)
    left.set(xlabel="epoch", ylabel="accuracy, validation speaker (%)", title="each line is a seed")
    left.legend()
    learned = [made["delays"] for made in runs if made["model"] == "delays"]
    for number, name in enumerate(learned[0] if learned else ()):
        counts = torch.tensor([made[name] for made in learned]).double().sum(0)
        delays = 1e3 * DT * torch.arange(len(counts))
        right.step(delays, counts / counts.sum(), f"C{number}", where="mid", label=f"layer {name}")
    right.set(xlabel="delay (ms)", ylabel="share of synapses", title="learned delays, all seeds")
    if learned:
        right.legend()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    plt.close(figure)


def write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Spoken digits with and without learnable delays.")
    parser.add_argument("data", type=Path, nargs="?", default=DATA, help="archive or folder of the recordings")
    parser.add_argument("--cache", type=Path, help="folder of the event store")
    parser.add_argument("--rule", default="bptt", help="learning rule, a name in neuro.rules.RULES")
    parser.add_argument("--models", nargs="+", default=list(HIDDEN), choices=list(HIDDEN))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument(
        "--tau", type=float, default=TAU, help="membrane time constant of every network at the start, in seconds"
    )
    parser.add_argument(
        "--no-norm",
        dest="norm",
        action="store_false",
        help="biases instead of batch normalisation (rules online need it)",
    )
    parser.add_argument("--output", type=Path, default=RESULTS / "spoken_digits", help="results, without ending")
    return parser.parse_args()


def main() -> None:
    """Train every network and write what came of it."""
    options = arguments()
    if not options.data.exists():
        print(
            f"left out: no recordings at {options.data}; name them, or set NEURO_SHARED_DATA to the folder above fsdd"
        )
        return
    torch.set_num_threads(1)
    data = neuro.datasets.spoken_digits(options.data, options.cache, dt=DT)
    print(data.description)
    runs = []
    for seed in options.seeds:
        for model in options.models:
            runs.append(run(model, data, seed, options))
            shown = {name: value for name, value in runs[-1].items() if name not in ("curve", "delays")}
            print(json.dumps(shown), flush=True)
    summaries = [summarise(runs, model) for model in options.models]
    machine = {"python": platform.python_version(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    recipe = {
        "loss": LOSS,
        "lr": LR,
        "epochs": options.epochs,
        "dt": DT,
        "max_delay": MAX_DELAY,
        "jitter": vars(JITTER),
    }
    content = {"data": data.description, "recipe": recipe, "machine": machine, "summary": summaries, "runs": runs}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write(options.output.with_suffix(".json"), json.dumps(content, indent=2) + "\n")
    write(options.output.with_suffix(".md"), table(summaries))
    draw(runs, options.output.with_suffix(".svg"))
    print(table(summaries))


if __name__ == "__main__":
    main()
