"""Figures about the whole run: learning, confusion, work done, time constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from neuro.report.content import Curves, FloatArray, IntArray, TimeConstants
from neuro.report.formatting import layer_title, short
from neuro.report.style import (
    CORRECT,
    INK,
    MUTED,
    OFF,
    ON,
    ON_FILL,
    WIDTH,
    WRONG,
    bare,
    blank,
    figure,
    layer_colour,
    styled,
)

if TYPE_CHECKING:
    from neuro.training.activity import CellActivity, SynapseActivity

__all__ = ["confusion_matrix", "learning_curves", "time_constants", "work_per_layer"]

_COUNTS_UP_TO = 50  # classes: beyond it the numbers in a confusion matrix cannot be read


@styled
def learning_curves(curves: Curves) -> Figure:
    """Loss and accuracy of train and validation over the epochs, the selected epoch marked."""
    drawn = figure(3.3)
    left, right = drawn.subplots(1, 2)
    _curve_pair(left, curves, curves.train_loss, curves.validation_loss, "Loss")
    _curve_pair(right, curves, 100 * curves.train_accuracy, 100 * curves.validation_accuracy, "Accuracy (%)")
    finite = np.isfinite(curves.validation_accuracy) | np.isfinite(curves.train_accuracy)
    if finite.any():
        right.set_ylim(top=min(100.5, right.get_ylim()[1]))
    return drawn


def _curve_pair(axes: Axes, curves: Curves, train: FloatArray, validation: FloatArray, title: str) -> None:
    axes.set_title(title)
    if not (np.isfinite(train).any() or np.isfinite(validation).any()):
        blank(axes, "no finite values were recorded")
        return
    marker = "o" if curves.epoch.size <= 30 else ""
    for values, colour, name in ((train, MUTED, "train"), (validation, ON, "validation")):
        if np.isfinite(values).any():
            axes.plot(curves.epoch, values, color=colour, marker=marker, markersize=3, label=name)
    _mark_best(axes, curves, validation if np.isfinite(validation).any() else train)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if curves.epoch.size == 1:
        axes.set_xlim(curves.epoch[0] - 0.5, curves.epoch[0] + 0.5)
    axes.grid(axis="y")
    axes.legend(loc="best")


def _mark_best(axes: Axes, curves: Curves, values: FloatArray) -> None:
    where = np.flatnonzero(curves.epoch == curves.best_epoch)
    if not where.size or not np.isfinite(values[where[0]]):
        return
    axes.axvline(float(curves.epoch[where[0]]), color=OFF, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.plot(
        curves.epoch[where[0]],
        values[where[0]],
        "o",
        color=OFF,
        markersize=6,
        label=f"selected: epoch {curves.best_epoch}",
    )


@styled
def confusion_matrix(counts: IntArray, classes: Sequence[str]) -> Figure:
    """Counts [C, C] of true class (rows) against predicted class (columns), and each row's recall.

    Right answers are blue, shaded by the row's recall; wrong ones orange, shaded against the
    most frequent mistake, so that one confusion among thousands of hits is still seen.
    """
    names = [name if len(name) <= 16 else name[:15] + "…" for name in classes]
    size = float(np.clip(260 / len(names), 5.5, 9))
    longest = max(map(len, names))
    turned = longest > 3
    span = 0.62 / 72 * size * longest  # inches of the longest name
    left, below, above, wide = 0.5 + span, 0.45 + (span if turned else 0.1), 0.3, 2.4
    side = float(np.clip(0.56 * len(names), 2.2, WIDTH - left - wide - 0.2))
    height = side + below + above
    drawn = Figure(figsize=(WIDTH, height))
    axes = drawn.add_axes((left / WIDTH, below / height, side / WIDTH, side / height))
    recall = drawn.add_axes(((left + side + 0.15) / WIDTH, below / height, wide / WIDTH, side / height))
    axes.imshow(_confusion_colours(counts), interpolation="nearest", aspect="auto")
    _confusion_ticks(axes, names, size, turned=turned)
    _confusion_counts(axes, counts)
    _recall(recall, counts)
    return drawn


def _confusion_counts(axes: Axes, counts: IntArray) -> None:
    number = len(counts)
    if number > _COUNTS_UP_TO:
        return
    size = float(np.clip(150 / number, 5, 9.5))
    for row, column in zip(*np.nonzero(counts), strict=True):
        dark = row == column and counts[row, column] > 0.55 * counts[row].sum()
        text, colour = f"{counts[row, column]}", "#ffffff" if dark else ON_FILL
        axes.text(float(column), float(row), text, ha="center", va="center", fontsize=size, color=colour)


def _recall(axes: Axes, counts: IntArray) -> None:
    """Bars level with the matrix's rows: the share of each class that is found."""
    rows = np.arange(len(counts))
    totals = counts.sum(axis=1)
    share = np.where(totals > 0, 100 * np.diag(counts) / np.maximum(totals, 1), np.nan)
    axes.barh(rows, np.nan_to_num(share), height=0.6, color=CORRECT)
    axes.barh(rows, 100 - np.nan_to_num(share, nan=100.0), left=np.nan_to_num(share), height=0.6, color=WRONG)
    if len(counts) <= _COUNTS_UP_TO:
        for row, value in zip(rows, share, strict=True):
            text = "no samples" if np.isnan(value) else f"{value:.1f} %"
            axes.text(104, float(row), text, va="center", fontsize=float(np.clip(240 / len(rows), 5, 8)))
    axes.set_title("recall", fontsize=9)
    axes.set_ylim(len(counts) - 0.5, -0.5)
    axes.set_xlim(0, 140)
    bare(axes)


