from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import neuro.report
from neuro.datasets.splits import Splits
from neuro.errors import FileFormatError
from neuro.hardware.agreement import Row
from neuro.report import page
from neuro.report.content import Report

Maker = Callable[..., Report]
VOID = {"meta", "link", "img", "br", "hr", "input"}
SECTIONS = ["frames", "inside", "learning", "confusion", "mistakes", "work", "time-constants", "export", "config"]


class Page(HTMLParser):
    """A page taken apart, with an error for every tag that is not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.open += [] if tag in VOID else [tag]
        self.ids += [value for key, value in attrs if key == "id" and value]
        self.links += [value for key, value in attrs if tag == "a" and key == "href" and value]
        self.loads += [
            value for key, value in attrs if tag != "a" and key in ("href", "src", "srcset", "data") and value
        ]
        assert tag not in ("script", "iframe", "object", "embed")
        if tag == "img":
            self.images.append(found)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(word for word in self.words if word)


def empty(report: Maker) -> Report:
    """The report of a run that has only been trained."""
    return report(
        test_accuracy=None, confusion=None, samples=(), mistakes=(), mistakes_total=0, recording=None,
        cells=(), synapses=(), time_constants=(), agreement=(),
    )  # fmt: skip


def test_a_whole_page(report: Maker) -> None:
    text = page.render(report())
    seen = Page(text)
    assert seen.ids == SECTIONS
    assert seen.links == [f"#{name}" for name in SECTIONS]
    assert all(source.startswith("data:") for source in seen.loads)  # nothing is fetched
    assert not re.search(r"(url\(|@import|https?://)", re.sub(r"data:[\w/+;]+,[\w+/=]*", "", text))
    assert len(seen.images) == 8
    assert all(len(image["alt"] or "") > 40 for image in seen.images)
    assert len(text) < 3_000_000
    for part in ("97.22 %", "98.05 %", "67,338", "204 k", "19.7 times", "equal", "snntorch 1.0.0", "seed: 0"):
        assert part in text
    assert "neuro evaluate" not in text


def test_a_run_that_was_only_trained_says_what_to_do(report: Maker) -> None:
    seen = Page(page.render(empty(report)))
    assert seen.ids == SECTIONS
    assert "neuro evaluate runs/demo" in seen.text
    assert "neuro export runs/demo" in seen.text
    assert "not evaluated yet" in seen.text
    assert len(seen.images) == 1  # the learning curves


def test_what_comes_from_files_is_escaped(report: Maker) -> None:
    nasty = "<script>alert(1)</script>"
    made = replace(empty(report), title=nasty, config=nasty, folder=nasty, facts={nasty: nasty}, lead=nasty)
    text = page.render(made)
    assert "<script" not in text
    assert Page(text).text.count(nasty) >= 6


def test_no_mistakes_at_all(report: Maker) -> None:
    made = report(confusion=np.diag([3, 4]), classes=("a", "b"), mistakes=(), mistakes_total=0, recording=None)
    assert "every test sample is classified correctly" in page.render(made)


def test_values_that_are_not_finite_become_dashes(report: Maker) -> None:
    made = report(test_accuracy=float("nan"), validation_accuracy=None)
    values = {card.label: card.value for card in page.cards(made)}
    assert values["Test accuracy"] == "–"
    assert values["Validation accuracy"] == "–"


def row(reader: str, different: int | None, samples_equal: int | None) -> Row:
    equal = None if different is None else 1 - different / 90_000_000
    return Row(reader, "3", "spikes", 1234, 1234, different, equal, 9, samples_equal, "rounding" if different else "")


@pytest.mark.parametrize(
    ("different", "equal", "value", "tone"), [(0, 9, "equal", "good"), (1, 8, "different", "warn")]
)
def test_the_verdict_is_that_on_the_file_read_back(
    report: Maker, different: int, equal: int, value: str, tone: str
) -> None:
    others = (row("norse 1.1.0", 5, 3), row("snntorch", None, None))
    card = page.cards(report(agreement=(row("neuro, read back", different, equal), *others)))[-1]
    assert (card.value, card.tone) == (value, tone)
    assert ("in layer 3" in card.note) is bool(different)


def test_a_page_without_the_data_set_says_how_to_get_the_pictures(report: Maker) -> None:
    seen = Page(page.render(report(samples=(), mistakes=(), recording=None)))
    assert seen.text.count("written without the data set") == 3
    assert len(seen.images) == 4
    assert "not been evaluated" not in seen.text


@pytest.mark.parametrize("classes", [1, 40])
def test_any_number_of_classes(report: Maker, classes: int) -> None:
    names = tuple(f"<{i}>" for i in range(classes))
    assert Page(page.render(report(classes=names))).ids == SECTIONS


def test_writing_a_run(run_folder: Path, splits: Splits) -> None:
    path = neuro.report.write(run_folder, splits)
    assert path == run_folder / "report.html"
    seen = Page(path.read_text(encoding="utf-8"))
    assert seen.ids == SECTIONS
    assert "tiny, trained with SLTT" in seen.text
    assert "exact: all" in seen.text
    assert len(seen.images) == 8
    assert str(run_folder) in seen.text


def test_an_earlier_page_survives_a_damaged_run(run_folder: Path) -> None:
    page_before = run_folder / "report.html"
    page_before.write_text("earlier")
    (run_folder / "metrics.csv").write_text("")
    with pytest.raises(FileFormatError):
        neuro.report.write(run_folder)
    assert page_before.read_text() == "earlier"
    assert sorted(run_folder.glob(".*")) == []
