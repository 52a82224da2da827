from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from neuro.hardware.agreement import Row
from neuro.report import sections
from neuro.report.content import Report
from neuro.training.activity import CellActivity, SynapseActivity

Maker = Callable[..., Report]


def bare(report: Maker) -> Report:
    """A report with nothing but learning curves."""
    return report(
        test_accuracy=None, confusion=None, samples=(), mistakes=(), mistakes_total=0, recording=None,
        cells=(), synapses=(), time_constants=(), agreement=(),
    )  # fmt: skip


def part(made: Report, name: str) -> sections.Section:
    (found,) = (section for section in sections.sections(made) if section.id == name)
    return found


def row(reader: str, different: int | None, samples_equal: int | None) -> Row:
    equal = None if different is None else 1 - different / 90_000_000
    return Row(reader, "3", "spikes", 1234, 1234, different, equal, 9, samples_equal, "rounding" if different else "")


def test_readers_of_the_file_are_told_apart(report: Maker) -> None:
    rows = (row("neuro, read back", 0, 9), row("norse 1.1.0", 1, 8), row("snntorch", None, None))
    (table,) = part(replace(bare(report), agreement=rows), "export").tables
    assert [(group.title, group.verdict, group.tone) for group in table.groups] == [
        ("neuro, read back", "all equal", "good"),
        ("norse 1.1.0", "1 output differs", "warn"),
        ("snntorch", "not compared", "warn"),
    ]
    assert table.groups[0].rows == (("layer 3", "spikes", "1,234", "1,234", "100 %", "9 of 9", "–"),)
    assert table.groups[1].rows == (("layer 3", "spikes", "1,234", "1,234", "99.9999 %", "8 of 9", "rounding"),)
    assert table.groups[2].rows[0][4:] == ("–", "–", "–")


def test_commands_name_the_folder(report: Maker) -> None:
    made = replace(bare(report), folder="my runs/one")
    named = {section.missing.command for section in sections.sections(made) if section.missing}
    assert named == {"neuro evaluate my runs/one", "neuro export my runs/one"}


def test_the_cost_of_a_network_with_a_silent_and_a_membrane_layer(report: Maker) -> None:
    cells = (
        CellActivity("0", "LIF", 5, True, 0.0, 0.0, 0.0, 0.0),
        CellActivity("readout", "LI", 3, False, 0.0, 0.0, 0.0, 0.0),
    )
    made = replace(bare(report), cells=cells, synapses=(SynapseActivity("0", "Linear", 0.0, 0.0, 0.0),))
    neurons, synapses = part(made, "work").tables
    assert neurons.groups[0].rows[0] == ("layer 0", "LIF", "5", "0", "0", "0.00 %")
    assert neurons.groups[0].rows[1] == ("readout", "LI", "3", "–", "–", "–")
    assert synapses.groups[0].rows == (("layer 0", "Linear", "0", "0", "0", "–"),)


def test_no_learned_time_constants(report: Maker) -> None:
    assert part(bare(report), "time-constants").lead == "This network learns no time constants."


def test_counts_of_right_and_wrong(report: Maker) -> None:
    made = replace(bare(report), confusion=np.array([[1999, 1], [0, 5]]), classes=("a", "b"), mistakes_total=1)
    found = part(made, "confusion")
    assert found.lead == "2,004 of 2,005 test samples are classified correctly, 1 is not."
    assert "2 classes" in found.figures[0].alt