def _confusion_colours(counts: IntArray) -> FloatArray:
    """RGBA [C, C, 4]: blue hits and orange mistakes on a transparent ground."""
    hits = np.eye(len(counts), dtype=bool)
    recall = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    worst = max(int(np.where(hits, 0, counts).max(initial=0)), 3)
    strength = np.where(hits, 0.25 + 0.75 * recall, 0.25 + 0.6 * counts / worst)
    colours = np.where(hits[..., None], _rgb(CORRECT), _rgb(WRONG))
    mixed = 1 - strength[..., None] * (1 - colours)  # tinted with white: text stays readable on dark pages
    return np.concatenate([mixed, np.where(counts > 0, 1.0, 0.0)[..., None]], axis=-1)


def _rgb(colour: str) -> FloatArray:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def _confusion_ticks(axes: Axes, names: Sequence[str], size: float, *, turned: bool) -> None:
    number = len(names)
    places = range(0, number, max(1, number // 40))
    axes.set_xticks(places, [names[i] for i in places], rotation=90 if turned else 0, fontsize=size)
    axes.set_yticks(places, [names[i] for i in places], fontsize=size)
    axes.set_xticks(np.arange(number + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(number + 1) - 0.5, minor=True)
    axes.grid(which="minor")
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    for spine in axes.spines.values():
        spine.set_visible(False)


@styled
def work_per_layer(cells: Sequence[CellActivity], synapses: Sequence[SynapseActivity]) -> Figure:
    """Firing rate of every layer of neurons beside the operations of every layer of synapses."""
    drawn = figure(1.0 + 0.55 * max(len(cells), len(synapses), 1))
    left, right = drawn.subplots(1, 2)
    left.set_title("Firing rate (spikes per neuron and second)")
    right.set_title("Operations per sample")
    spiking = [cell for cell in cells if cell.spiking]
    rates = np.array([cell.rate_hz for cell in spiking], dtype=float)
    _bars(left, np.arange(len(spiking)), rates, 0.55, [layer_colour(i) for i in range(len(spiking))])
    rows = np.arange(len(synapses))
    done = np.array([layer.synops for layer in synapses], dtype=float)
    dense = np.array([layer.macs for layer in synapses], dtype=float)
    _bars(right, rows - 0.19, done, 0.34, ON, "synaptic: spikes × fan-out")
    _bars(right, rows + 0.19, dense, 0.34, MUTED, "dense multiply-accumulates")
    right.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2)
    _rows(left, [layer_title(cell.name) for cell in spiking], "no spiking layer")
    _rows(right, [layer_title(layer.name) for layer in synapses], "no layer with weights")
    return drawn


def _rows(axes: Axes, names: Sequence[str], nothing: str) -> None:
    if not names:
        blank(axes, nothing)
        return
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.tick_params(left=False, bottom=False, labelbottom=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_xlim(0, 1.18 * max(axes.dataLim.x1, 1e-12))


def _bars(
    axes: Axes, rows: FloatArray | IntArray, values: FloatArray, height: float, colour: str | list[str], label: str = ""
) -> None:
    known = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    axes.barh(rows, known, height=height, color=colour, label=label)
    for row, value, length in zip(rows, values, known, strict=True):
        axes.annotate(
            short(value), (length, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8, color=INK
        )


@styled
def time_constants(groups: Sequence[TimeConstants]) -> Figure:
    """A histogram in milliseconds of each layer's time constants, with the value they began at."""
    columns = min(max(len(groups), 1), 3)
    rows = -(-max(len(groups), 1) // columns)
    drawn = figure(2.5 * rows)
    grid = drawn.subplots(rows, columns, squeeze=False).ravel()
    for position, axes in enumerate(grid):
        if position < len(groups):
            _histogram(axes, groups[position], layer_colour(position))
        else:
            bare(axes)
    return drawn


def _histogram(axes: Axes, group: TimeConstants, colour: str) -> None:
    values = 1e3 * np.asarray(group.values, dtype=float)
    values = values[np.isfinite(values)]
    axes.set_title(f"{layer_title(group.layer)}: {group.name} of {values.size} neuron{'s' * (values.size != 1)}")
    if not values.size:
        blank(axes, "no finite values")
        return
    start = [] if group.initial is None else [1e3 * group.initial]
    low, high = min([values.min(), *start]), max([values.max(), *start])
    pad = max(0.05 * (high - low), 0.02 * abs(high), 1e-6)
    edges = np.linspace(low - pad, high + pad, int(np.clip(values.size / 3, 8, 28)))
    axes.hist(values, bins=list(edges), color=colour, rwidth=0.9)
    for value in start:
        axes.axvline(value, color=INK, linewidth=1, linestyle=(0, (4, 3)), label=f"initial: {value:.3g} ms")
    median = float(np.median(values))
    axes.axvline(median, color=MUTED, linewidth=1, label=f"median: {median:.3g} ms")
    axes.set_xlabel(f"{group.name} (ms)")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.margins(y=0.35)
    axes.legend(loc="upper right", handlelength=1.4)
