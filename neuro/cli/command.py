"""What a subcommand is made of, and the parser that reads its command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic.fields import FieldInfo

from neuro.cli.settings import Settings, allowed, flag, group, is_list, names, unit
from neuro.errors import InputError, nearest

__all__ = ["Command", "Parser", "add_flags", "given_flags"]


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Args:
        name: what is typed.
        summary: one line for the overview.
        description: what it reads, writes and prints.
        examples: (command line, what it does) pairs.
        add_arguments: declares its own arguments on a parser.
        run: does the work and returns the exit status.
    """

    name: str
    summary: str
    description: str
    examples: Sequence[tuple[str, str]]
    add_arguments: Callable[[Parser], None]
    run: Callable[[argparse.Namespace], int]

    def parser(self) -> Parser:
        """A parser of its command line, with everything that ``--help`` shows."""
        width = max(len(line) for line, _ in self.examples)
        examples = "\n".join(f"  {line:{width}}  {meaning}" for line, meaning in self.examples)
        parser = Parser(prog=f"neuro {self.name}", description=self.description, epilog=f"examples:\n{examples}")
        self.add_arguments(parser)
        parser.add_argument("--verbose", action="store_true", help="log what happens, down to details, on stderr")
        placed = [action for action in parser._actions if not action.option_strings]
        required = [f"[{a.metavar}]" if a.nargs == "?" else str(a.metavar) for a in placed]
        parser.usage = " ".join([parser.prog, *required, "[FLAGS]"])
        return parser


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line and suggest the nearest flag."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Help, allow_abbrev=False, **options)

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The arguments as a namespace.

        Raises:
            InputError: an unknown flag, a missing or a superfluous argument.
        """
        for text in arguments:
            name = text.partition("=")[0]
            if name.startswith("--") and name not in self._option_string_actions:
                guess = nearest(name[2:], [known[2:] for known in self._option_string_actions])
                hint = f"did you mean --{guess}?" if guess else f"see {self.prog} --help"
                raise InputError(f"unknown flag {name} of {self.prog}; {hint}")
        return self.parse_args(arguments)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage.

        Raises:
            InputError: always.
        """
        raise InputError(f"{message}; see {self.prog} --help")


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{"max_help_position": 30, "width": 110, **options})


def add_flags(parser: Parser, settings: type[Settings], overriding: Collection[str] | None = None) -> None:
    """One flag for every setting, under the heading of its group.

    Args:
        parser: where to add them.
        settings: what they set.
        overriding: only these settings, each of which replaces the one of a run.
    """
    groups: dict[str, argparse._ArgumentGroup] = {}
    for key, info in settings.model_fields.items():
        if overriding is not None and key not in overriding:
            continue
        heading = group(info) if overriding is None else f"{group(info)} (unless given, as in the run)"
        if heading not in groups:
            groups[heading] = parser.add_argument_group(heading)
        options: dict[str, Any] = {"nargs": "+"} if is_list(info) else {}
        text = _help(info, default=overriding is None)
        groups[heading].add_argument(
            flag(key), dest=key, default=argparse.SUPPRESS, metavar=_metavar(key, info), help=text, **options
        )


def given_flags(arguments: argparse.Namespace, settings: type[Settings]) -> dict[str, Any]:
    """The values of those flags that stand on the command line, as text."""
    return {key: value for key, value in vars(arguments).items() if key in settings.model_fields}


def _metavar(key: str, info: FieldInfo) -> str:
    if unit(info):
        return unit(info).upper()
    words = allowed(info)
    if "path" in words:
        return "FOLDER"
    return "NAME" if names(info) else "N" if "integer" in words else "X" if "number" in words else key.upper()


def _help(info: FieldInfo, *, default: bool) -> str:
    facts = [] if allowed(info) in ("a path", "text") else [allowed(info)]
    if default and info.default is not None:
        facts.append(f"default {(' '.join(map(str, info.default)) or 'none') if is_list(info) else info.default}")
    text = f"{info.description} ({'; '.join(facts)})" if facts else str(info.description)
    return text.replace("%", "%%")
