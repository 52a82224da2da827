"""The page of results says what the benchmarks left."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / "results_page.py"))


def test_the_page_is_current(script: dict[str, Any]) -> None:
    """``python -P benchmarks/results_page.py`` brings it up to date."""
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == script["page"]()


def test_a_row_has_mean_and_spread_of_its_seeds(script: dict[str, Any]) -> None:
    made = {"dataset": "d", "rule": "r", "epochs": 7, "validation_accuracy": 0.5, "processor_seconds": 90}
    runs = {"0": made | {"test_accuracy": 0.9, "peak_mb": 700}, "1": made | {"test_accuracy": 0.92, "peak_mb": 650}}
    rows = script["by_command"]({"d_r": {"runs": runs}, "e_r": {"runs": {"0": {**runs["0"], "dataset": "e"}}}}, "d")
    shown = "| `r` | **91.00 ± 1.41** | 90.00, 92.00 | 50.00 ± 0.00 | 7 | 1.5 | 700 | `examples/d_r.yaml` |"
    assert script["table"](rows).splitlines()[2:] == [shown]


def test_rules_that_a_configuration_runs_are_not_shown_twice(script: dict[str, Any]) -> None:
    made = {
        "test_accuracy": 0.9,
        "validation_accuracy": 0.8,
        "epochs": 3,
        "processor_seconds": 30,
        "peak_memory_mib_above_data": 20.0,
    }
    assert [(row.rule, row.peak) for row in script["by_script"]({"sltt": made, "ff": made}, {"sltt"})] == [
        ("ff", "+21")
    ]
