"""From a report's content to one HTML page without a single outside reference."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import markupsafe
import numpy as np

from neuro.files import atomic_write
from neuro.report.content import Report
from neuro.report.data import collect
from neuro.report.formatting import layer_title, percent, short
from neuro.report.sections import sections

if TYPE_CHECKING:
    from neuro.datasets.splits import Parts
    from neuro.hardware.agreement import Row

__all__ = ["Card", "cards", "render", "write"]


@dataclass(frozen=True)
class Card:
    """One headline figure; ``tone`` is "", "good" or "warn"."""

    label: str
    value: str
    note: str = ""
    tone: str = ""


def write(run_folder: str | Path, data: Parts[Any] | None = None) -> Path:
    """Write ``report.html`` into a run folder.

    The page stands alone: pictures and style are inside, nothing is fetched. What ``neuro
    evaluate`` and ``neuro export`` have not made yet is named there with the command that does.

    Args:
        run_folder: a folder that ``neuro train`` has finished.
        data: the data set of the run; without it the pictures of single samples, frames
            ``[T, P, H, W]``, are left out.

    Returns:
        The path of the page. An earlier page survives any failure.

    Raises:
        InputError: a file that training writes is missing.
        FileFormatError: a file is damaged, or the evaluation belongs to other data.
    """
    page = Path(run_folder) / "report.html"
    text = render(collect(run_folder, data))
    with atomic_write(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return page


def render(report: Report) -> str:
    """The whole page."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False)
    folder = resources.files("neuro.report")
    template = environment.from_string(folder.joinpath("page.html.jinja").read_text(encoding="utf-8"))
    return template.render(
        title=report.title,
        lead=report.lead,
        facts=report.facts,
        css=markupsafe.Markup(folder.joinpath("page.css").read_text(encoding="utf-8")),
        cards=cards(report),
        sections=sections(report),
        footer=f"Written by neuro {report.version} from the run folder {report.folder}.",
    )


def cards(report: Report) -> tuple[Card, ...]:
    """The headline figures, the most wanted first."""
    tested = None if report.confusion is None else int(report.confusion.sum())
    epoch = report.curves.best_epoch
    fair = report.selected_on == "validation"
    chosen = "" if epoch is None else f"model of epoch {epoch}, selected on {report.selected_on}"
    if not fair:
        chosen += ": too good to report"
    synops = sum(layer.synops for layer in report.synapses)
    macs = sum(layer.macs for layer in report.synapses)
    spikes = sum(cell.spikes for cell in report.cells)
    return (
        Card("Test accuracy", percent(report.test_accuracy), f"{tested:,} samples, {chosen}" if tested else "not evaluated yet"),
        Card("Validation accuracy" if fair else "Test-selected accuracy", percent(report.validation_accuracy), chosen),
        Card("Parameters", f"{report.parameters:,}", "trained weights, biases and time constants"),
        Card("Spikes per sample", short(spikes) if report.cells else "–", "all layers together" if report.cells else "not evaluated yet"),
        Card(
            "Synaptic operations per sample",
            short(synops) if report.synapses else "–",
            f"a dense network needs {short(macs)}{_ratio(macs, synops)}" if report.synapses else "not evaluated yet",
        ),
        _equality_card(report.agreement),
    )  # fmt: skip


def _ratio(macs: float, synops: float) -> str:
    return f", {macs / synops:.1f} times as many" if synops > 0 and np.isfinite(macs / synops) else ""


def _equality_card(rows: tuple[Row, ...]) -> Card:
    if not rows:
        return Card("NIR round trip", "–", "not exported yet")
    own = [row for row in rows if row.reader == rows[0].reader]
    unequal = [layer_title(row.layer) for row in own if row.samples_equal != row.samples]
    if unequal:
        return Card("NIR round trip", "different", f"in {', '.join(unequal)}; see the table below", "warn")
    note = f"every spike of {own[0].samples:,} test samples, read back and run again"
    return Card("NIR round trip", "equal", note, "good")
