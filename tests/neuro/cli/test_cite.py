from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.neuro.cli.conftest import Call


def test_the_papers_of_a_run(run: Path, call: Call) -> None:
    outcome = call("cite", run)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("@software{neuro,")
    assert "@misc{neftci2019surrogate," in outcome.out  # the rule
    assert "@misc{pedersen2024neuromorphic," in outcome.out  # the cells


def test_what_is_no_run(tmp_path: Path, call: Call) -> None:
    outcome = call("cite", tmp_path)
    assert outcome.status == 2
    assert "is not the folder of a run" in outcome.err
