"""``neuro evaluate``: the network that validation chose, on the test split."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from neuro.cli.command import Command, Parser
from neuro.cli.config import TrainConfig
from neuro.cli.console import log_file, say, table
from neuro.cli.run import Run, open_run
from neuro.files import atomic_write

if TYPE_CHECKING:
    from torch import Tensor

    import neuro
    from neuro.datasets import FrameDataset
    from neuro.training.activity import CellActivity, SynapseActivity

__all__ = ["Evaluation", "command", "measure"]


@dataclass(frozen=True)
class Evaluation:
    """What a network did on one split of S samples and C classes.

    Args:
        labels: true classes ``[S]``.
        predicted: predicted classes ``[S]``.
        logits: readout of the output ``[S, C]``.
        confusion: counts ``[C, C]``, row = true class.
        cells: activity of every layer of neurons.
        synapses: work of every layer of synapses.
    """

    labels: Tensor
    predicted: Tensor
    logits: Tensor
    confusion: Tensor
    cells: tuple[CellActivity, ...]
    synapses: tuple[SynapseActivity, ...]

    @property
    def accuracy(self) -> float:
        """Share of right predictions."""
        return int(self.confusion.trace()) / len(self.labels)


def measure(net: neuro.Sequential, split: FrameDataset, loss: str, *, classes: int, batch_size: int) -> Evaluation:
    """Run ``net`` on every sample of ``split``, frames ``[T, B, ...]`` a batch, without gradients.

    Args:
        net: the network.
        split: frames and labels.
        loss: name of the loss whose readout makes the prediction.
        classes: number of classes C.
        batch_size: samples at once; it changes nothing but memory.
    """
    import torch

    from neuro.training.activity import ActivityCounter
    from neuro.training.batches import batches
    from neuro.training.losses import choose_loss
    from neuro.training.metrics import confusion_matrix

    counter = ActivityCounter(net)
    read = choose_loss(loss).logits
    logits, labels = [], []
    with torch.no_grad(), counter.watch():
        for x, y in batches(split, batch_size, like=next(net.parameters())):
            logits.append(read(net(x)[0]).cpu())
            labels.append(y.cpu())
    scores, truth = torch.cat(logits), torch.cat(labels)
    predicted = scores.argmax(1)
    confusion = confusion_matrix(predicted, truth, classes)
    return Evaluation(truth, predicted, scores, confusion, counter.cells(), counter.synapses())


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="folder of a run, as neuro train makes it")


def _run(arguments: argparse.Namespace) -> int:
    run = open_run(arguments.run)
    config = run.load_config()
    run.check_weights()
    from neuro.cli.assembly import load_run

    with log_file(run.log):
        data, net = load_run(run, config)
        found = measure(net, data.test, config.loss, classes=len(data.classes), batch_size=config.batch_size)
        content = _content(config, found, data.classes)
        _write_arrays(run, found)
        run.write(run.evaluation, content)
    _show(found, content)
    say(f"{run.evaluation}, {run.arrays}")
    return 0


def _content(config: TrainConfig, found: Evaluation, classes: tuple[str, ...]) -> dict[str, Any]:
    counts = found.confusion.sum(1).tolist()
    right = found.confusion.diagonal().tolist()
    return {
        "dataset": config.dataset,
        "split": "test",
        "samples": len(found.labels),
        "accuracy": found.accuracy,
        "classes": list(classes),
        "per_class": [
            {"class": name, "samples": n, "accuracy": k / n if n else None}
            for name, n, k in zip(classes, counts, right, strict=True)
        ],
        "confusion": found.confusion.tolist(),
        "cells": [asdict(cell) for cell in found.cells],
        "synapses": [asdict(synapse) for synapse in found.synapses],
    }


def _write_arrays(run: Run, found: Evaluation) -> None:
    import numpy as np

    with atomic_write(run.arrays) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            labels=found.labels.numpy(),
            predicted=found.predicted.numpy(),
            logits=found.logits.numpy(),
            confusion=found.confusion.numpy(),
        )


def _show(found: Evaluation, content: dict[str, Any]) -> None:
    say(f"test accuracy {100 * found.accuracy:.2f} % of {content['samples']} samples\n")
    classes = content["classes"]
    rows = [
        [row["class"], _percent(row["accuracy"]), row["samples"], *(n or "" for n in counts)]
        for row, counts in zip(content["per_class"], content["confusion"], strict=True)
    ]
    say(table(["class", "right", "samples", *(f"-> {name}" for name in classes)], rows))
    say()
    cells = [
        [c.name, c.kind, c.neurons, f"{c.spikes:.1f}" if c.spiking else "-", f"{c.rate_hz:.1f}" if c.spiking else "-"]
        for c in found.cells
    ]
    say(table(["cells", "", "neurons", "spikes per sample", "spikes per neuron and s"], cells))
    say()
    synapses = [[s.name, s.kind, f"{s.events:.1f}", f"{s.synops:,.0f}", f"{s.macs:,.0f}"] for s in found.synapses]
    say(table(["synapses", "", "events per sample", "synaptic operations", "dense operations"], synapses))
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
    add_arguments=_add_arguments,
    run=_run,
)
