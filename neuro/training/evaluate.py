"""A trained network measured on one split."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neuro.errors import unknown_name
from neuro.training.activity import ActivityCounter, CellActivity, SynapseActivity
from neuro.training.batches import Splits, batches
from neuro.training.losses import Loss, choose_loss
from neuro.training.metrics import accuracy, confusion_matrix

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["SPLITS", "EvaluationResult", "evaluate"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What a network did on one split; plain numbers, ready for files and pictures.

    Args:
        data: name of the data set.
        split: "train", "validation" or "test".
        samples: how many were run.
        accuracy: share of right predictions.
        loss: mean loss per sample.
        loss_name: which loss; its readout made the predictions.
        classes: name of each class.
        confusion: ``[classes, classes]`` int64 counts, row = true class, column = predicted.
        logits: ``[samples, classes]`` readout of the output, in the order of the split.
        predicted: ``[samples]`` int64, the class of the largest logit.
        labels: ``[samples]`` int64.
        cells: spikes and rates of each layer of neurons.
        synapses: events and operations of each layer of synapses.
    """

    data: str
    split: str
    samples: int
    accuracy: float
    loss: float
    loss_name: str
    classes: tuple[str, ...]
    confusion: Tensor = field(repr=False)
    logits: Tensor = field(repr=False)
    predicted: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    cells: tuple[CellActivity, ...] = field(repr=False)
    synapses: tuple[SynapseActivity, ...] = field(repr=False)

    @property
    def synops(self) -> float:
        """Synaptic operations of the whole network per sample."""
        return sum(row.synops for row in self.synapses)

    @property
    def macs(self) -> float:
        """Multiply-accumulates of a dense network of the same shape per sample."""
        return sum(row.macs for row in self.synapses)

    def summary(self) -> dict[str, Any]:
        """Everything but the per-sample arrays, JSON-able."""
        plain = {name: getattr(self, name) for name in ("data", "split", "samples", "accuracy", "loss", "loss_name")}
        return plain | {
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
            "cells": [asdict(row) for row in self.cells],
            "synapses": [asdict(row) for row in self.synapses],
            "synops": self.synops,
            "macs": self.macs,
        }


@torch.no_grad()
def evaluate(
    net: Network, data: Splits, split: str = "test", loss: str | Loss = "spike_count", *, batch_size: int = 128
) -> EvaluationResult:
    """Run every sample of a split and measure accuracy, loss, spikes and synaptic operations.

    Args:
        net: the network, on the device it should run on.
        data: the splits.
        split: "train", "validation" or "test".
        loss: the loss the network was trained with; its readout makes the prediction.
        batch_size: samples run at once; changes memory, not results.

    Raises:
        InputError: unknown split or loss, an empty split, classes that do not fit the output.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    chosen, counter, like = choose_loss(loss), ActivityCounter(net), next(net.parameters())
    total, scores, labels = 0.0, [], []
    with counter.watch():
        for x, y, *lengths in batches(getattr(data, split), batch_size, like=like):
            output, _ = net(x.to(like))
            target, judge = y.to(like.device), chosen.within(*lengths) if lengths else chosen
            total += float(judge(output, target)) * len(y)
            scores.append(judge.logits(output).cpu())
            labels.append(y.cpu())
    logits, truth = torch.cat(scores), torch.cat(labels)
    predicted = logits.argmax(1)
    return EvaluationResult(
        data=data.name,
        split=split,
        samples=len(truth),
        accuracy=accuracy(predicted, truth),
        loss=total / len(truth),
        loss_name=chosen.name,
        classes=tuple(data.classes),
        confusion=confusion_matrix(predicted, truth, len(data.classes)),
        logits=logits,
        predicted=predicted,
        labels=truth,
        cells=counter.cells(),
        synapses=counter.synapses(),
    )
