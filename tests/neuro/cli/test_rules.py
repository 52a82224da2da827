"""The list of learning rules, on the command line and on its page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neuro.cli import main
from neuro.training.rules import RULES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "rules.md"


def test_every_rule_is_listed_with_what_it_says_of_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for name, rule in RULES.items():
        assert f"{name} (neuro.rules.{rule.__name__})" in printed
        assert " ".join(rule.about.paper.split()) in printed


def test_one_rule_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "eprop", "--json"]) == 0
    (made,) = json.loads(capsys.readouterr().out).items()
    assert made[0] == "eprop"
    assert made[1]["memory"] == RULES["eprop"].about.memory
    assert main(["rules", "epop"]) == 2
    assert "did you mean 'eprop'" in capsys.readouterr().err


def test_the_page_says_the_same() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [
        f'| `"{name}"` | `neuro.rules.{rule.__name__}` | {rule.about.memory} | {rule.about.time} | {rule.about.exact} | {rule.about.paper} |'
        for name, rule in RULES.items()
    ]
    missing = [row for row in rows if row not in page]
    assert not missing, "\n".join(missing)
