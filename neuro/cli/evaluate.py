"""``neuro evaluate``: the network that validation chose, on the test split."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from neuro.cli.command import Command
from neuro.cli.console import log_file, say, table
from neuro.cli.run import Run, add_run, given_run
from neuro.files import atomic_write

if TYPE_CHECKING:
    from neuro.training.evaluate import EvaluationResult

__all__ = ["command"]


def _run(arguments: argparse.Namespace) -> int:
    run, config = given_run(arguments)
    from neuro.cli.assembly import load_run
    from neuro.training.evaluate import evaluate

    with log_file(run.log):
        data, net = load_run(run, config)
        found = evaluate(net, data, "test", config.loss)
        _write_arrays(run, found)
        told = {"per_class": _per_class(found), "selected_on": config.select_on}
        run.write(run.evaluation, found.summary() | told)
    _show(found, config.select_on)
    say(f"{run.evaluation}, {run.arrays}")
    return 0


def _per_class(found: EvaluationResult) -> list[dict[str, Any]]:
    counts = found.confusion.sum(1).tolist()
    right = found.confusion.diagonal().tolist()
    return [
        {"class": name, "samples": n, "accuracy": k / n if n else None}
        for name, n, k in zip(found.classes, counts, right, strict=True)
    ]


def _write_arrays(run: Run, found: EvaluationResult) -> None:
    import numpy as np

    with atomic_write(run.arrays) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            labels=found.labels.numpy(),
            predicted=found.predicted.numpy(),
            logits=found.logits.numpy(),
            confusion=found.confusion.numpy(),
        )


def _show(found: EvaluationResult, selected_on: str) -> None:
    label = (
        ""
        if selected_on == "validation"
        else ", test-selected: the epoch was chosen on these samples, too good to report"
    )
    say(f"test accuracy {100 * found.accuracy:.2f} % of {found.samples} samples{label}\n")
    rows = [
        [row["class"], _percent(row["accuracy"]), row["samples"], *(n or "" for n in counts)]
        for row, counts in zip(_per_class(found), found.confusion.tolist(), strict=True)
    ]
    say(table(["class", "right", "samples", *(f"-> {name}" for name in found.classes)], rows))
    say()
    cells = [
        [c.name, c.kind, c.neurons, f"{c.spikes:.1f}" if c.spiking else "-", f"{c.rate_hz:.1f}" if c.spiking else "-"]
        for c in found.cells
    ]
    say(table(["cells", "", "neurons", "spikes per sample", "spikes per neuron and s"], cells))
    say()
    synapses = [[s.name, s.kind, f"{s.events:.1f}", f"{s.synops:,.0f}", f"{s.macs:,.0f}"] for s in found.synapses]
    total = ["total", "", "", f"{found.synops:,.0f}", f"{found.macs:,.0f}"]
    say(table(["synapses", "", "events per sample", "synaptic operations", "dense operations"], [*synapses, total]))
    say()


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


command = Command(
    name="evaluate",
    summary="measure the network of a run on the test split",
    description=(
        "Run the weights that the validation split chose on the test split. Prints accuracy, accuracy per class with the\n"
        "confusion matrix (rows: true class), spike rates and synaptic operations per layer; writes evaluation.json and\n"
        "evaluation.npz (labels, predicted, logits, confusion) into the run folder."
    ),
    examples=(("neuro evaluate runs/demo", "writes runs/demo/evaluation.json"),),
    add_arguments=add_run,
    run=_run,
)
