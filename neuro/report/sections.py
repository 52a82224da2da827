"""The parts of the page: words, pictures and tables, from a report's content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from neuro.report import activity, figures
from neuro.report.content import Report
from neuro.report.formatting import layer_title, percent, share, short
from neuro.report.style import picture

if TYPE_CHECKING:
    from neuro.hardware.agreement import Row

__all__ = ["Group", "Missing", "Picture", "Section", "Table", "sections"]


@dataclass(frozen=True)
class Picture:
    """One figure: its data URI, what it shows for those who cannot see it, and its caption."""

    source: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Missing:
    """Why a section is empty, and the command that fills it; ``again``: the report must be written anew after it."""

    reason: str
    command: str
    again: bool = True


@dataclass(frozen=True)
class Group:
    """Rows of a table; with a ``title``, a line above them, and beside it a verdict in a tone ("good" or "warn")."""

    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    verdict: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """A table; ``numeric`` are the columns to align right, ``wide`` the one that holds sentences."""

    caption: str
    header: tuple[str, ...]
    groups: tuple[Group, ...]
    numeric: tuple[int, ...] = ()
    note: str = ""
    wide: int | None = None


@dataclass(frozen=True)
class Section:
    """One part of the page."""

    id: str
    title: str
    lead: str = ""
    figures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    points: tuple[str, ...] = ()
    missing: Missing | None = None
    summary: str = ""
    text: str = ""


def sections(report: Report) -> tuple[Section, ...]:
    """The parts of the page in reading order; each is there, filled or with the command that fills it."""
    makers: tuple[Callable[[Report], Section], ...] = (
        _frames, _inside, _learning, _confusion, _mistakes, _work, _time_constants, _export, _config,
    )  # fmt: skip
    return tuple(make(report) for make in makers)


def _not_evaluated(report: Report) -> Missing:
    if report.confusion is not None:
        reason = "This page was written without the data set, so it shows no single samples."
        return Missing(reason, f"neuro report {report.folder}", again=False)
    return Missing("The network has not been evaluated on the test set.", f"neuro evaluate {report.folder}")


def _shown(drawn: Figure, alt: str, caption: str) -> Picture:
    return Picture(picture(drawn), alt, caption)


def _frames(report: Report) -> Section:
    title = "What the network sees"
    if not report.samples:
        return Section("frames", title, missing=_not_evaluated(report))
    described = "; ".join(f"sample {s.index}: true {s.label}, predicted {s.predicted}" for s in report.samples)
    if report.samples[0].frames.shape[2] == 1:
        drawn = activity.event_bands(report.samples, report.dt)
        caption = "Events of some test samples, all polarities together; deeper colour: more events in a step."
        lead = "Each channel of the sensor is a row, time runs to the right."
        return Section(
            "frames", title, lead, (_shown(drawn, f"Events of test samples over time. {described}.", caption),)
        )
    if all(map(activity.shows_pictures, report.samples)):
        drawn = activity.pictures(report.samples)
        caption = "Some test samples; the darker a pixel, the larger its current, from 0 to 1."
        lead = "Each picture is a constant current into the first layer, the same in every step."
        return Section("frames", title, lead, (_shown(drawn, f"Test samples. {described}.", caption),))
    drawn = activity.event_frames(report.samples, report.dt)
    return Section(
        "frames",
        title,
        "The event camera reports only changes of brightness: blue where a pixel became brighter, orange where darker.",
        (
            _shown(
                drawn,
                f"Event frames of test samples over time. {described}.",
                "Events of some test samples, summed over equal spans of time (deeper colour: more events), and in grey over the whole recording, both polarities together.",
            ),
        ),
    )  # fmt: skip


def _inside(report: Report) -> Section:
    title = "What the network does"
    recording = report.recording
    if recording is None:
        return Section("inside", title, missing=_not_evaluated(report))
    sample = recording.sample
    spikes = ", ".join(f"{layer_title(x.name)} {x.z.sum():,.0f}" for x in recording.layers if x.threshold is not None)
    lead = f"One test sample, number {sample.index}, layer by layer: true class {sample.label}, predicted {sample.predicted}."
    raster = _shown(
        activity.spike_raster(recording),
        f"Spike raster of input and layers over time. Spikes per layer: {spikes or 'none'}.",
        "Every mark is a spike. The bars at the right count the spikes of each row over the sample.",
    )
    traces = _shown(
        activity.membranes(recording),
        "Membrane traces of neurons of every layer with the threshold as a dashed line.",
        "The membrane just before reset, for the most, a middling and the least driven neuron of each layer. "
        "Dashed: threshold. Ticks along the top: spikes.",
    )
    return Section("inside", title, lead, (raster, traces))


def _learning(report: Report) -> Section:
    curves = report.curves
    last = curves.epoch.size
    alt = f"Loss and accuracy over {last} epochs; final validation accuracy {percent(float(curves.validation_accuracy[-1]))}."
    caption = "Means over each epoch. The model of the marked epoch had the best validation result; it is the one evaluated and exported."
    return Section("learning", "How it learned", figures=(_shown(figures.learning_curves(curves), alt, caption),))


def _confusion(report: Report) -> Section:
    title = "Where it is right and wrong"
    if report.confusion is None:
        return Section("confusion", title, missing=_not_evaluated(report))
    counts = report.confusion
    right, total = int(np.trace(counts)), int(counts.sum())
    lead = f"{right:,} of {total:,} test samples are classified correctly, {total - right:,} {'is' if total - right == 1 else 'are'} not."
    return Section(
        "confusion",
        title,
        lead,
        (
            _shown(
                figures.confusion_matrix(counts, report.classes),
                f"Confusion matrix of {len(report.classes)} classes. {lead}",
                "Number of test samples by true class (rows) and predicted class (columns). Blue: correct. Orange: mistakes. At the right: the share of each class that is found (recall).",
            ),
        ),
    )


def _mistakes(report: Report) -> Section:
    title = "Misclassified samples"
    if report.confusion is None:
        return Section("mistakes", title, missing=_not_evaluated(report))
    if not report.mistakes_total:
        return Section("mistakes", title, "There are none: every test sample is classified correctly.")
    if not report.mistakes:
        return Section("mistakes", title, missing=_not_evaluated(report))
    shown = len(report.mistakes)
    described = "; ".join(f"sample {s.index}: true {s.label}, predicted {s.predicted}" for s in report.mistakes)
    lead = f"{shown} of {report.mistakes_total} misclassified test samples, with what the output layer gave for each class."
    flat = report.mistakes[0].frames.shape[2] == 1
    drawn = activity.mistakes([activity.bands(s) for s in report.mistakes] if flat else report.mistakes, report.classes)
    shown_as = "The picture" if all(map(activity.shows_pictures, report.mistakes)) else "All events of the sample"
    caption = f"{shown_as}, and below the output per class. Blue: the true class. Orange: the predicted class."
    return Section("mistakes", title, lead, (_shown(drawn, f"Misclassified samples. {described}.", caption),))


def _work(report: Report) -> Section:
    title = "What it costs"
    if not report.cells and not report.synapses:
        return Section("work", title, missing=_not_evaluated(report))
    lead = (
        "A synaptic operation is one addition of a weight because a spike arrived. A dense network of the same shape "
        "multiplies and adds every weight at every step, whether or not anything happened."
    )
    rates = "; ".join(
        f"{layer_title(x.name)} {short(x.rate_hz)} spikes per neuron and second" for x in report.cells if x.spiking
    )
    drawn = _shown(
        figures.work_per_layer(report.cells, report.synapses),
        f"Firing rate and operations per layer. {rates or 'No layer spikes'}.",
        "Means per sample over the test set.",
    )
    return Section("work", title, lead, (drawn,), (_cell_table(report), _synapse_table(report)))


def _cell_table(report: Report) -> Table:
    rows = tuple(
        (layer_title(x.name), x.kind, f"{x.neurons:,}", short(x.spikes), short(x.rate_hz), percent(x.active))
        if x.spiking
        else (layer_title(x.name), x.kind, f"{x.neurons:,}", "–", "–", "–")
        for x in report.cells
    )
    header = ("Layer", "Cell", "Neurons", "Spikes per sample", "Rate (Hz)", "Neurons active in a sample")
    return Table("Neurons", header, (Group(rows),), numeric=(2, 3, 4, 5))


def _synapse_table(report: Report) -> Table:
    rows = tuple(
        (layer_title(x.name), x.kind, short(x.events), short(x.synops), short(x.macs), percent(x.synops / x.macs if x.macs else None))
        for x in report.synapses
    )  # fmt: skip
    header = ("Layer", "Synapses", "Spikes received", "Synaptic operations", "Dense operations", "Share of dense")
    return Table("Synapses", header, (Group(rows),), numeric=(2, 3, 4, 5), note="Per sample.")


def _time_constants(report: Report) -> Section:
    title = "Learned time constants"
    if not report.time_constants:
        return Section("time-constants", title, "This network learns no time constants.")
    described = "; ".join(
        f"{layer_title(g.layer)} median {1e3 * float(np.median(g.values)):.3g} ms" for g in report.time_constants
    )
    caption = "Number of neurons by time constant after training. Dashed: the value they all began with."
    drawn = figures.time_constants(report.time_constants)
    return Section(
        "time-constants", title, figures=(_shown(drawn, f"Histograms of time constants. {described}.", caption),)
    )


def _export(report: Report) -> Section:
    title = "Export and agreement"
    if not report.agreement:
        missing = Missing("The network has not been exported.", f"neuro export {report.folder}")
        return Section("export", title, missing=missing)
    lead = (
        "The exported NIR file is read by each engine and run on the same test samples; the output of every layer is "
        "compared step by step with the network's own."
    )
    readers = dict.fromkeys(row.reader for row in report.agreement)
    groups = tuple(_agreement_group(name, [r for r in report.agreement if r.reader == name]) for name in readers)
    header = ("Layer", "Output", "Spikes here", "Spikes there", "Equal outputs", "Samples all equal", "Reason")
    note = "An output is one neuron's at one step of one sample."
    table = Table("Reader of the file", header, groups, (2, 3, 4, 5), note, wide=6)
    return Section("export", title, lead, tables=(table,), points=report.export_notes)


def _agreement_group(reader: str, rows: Sequence[Row]) -> Group:
    cells = tuple(
        (
            layer_title(row.layer),
            row.quantity,
            _count(row.here),
            _count(row.there),
            share(row.equal),
            "–" if row.samples_equal is None else f"{row.samples_equal:,} of {row.samples:,}",
            row.reason or "–",
        )
        for row in rows
    )
    if any(row.different is None for row in rows):
        return Group(cells, reader, "not compared", "warn")
    number = sum(row.different or 0 for row in rows)
    if number == 0:
        return Group(cells, reader, "all equal", "good")
    return Group(cells, reader, f"{number:,} {'outputs differ' if number > 1 else 'output differs'}", "warn")


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _config(report: Report) -> Section:
    return Section(
        "config",
        "Configuration",
        "Everything needed to repeat the run.",
        summary="The resolved configuration (config.yaml)",
        text=report.config,
    )
