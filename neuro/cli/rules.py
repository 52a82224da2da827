"""``neuro rules``: what networks can learn by."""

from __future__ import annotations

import argparse
import json
import textwrap
from dataclasses import asdict

from neuro.cli.command import Command, Parser
from neuro.cli.console import say
from neuro.errors import unknown_name

__all__ = ["command"]

_FIELDS = (("exact", "exact"), ("memory", "memory"), ("time", "time"), ("needs", "needs"), ("paper", "paper"))


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="one rule only")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")


def _run(parsed: argparse.Namespace) -> int:
    from neuro.training.rules import RULES

    if parsed.name is not None and parsed.name not in RULES:
        raise unknown_name("rule", parsed.name, RULES)
    chosen = {name: rule for name, rule in RULES.items() if parsed.name in (None, name)}
    if parsed.json:
        say(json.dumps({name: asdict(rule.about) for name, rule in chosen.items()}, indent=2))
        return 0
    for name, rule in chosen.items():
        say(f"{name}  (neuro.rules.{rule.__name__})")
        for title, key in _FIELDS:
            text = f"{title + ':':8}{getattr(rule.about, key)}"
            say(textwrap.fill(text, 110, initial_indent="  ", subsequent_indent=" " * 10))
    return 0


command = Command(
    name="rules",
    summary="list the learning rules: paper, memory and time, what each needs and where it is exact",
    description="Lists the learning rules that neuro train --rule takes. T is the number of time steps.",
    examples=(("neuro rules", "all of them"), ("neuro rules eprop", "one"), ("neuro rules --json", "for programs")),
    add_arguments=_add_arguments,
    run=_run,
)
