"""Figures of single samples: event frames, spike rasters, membranes, mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from neuro.report.content import FloatArray, IntArray, Layer, Recording, Sample
from neuro.report.formatting import layer_title
from neuro.report.style import (
    FAINT,
    INK,
    MUTED,
    OFF,
    ON,
    WIDTH,
    WRONG,
    bare,
    blank,
    figure,
    layer_colour,
    styled,
)

__all__ = [
    "bands",
    "event_bands",
    "event_frames",
    "membranes",
    "mistakes",
    "pictures",
    "shows_pictures",
    "spike_raster",
]

_BLUE = (0.0, 0.447, 0.698)  # ON
_ORANGE = (0.835, 0.369, 0.0)  # OFF
_GREY = (0.40, 0.44, 0.48)


def _polarities(counts: FloatArray, ceiling: float) -> FloatArray:
    """RGBA [H, W, 4] of event counts [P, H, W]: blue ON, orange OFF, transparent where silent.

    The polarity order is Tonic's: channel 0 is OFF, channel 1 is ON; one channel is drawn as ON.
    """
    on = counts[-1]
    off = counts[0] if len(counts) > 1 else np.zeros_like(on)
    share = (on / np.maximum(on + off, 1e-9))[..., None]
    colour = share * np.array(_BLUE) + (1 - share) * np.array(_ORANGE)
    alpha = np.where(on + off > 0, 0.35 + 0.65 * np.clip((on + off) / ceiling, 0, 1), 0.0)
    return np.concatenate([colour, alpha[..., None]], axis=-1)


def _ceiling(counts: FloatArray) -> float:
    """The event count of [K, P, H, W] that is drawn in full colour."""
    totals = counts.sum(axis=1)
    return float(np.quantile(totals[totals > 0], 0.98)) if totals.any() else 1.0


def _density(counts: FloatArray) -> FloatArray:
    """RGBA [H, W, 4] of event counts [P, H, W] of both polarities together: the darker, the more.

    Over a whole recording every edge passes with both polarities, so that their colours say nothing.
    """
    total = counts.sum(axis=0)
    grey = np.broadcast_to(_GREY, (*total.shape, 3))
    return np.concatenate([grey, (total / max(float(total.max()), 1.0))[..., None]], axis=-1)


def _tile(axes: Axes, pixels: FloatArray) -> None:
    """Show RGBA [H, W, 4] as squares."""
    scale = max(1, 96 // max(pixels.shape[:2]))
    axes.imshow(np.repeat(np.repeat(pixels, scale, axis=0), scale, axis=1), interpolation="none")
    bare(axes)
    for spine in axes.spines.values():
        spine.set(visible=True, color=FAINT)


@styled
def event_frames(samples: Sequence[Sample], dt: float, slices: int = 6) -> Figure:
    """Samples as rows: events summed over ``slices`` equal spans of time, then over all of it.

    ``dt`` is the duration of one step in seconds.
    """
    steps, polarities, height, width = samples[0].frames.shape
    edges = np.linspace(0, steps, min(slices, steps) + 1).round().astype(int)
    sliced = [np.add.reduceat(sample.frames, edges[:-1], axis=0) for sample in samples]
    columns, left, gap, top = edges.size, 1.35, 0.1, 0.58
    tile = min((WIDTH - left) / columns - gap, 1.9)
    row = max(tile * height / width, 0.75) + gap
    drawn = Figure(figsize=(WIDTH, top + row * len(samples)))

    def place(line: int, column: int, across: float, down: float) -> Axes:
        """Axes of a size in inches, in a row and a column of the grid."""
        x, y = left + column * (tile + gap), top + line * row
        total = top + row * len(samples)
        return drawn.add_axes((x / WIDTH, 1 - (y + down) / total, across / WIDTH, down / total))

    for line, (sample, parts) in enumerate(zip(samples, sliced, strict=True)):
        _name_sample(drawn, sample, 1 - (top + line * row) / drawn.get_figheight())
        together, ceiling = sample.frames.sum(axis=0), _ceiling(parts)
        for column, counts in enumerate([*parts, together]):
            axes = place(line, column, tile, tile * height / width)
            _tile(axes, _density(counts) if counts is together else _polarities(counts, ceiling))
            if line == 0:
                axes.set_title(_span(edges, column, dt), loc="center", fontsize=8, pad=4)
    entries = [("ON: brighter", ON), ("OFF: darker", OFF)] if polarities > 1 else [("event", ON)]
    drawn.legend(
        handles=[Patch(color=colour, label=name) for name, colour in entries],
        loc="upper right", bbox_to_anchor=(1, 1), ncols=2, handlelength=0.9, borderaxespad=0,
    )  # fmt: skip
    return drawn


def shows_pictures(sample: Sample) -> bool:
    """Whether a sample is a picture: one channel of pixels whose current is the same in every step."""
    first = sample.frames[:1]
    return sample.frames.shape[1] == 1 and bool(first.any()) and bool((sample.frames == first).all())


@styled
def pictures(samples: Sequence[Sample]) -> Figure:
    """Samples that are constant currents, side by side: the darker, the more current."""
    _, _, height, width = samples[0].frames.shape
    tile = min(WIDTH / len(samples), 1.9)
    drawn = figure(0.5 + tile * height / width)
    for axes, sample in zip(drawn.subplots(1, len(samples), squeeze=False)[0], samples, strict=True):
        _tile(axes, _density(sample.frames[0]))
        verdict = "✓" if sample.label == sample.predicted else "✗"
        axes.set_title(f"true {sample.label}, {verdict} {sample.predicted}", fontsize=8)
        axes.set_xlabel(f"test sample {sample.index}", fontsize=7.5)
    return drawn


def bands(sample: Sample) -> Sample:
    """A sample of a sensor of one row as one picture: time to the right, the first channel at the bottom."""
    picture = sample.frames.sum(axis=(1, 2)).T[::-1]
    return replace(sample, frames=picture[None, None])


@styled
def event_bands(samples: Sequence[Sample], dt: float) -> Figure:
    """Samples of a sensor of one row, below each other: time in steps of ``dt`` seconds to the right, channels upwards."""
    drawn = figure(0.4 + 1.2 * len(samples))
    rows = drawn.subplots(len(samples), 1, squeeze=False, sharex=True)[:, 0]
    for axes, sample in zip(rows, samples, strict=True):
        steps, _, _, channels = sample.frames.shape
        axes.imshow(
            _density(bands(sample).frames[0]),
            aspect="auto",
            interpolation="nearest",
            extent=(0, 1e3 * dt * steps, 0, channels),
        )
        verdict = "✓" if sample.label == sample.predicted else "✗"
        axes.set_title(
            f"true {sample.label}, {verdict} predicted {sample.predicted}, test sample {sample.index}", loc="left"
        )
        axes.set_ylabel("channel")
    rows[-1].set_xlabel("time (ms)")
    return drawn


def _span(edges: IntArray, column: int, dt: float) -> str:
    if column == edges.size - 1:
        return "all events"
    return f"{1e3 * dt * edges[column]:.0f}–{1e3 * dt * edges[column + 1]:.0f} ms"


def _name_sample(drawn: Figure, sample: Sample, top: float) -> None:
    """Write what a row shows at its left, from ``top`` (a fraction of the figure's height) down."""
    right = sample.label == sample.predicted
    lines = (
        (0.24, f"true  {sample.label}", 10.0, INK),
        (0.47, f"{'✓' if right else '✗'} predicted  {sample.predicted}", 8.5, ON if right else WRONG),
        (0.67, f"test sample {sample.index}", 7.5, MUTED),
    )
    for down, text, size, colour in lines:
        drawn.text(0.004, top - down / drawn.get_figheight(), text, fontsize=size, color=colour)


@styled
def spike_raster(recording: Recording) -> Figure:
    """Every spike of one sample: the input events, then each spiking layer, over one time axis.

    Beside each panel stand the spikes of every neuron; the output's rows are the classes.
    """
    frames = recording.sample.frames
    spiking = [layer for layer in recording.layers if layer.threshold is not None]
    sizes = [int(np.prod(frames.shape[1:])), *(layer.neurons for layer in spiking)]
    heights = [float(np.clip(0.45 * np.sqrt(size) / 2, 1.05, 2.6)) for size in sizes]
    drawn = figure(0.6 + sum(heights) + 0.25 * len(heights))
    grid = drawn.subplots(len(heights), 2, squeeze=False, height_ratios=heights, width_ratios=[6, 1])
    _input_panel(grid[0], recording)
    for position, (pair, layer) in enumerate(zip(grid[1:], spiking, strict=True)):
        last = layer is recording.layers[-1] and layer.neurons == len(recording.classes)
        _layer_panel(pair, layer, layer_colour(position), recording, classes=last)
    for axes in grid[:, 0]:
        axes.set_xlim(0, 1e3 * recording.dt * frames.shape[0])
        axes.tick_params(labelbottom=axes is grid[-1, 0])
    grid[-1, 0].set_xlabel("time (ms)")
    grid[-1, 1].set_xlabel("spikes per neuron")
    return drawn


def _input_panel(pair: Sequence[Axes], recording: Recording) -> None:
    frames, dt = recording.sample.frames, recording.dt
    events = frames.reshape(frames.shape[0], frames.shape[1], -1)
    pixels = events.shape[2]
    kinds = [(ON, 0, "event")] if frames.shape[1] == 1 else [(OFF, 0, "OFF"), (ON, 1, "ON")]
    for colour, channel, _ in kinds:
        _dots(pair[0], events[:, channel], dt, colour, channel * pixels)
    total = events.shape[1] * pixels
    what = "a constant current" if shows_pictures(recording.sample) else f"{events.sum():,.0f} events"
    pair[0].set_title(f"input: {total} channels, {what}")
    pair[0].set_ylabel("channel")
    if len(kinds) > 1:
        pair[0].set_yticks([pixels / 2, 1.5 * pixels], ["OFF", "ON"])
        pair[0].axhline(pixels - 0.5, color=FAINT, linewidth=0.7)
    _frame(pair, total)
    for colour, channel, _ in kinds:
        _side_bars(pair[1], events[:, channel].sum(axis=0), colour, channel * pixels)


def _layer_panel(pair: Sequence[Axes], layer: Layer, colour: str, recording: Recording, *, classes: bool) -> None:
    counts = layer.z.sum(axis=0)
    silent = int((counts == 0).sum())
    _dots(pair[0], layer.z, recording.dt, colour, 0)
    pair[0].set_title(
        f"{layer_title(layer.name)}: {layer.neurons} {layer.kind} neurons, {counts.sum():,.0f} spikes, {silent} silent"
    )
    pair[0].set_ylabel("class" if classes else "neuron")
    if classes and layer.neurons <= 20:
        pair[0].set_yticks(range(layer.neurons), list(recording.classes), fontsize=7)
    _frame(pair, layer.neurons)
    _side_bars(pair[1], counts, colour, 0)
    if not counts.any():
        pair[0].text(0.5, 0.5, "no spikes", transform=pair[0].transAxes, ha="center", va="center", color=MUTED)


def _frame(pair: Sequence[Axes], rows: int) -> None:
    for axes in pair:
        axes.set_ylim(rows - 0.5, -0.5)
    pair[1].tick_params(labelleft=False, left=False)


def _dots(axes: Axes, z: FloatArray, dt: float, colour: str, base: int) -> None:
    steps, neurons = np.nonzero(z)
    size = float(np.clip(3000 / max(z.shape[1], 1), 1.5, 22))
    axes.scatter(
        1e3 * dt * (steps + 0.5), neurons + base, s=size, marker="|" if z.shape[1] <= 40 else "s", color=colour,
        linewidths=1.3 if z.shape[1] <= 40 else 0, rasterized=steps.size > 400,
    )  # fmt: skip


def _side_bars(axes: Axes, counts: FloatArray, colour: str, base: int) -> None:
    axes.barh(np.arange(counts.size) + base, counts, height=1.0 if counts.size > 40 else 0.7, color=colour,
              rasterized=counts.size > 100)  # fmt: skip
    axes.set_xlim(0, max(axes.get_xlim()[1], 1.0, 1.05 * float(counts.max(initial=0))))


@styled
def membranes(recording: Recording, neurons: int = 3) -> Figure:
    """The membrane before reset of a few neurons per layer, with threshold and spikes.

    From the most active neuron of a layer to the least active one; for an output of one neuron
    per class, the classes with the highest membrane or most spikes.
    """
    drawn = figure(0.4 + 1.55 * len(recording.layers))
    columns = min(neurons, max(layer.neurons for layer in recording.layers))
    grid = drawn.subplots(len(recording.layers), columns, squeeze=False, sharex=True, sharey="row")
    for position, (row, layer) in enumerate(zip(grid, recording.layers, strict=True)):
        chosen = _choose(layer, columns)
        for axes, neuron in zip(row, chosen, strict=False):
            title = _neuron_name(layer, int(neuron), recording)
            _trace(axes, layer, int(neuron), recording.dt, layer_colour(position), title)
        for axes in row[len(chosen) :]:
            axes.set_visible(False)
        row[0].set_ylabel(f"{layer_title(layer.name)}\nmembrane v")
    for axes in grid[-1]:
        axes.set_xlabel("time (ms)")
    return drawn


def _choose(layer: Layer, number: int) -> IntArray:
    """Indices of the most, the middling and the least driven neurons of a layer, in that order."""
    drive = layer.z.sum(axis=0) + 1e-6 * np.nan_to_num(layer.v).max(axis=0)
    order = np.argsort(-drive, kind="stable")
    chosen: IntArray = order[np.unique(np.linspace(0, layer.neurons - 1, min(number, layer.neurons)).astype(int))]
    return chosen


def _neuron_name(layer: Layer, neuron: int, recording: Recording) -> str:
    if layer is recording.layers[-1] and layer.neurons == len(recording.classes):
        name = f"class {recording.classes[neuron]}"
    elif len(layer.shape) > 1:
        name = "neuron " + ", ".join(str(i) for i in np.unravel_index(neuron, layer.shape))
    else:
        name = f"neuron {neuron}"
    if layer.threshold is None:
        return name
    spikes = int(layer.z[:, neuron].sum())
    return f"{name}: {spikes} spike{'s' * (spikes != 1)}"


def _trace(axes: Axes, layer: Layer, neuron: int, dt: float, colour: str, title: str) -> None:
    time = 1e3 * dt * (np.arange(layer.v.shape[0]) + 0.5)
    axes.plot(time, layer.v[:, neuron], color=colour, linewidth=1.1)
    axes.set_title(title, fontsize=8.5, pad=8)
    axes.tick_params(labelleft=axes.get_subplotspec().is_first_col())  # type: ignore[union-attr]
    if layer.threshold is None:
        return
    height = float(layer.threshold[neuron])
    axes.axhline(height, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    fired = np.flatnonzero(layer.z[:, neuron])
    ticks = axes.plot(time[fired], np.ones(fired.size), "|", transform=axes.get_xaxis_transform(), color=INK)
    ticks[0].set(markersize=7, clip_on=False, in_layout=False)


@styled
def mistakes(samples: Sequence[Sample], classes: Sequence[str], columns: int = 4) -> Figure:
    """Wrongly classified samples: all their events, and the output's scores per class."""
    rows = -(-len(samples) // columns)
    drawn = figure(0.3 + 2.7 * rows)
    outer = drawn.add_gridspec(rows, columns)
    for position, sample in enumerate(samples):
        inner = outer[position // columns, position % columns].subgridspec(2, 1, height_ratios=[3, 1])
        top, bottom = drawn.add_subplot(inner[0]), drawn.add_subplot(inner[1])
        _tile(top, _density(sample.frames.sum(axis=0)))
        top.set_title(f"true {sample.label}, predicted {sample.predicted}", loc="center", fontsize=9)
        _scores(bottom, sample, classes)
    return drawn


def _scores(axes: Axes, sample: Sample, classes: Sequence[str]) -> None:
    if not len(classes):
        blank(axes, "no scores")
        return
    colours = [ON if name == sample.label else WRONG if name == sample.predicted else MUTED for name in classes]
    axes.bar(range(len(classes)), sample.scores, color=colours, width=0.75)
    readable = len(classes) <= 12 and max(map(len, classes)) <= 2
    axes.set_xticks(range(len(classes)) if readable else [], classes if readable else [], fontsize=7)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(bottom=False, pad=1)
    axes.set_xlabel(f"test sample {sample.index}", fontsize=7.5, color=MUTED)
