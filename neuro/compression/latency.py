"""Fewer time steps: train with many, then with ever fewer, each time from the weights before."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from neuro.errors import InputError
from neuro.files import atomic_write
from neuro.training.batches import Splits
from neuro.training.evaluate import EvaluationResult, evaluate
from neuro.training.fit import fit
from neuro.training.recipe import Recipe

if TYPE_CHECKING:
    from neuro.network import Network

__all__ = ["LatencyStage", "first_steps", "reduce_latency"]


@dataclass(frozen=True)
class LatencyStage:
    """One number of steps: how well the weights of the stage before did with it, and how well they do now.

    Args:
        steps: T of this stage.
        start_accuracy: on validation, before any training of this stage.
        accuracy: on validation, of the epoch that it chose.
        best_epoch: that epoch, from 1.
        lowest_rate: spikes per neuron and step of the quietest layer, after training.
    """

    steps: int
    start_accuracy: float
    accuracy: float
    best_epoch: int
    lowest_rate: float


class _First:
    """A split whose samples end early."""

    def __init__(self, whole: Any, steps: int) -> None:
        self._whole, self._steps = whole, steps
        if callable(getattr(whole, "tensors", None)):
            self.tensors = self._tensors
        if (held := getattr(whole, "nbytes", None)) is not None:
            self.nbytes = held  # at most

    def __len__(self) -> int:
        return len(self._whole)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        frames, label = self._whole[i]
        return self._cut(frames, len(frames)), label

    def _tensors(self) -> tuple[Tensor, Tensor]:
        """``[T, S, ...]`` and ``[S]``."""
        x, y = self._whole.tensors()
        return self._cut(x, len(x)), y

    def _cut(self, frames: Any, held: int) -> Any:
        if held < self._steps:
            raise InputError(f"samples have {held} steps, fewer than the {self._steps} asked for; make longer ones")
        return frames[: self._steps]


@dataclass(frozen=True)
class _Shortened:
    """Splits that end early."""

    whole: Splits
    steps: int

    @property
    def name(self) -> str:
        return self.whole.name

    @property
    def classes(self) -> tuple[str, ...]:
        return self.whole.classes

    @property
    def train(self) -> _First:
        return _First(self.whole.train, self.steps)

    @property
    def validation(self) -> _First:
        return _First(self.whole.validation, self.steps)

    @property
    def test(self) -> _First:
        return _First(self.whole.test, self.steps)


def first_steps(data: Splits, steps: int) -> Splits:
    """The same data, of each sample only the first ``steps`` steps.

    Right for what is constant over time (a picture shown for T steps); recordings are better binned anew.

    Raises:
        InputError: steps that are not a whole number from 1 on; later, samples that are shorter.

    >>> from types import SimpleNamespace as Data
    >>> import torch
    >>> part = [(torch.zeros(5, 3), 1)]
    >>> data = Data(name="d", classes=("a", "b"), train=part, validation=part, test=part)
    >>> first_steps(data, 2).train[0][0].shape
    torch.Size([2, 3])
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InputError(f"steps={steps!r} must be a whole number, at least 1")
    return _Shortened(data, steps)


def reduce_latency(
    net: Network,
    data: Splits | Callable[[int], Splits],
    steps: Sequence[int] = (5, 4, 3, 2, 1),
    *,
    least_rate: float = 1e-3,
    output: str | Path | None = None,
    resume: bool = False,
    **options: Any,
) -> tuple[LatencyStage, ...]:
    """Train ``net`` in place with T steps, then again with each smaller T, starting from the weights of the stage before.

    Trained at T = 1 from the start, spikes vanish on the way through a deep network: a membrane needs several steps to
    the threshold. From a network that works with T + 1 steps, one with T is close by. Let the cells learn their
    thresholds and time constants too (``learn=("tau", "v_threshold")``). At T = 1 no membrane is left from before: the
    network is one of binary activations ``H(W x - v_threshold)``, read once. Chowdhury, Rathi & Roy 2021, "One timestep is all you
    need: training spiking neural networks with ultra low latency" (IIR-SNN, algorithm 1).

    Args:
        net: the network; a converted one (:func:`convert`, with a LIF as ``cell``) is the paper's start.
        data: splits, of which each stage reads the :func:`first_steps`; or a function that makes those of T steps.
        steps: T of each stage, falling.
        least_rate: spikes per neuron and step that every layer must have before the next stage.
        output: folder; each stage is a run in ``output/steps-T``, and ``output/stages.csv`` has a row for each.
        resume: go on with the stages in ``output``; those that are finished are not trained again.
        **options: of :func:`neuro.fit`, for every stage. Weights are scaled on data (``calibrated=False``) at the first only.

    Returns:
        A row for each stage.

    Raises:
        InputError: steps that do not fall, or what :func:`neuro.fit` refuses; a layer fell silent.
    """
    _check(steps, least_rate, options)
    if resume and output is None:
        raise InputError("resume=True needs the output folder of the stages to go on from")
    source = data if callable(data) else lambda count: first_steps(data, count)
    loss, rows = options.get("loss", Recipe.loss), []
    for stage, count in enumerate(steps):
        here, folder = source(count), None if output is None else Path(output) / f"steps-{count}"
        before = evaluate(net, here, "validation", loss).accuracy
        again = resume and folder is not None and folder.is_dir()
        options = options | {"calibrated": options.get("calibrated", False) or stage > 0}
        result = fit(net, here, output=folder, resume=again, **options)
        after = evaluate(net, here, "validation", loss)
        quiet, rate = _quietest(after)
        rows.append(LatencyStage(count, before, result.validation_accuracy, result.best_epoch, rate))
        if output is not None:
            _write(Path(output) / "stages.csv", rows)
        if rate < least_rate:
            raise InputError(
                f"after training with {count} steps layer {quiet!r} has {rate:.2g} spikes per neuron and step, below "
                f"least_rate={least_rate:g}; reduce steps more slowly, train longer, or let its threshold learn"
            )
    return tuple(rows)


def _check(steps: Sequence[int], least_rate: float, options: Mapping[str, Any]) -> None:
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in steps)
    if not steps or not whole or any(b >= a for a, b in pairwise(steps)):
        raise InputError(f"steps={tuple(steps)} must be whole numbers from 1 on, each smaller than the one before")
    if not least_rate >= 0:
        raise InputError(f"least_rate={least_rate!r} must be at least 0")
    if "overwrite" in options:
        raise InputError("overwrite is not taken here, there are several runs; name another output folder")


def _quietest(seen: EvaluationResult) -> tuple[str, float]:
    """The spiking layer of the lowest rate; a network without one has nothing that could fall silent."""
    rates = [(cell.rate, cell.name) for cell in seen.cells if cell.spiking]
    rate, name = min(rates, default=(float("inf"), ""))
    return name, rate


def _write(path: Path, rows: Sequence[LatencyStage]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(asdict(rows[0])))
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
