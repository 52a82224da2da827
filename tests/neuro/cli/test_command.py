from __future__ import annotations

import argparse

import pytest

from neuro.cli.command import Command, Parser, add_flags, given_flags
from neuro.cli.config import TrainConfig
from neuro.cli.settings import flag
from neuro.errors import InputError


def parser() -> Parser:
    made = Parser(prog="neuro try")
    made.add_argument("run")
    add_flags(made, TrainConfig)
    return made


def test_only_given_flags_count() -> None:
    parsed = parser().parse(["r", "--batch-size", "8", "--hidden", "3", "4", "--tau=0.1"])
    assert given_flags(parsed, TrainConfig) == {"batch_size": "8", "hidden": ["3", "4"], "tau": "0.1"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("r --bacth-size 3", "unknown flag --bacth-size of neuro try; did you mean --batch-size?"),
        ("r --bacth-size=3", "unknown flag --bacth-size of neuro try; did you mean --batch-size?"),
        ("--quux 1", "unknown flag --quux of neuro try; see neuro try --help"),
        ("r --batch 3", "unknown flag --batch of neuro try; did you mean --batch-size?"),
        ("", "the following arguments are required: run; see neuro try --help"),
        ("r s", "unrecognized arguments: s; see neuro try --help"),
        ("r --tau", "argument --tau: expected one argument; see neuro try --help"),
    ],
)
def test_complaints_are_one_line_with_a_cure(line: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parser().parse(line.split())
    assert str(caught.value) == message


def test_help_describes_every_setting_with_default_and_unit() -> None:
    text = " ".join(parser().format_help().split())
    for key, info in TrainConfig.model_fields.items():
        assert f"{flag(key)} " in text
        assert str(info.description) in text
    tau = "--tau SECONDS membrane time constant before training (a number in seconds, greater than 0; default 0.02)"
    assert tau in text
    assert "(a list of integers, each at least 1; default 128)" in text
    assert "one of euler, exponential; default euler" in text


def test_overriding_flags_are_few_and_have_no_default() -> None:
    made = Parser(prog="neuro try")
    add_flags(made, TrainConfig, ("device", "threads"))
    text = " ".join(made.format_help().split())
    assert "machine (unless given, as in the run): --device DEVICE" in text
    assert "--tau" not in text
    assert "default" not in text
    assert given_flags(made.parse(["--threads", "3"]), TrainConfig) == {"threads": "3"}


def test_a_command_shows_its_examples() -> None:
    examples = (("neuro try a", "one"), ("neuro try abc", "two"))
    command = Command("try", "s", "what it does", examples, lambda _: None, run)
    text = command.parser().format_help()
    assert "  neuro try a    one\n  neuro try abc  two" in text
    assert "what it does" in text
    assert command.parser().parse(["--verbose"]).verbose is True


def run(_: argparse.Namespace) -> int:
    return 0
