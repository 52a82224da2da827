"""The page of results, ``docs/results.md``, from what the benchmarks left in ``benchmarks/results``.

``python benchmarks/results_page.py`` writes it; a test holds that it is current.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from neuro.files import atomic_write
from neuro.training.rules import RULES

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "results.md"
HEAD = """# Results on real data

Learning rules on pictures, on recordings of an event camera, and on spoken digits. Every figure is of the epoch that the validation split chose; the test split is looked at once, by that
network. Where a data set has no validation split, one is made of its training part, as `neuro train` says before it starts and `report.html` says again. One thread of a shared
machine with two cores; minutes are of processor time, for training alone where no other is said, and memory is the largest that the process held, libraries and data included.
The page is made by `python benchmarks/results_page.py` from `benchmarks/results/*.json`.
"""
COMMAND = """The data are not part of the repository, and nothing is downloaded: `NEURO_DATA` is the folder in which a configuration looks for its source, and `--source` names
another place. So each row of the tables is two commands, repeated for each seed:

```bash
export NEURO_DATA=../shared/data
neuro train --config examples/mnist_sltt.yaml --seed 0 --output runs/mnist-sltt-0
neuro evaluate runs/mnist-sltt-0
```

`python benchmarks/real_data.py examples/mnist_sltt.yaml --seeds 0 1 2` does so and writes `benchmarks/results/real_data.json`, with the validation accuracy after each epoch.
"""
SCRIPTS = """The same network by `benchmarks/rules_mnist.py`, with rules that have no configuration or options that the command does not set; seed 0, memory above the data:
"""
EVENTS = """EventProp, exact from spike to spike: a spike for each pixel at a time that its brightness gives, training pictures shifted by up to a pixel; the last 10,000 of the
training pictures validate.
"""
HEBBIAN = """Hebbian rules, seed 0: features learned without labels and a linear readout of them, beside the same features before learning; passes instead of epochs, minutes of learning
the features.
"""
TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "mnist": """## MNIST

784-400-10: LIF neurons with a leaky readout, each picture a constant current for 10 steps, 8 epochs. 5,000 of the 60,000 training pictures, the last of a fixed shuffle, validate; the
10,000 test pictures test.
""",
        "nmnist": """## N-MNIST, a subset

The first 1,000 training and 100 test recordings of N-MNIST (real ones, of an ATIS camera), 10 frames of 30 ms: two convolutions (5 x 5, stride 2, 12 and 32 channels) and a hidden layer
of 128. A tenth of the training recordings of each class validates. Training recordings are moved by up to two pixels in x and y. The epoch is that of the least validation
loss, which 101 recordings tell apart better than accuracy. One test recording is 1 %.
""",
        "spoken_digits": """## Spoken digits

