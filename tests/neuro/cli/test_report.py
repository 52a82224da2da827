from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.neuro.cli.conftest import Call


def test_writes_one_page(run: Path, call: Call) -> None:
    assert call("evaluate", run).status == 0
    outcome = call("report", run)
    assert (outcome.status, outcome.err, outcome.out) == (0, "", f"report {run / 'report.html'}\n")
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "<html" in text
    assert "bptt" in text


def test_needs_a_finished_run(run: Path, call: Call) -> None:
    (run / "summary.json").unlink()
    assert "neuro train --resume" in call("report", run).complaint()
    (run / "network.safetensors").unlink()
    assert "holds no weights" in call("report", run).complaint()
    assert not (run / "report.html").exists()