[Free spoken digits](spoken_digits.md) through the cochlea, 100 steps of 8 ms: two hidden layers of 64, no delays, no normalisation. Four speakers train, one validates, one tests, who is heard by no
network before; the same network, jitter and 12 epochs under every rule.
""",
    }
)


class Row(NamedTuple):
    """One rule on one data set; accuracies from 0 to 1, a value for each seed."""

    rule: str
    test: Sequence[float]
    validation: Sequence[float]
    epochs: int
    minutes: float
    peak: str
    source: str


def percent(values: Sequence[float]) -> str:
    """Mean, and spread where there are several."""
    mean = f"{100 * statistics.mean(values):.2f}"
    return f"{mean} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean


def table(rows: Iterable[Row]) -> str:
    """Rows as Markdown."""
    lines = [
        "| rule | test %, mean ± s.d. | each seed | validation % | epochs | minutes | peak MB | configuration or script |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        each = ", ".join(f"{100 * value:.2f}" for value in row.test)
        lines.append(
            f"| `{row.rule}` | **{percent(row.test)}** | {each} | {percent(row.validation)} | {row.epochs} "
            f"| {row.minutes:.1f} | {row.peak} | `{row.source}` |"
        )
    return "\n".join(lines) + "\n"


def by_command(known: Mapping[str, Any], dataset: str) -> list[Row]:
    """What the configurations of a data set came to."""
    rows = []
    for name, entry in known.items():
        runs = list(entry["runs"].values())
        if runs[0]["dataset"] != dataset:
            continue
        rows.append(
            Row(
                runs[0]["rule"],
                [made["test_accuracy"] for made in runs],
                [made["validation_accuracy"] for made in runs],
                runs[0]["epochs"],
                statistics.mean(made["processor_seconds"] for made in runs) / 60,
                str(max(made["peak_mb"] for made in runs)),
                f"examples/{name}.yaml",
            )
        )
    return sorted(rows, key=lambda row: -statistics.mean(row.test))


def by_script(known: Mapping[str, Any], measured: set[str]) -> list[Row]:
    """What ``benchmarks/rules_mnist.py`` found of rules that no configuration runs."""
    return [
        Row(
            name,
            [made["test_accuracy"]],
            [made["validation_accuracy"]],
            made["epochs"],
            made["processor_seconds"] / 60,
            f"+{round(1.048576 * more)}" if (more := made.get("peak_memory_mib_above_data")) is not None else "",
            f"benchmarks/rules_mnist.py FOLDER {name}",
        )
        for name, made in known.items()
        if name not in measured
    ]


def eventprop() -> list[Row]:
    """What EventProp came to in its own script."""
    if not (made := read("eventprop_mnist.json")):
        return []
    runs = made["runs"]
    row = Row(
        "eventprop",
        [one["test_accuracy"] for one in runs],
        [one["validation_accuracy"] for one in runs],
        made["epochs"],
        statistics.mean(one["processor_seconds"] for one in runs) / 60,
        f"{1.048576 * max(one['peak_mib'] for one in runs):.0f}",
        "benchmarks/eventprop_mnist.py FOLDER",
    )
    return [row]


def hebbian(dataset: str) -> list[Row]:
    """What learning without an error came to."""
    rows = []
    for name, made in read("softhebb.json").items():
        if not name.startswith(f"{dataset}_"):
            continue
        source = f"benchmarks/softhebb.py {dataset} ..."
        for kind, words in (("learned", "softhebb"), ("imprinted", "imprinted"), ("random", "random weights")):
            found = made[kind]
            minutes = found.get("processor_seconds_of_learning", 0) / 60
            scores = [found["test_accuracy"]], [found["validation_accuracy"]]
            rows.append(Row(f"{words} + readout", *scores, made["passes"] if minutes else 0, minutes, "", source))
    for made in read("diehl_cook.json").values() if dataset == "mnist" else ():
        minutes, last = made["processor_seconds_of_learning"] / 60, made["validation_curve"][-1]
        for votes, score in made["test_accuracy"].items():
            name = f"diehl_cook, {votes} votes"
            rows.append(
                Row(name, [score], [last[votes]], made["passes"], minutes, "", "benchmarks/diehl_cook.py FOLDER")
            )
    return rows


def elsewhere() -> list[str]:
    """A line for each result that is no accuracy on a test split alone."""
    lines = []
    if tasks := read("permuted_mnist.json"):
        ends = ", ".join(
            f"`{arm}` {tasks[arm]['mean_final_accuracy']:.1f} % at the end, {tasks[arm]['mean_forgetting']:.1f} points forgotten"
            for arm in ("hlop", "plain")
        )
        lines.append(f"- Permuted MNIST, five tasks: {ends} (`benchmarks/permuted_mnist.py`).")
    if digits := read("corrupted_digits.json"):
        means = ", ".join(f"`{arm}` {digits[arm]['mean']:.1f} %" for arm in digits if "mean" in digits[arm])
        lines.append(f"- Corrupted digits, mean over corruptions: {means} (`benchmarks/corrupted_digits.py`).")
    if made := read("conversion.json"):
        steps = made["qcfs 4"]["spiking"]
        shown = ", ".join(f"{100 * steps[t]:.1f} % in {t} steps" for t in ("2", "4", "8"))
        ann = 100 * made["qcfs 4"]["ann"]
        lines.append(f"- MNIST converted (QCFS, 4 levels, {ann:.1f} % before): {shown} (`benchmarks/conversion.py`).")
    return lines


def read(name: str) -> dict[str, Any]:
    """A file of results; empty where nothing was measured yet."""
    path = RESULTS / name
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def mnist_only(rows: Sequence[Row]) -> list[str]:
    """What scripts add to the rows of the command, and which rules have no figure at all."""
    more = by_script(read("rules_mnist.json"), {row.rule for row in rows})
    exact = eventprop()
    shown = {row.rule.partition(" ")[0] for row in (*rows, *more, *exact, *hebbian("mnist"))}
    absent = ", ".join(f"`{name}`" for name in RULES if name not in shown)
    parts = [*([SCRIPTS, table(more)] if more else ()), *([EVENTS, table(exact)] if exact else ())]
    return [*parts, f"Rules without a figure on MNIST: {absent}.\n"] if absent else parts


def page() -> str:
    """The whole page."""
    known = read("real_data.json")
    parts = [HEAD, COMMAND]
    for dataset, text in TEXTS.items():
        rows = by_command(known, dataset)
        parts += [text, table(rows), *(mnist_only(rows) if dataset == "mnist" else ())]
        if unsupervised := hebbian(dataset):
            parts += [HEBBIAN, table(unsupervised)]
    if lines := elsewhere():
        parts += ["## Tasks in sequence, other pictures, other ways to weights\n", "\n".join(lines) + "\n"]
    return "\n".join(parts)


if __name__ == "__main__":
    with atomic_write(PAGE) as temporary:
        temporary.write_text(page(), encoding="utf-8")
