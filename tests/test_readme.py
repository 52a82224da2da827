"""What README, docs and examples show is true: Python runs, commands exist, links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import neuro
from neuro.cli.entry import COMMANDS, main

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = ROOT / "README.md"
CLI_PAGE = ROOT / "docs" / "cli.md"


class Block(NamedTuple):
    """A fenced block: its language, the line it starts on, its text."""

    language: str
    line: int
    text: str


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found, language, start, lines = [], None, 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("```"):
            lines.append(line)
        elif language is None:
            language, start, lines = line[3:].strip(), number + 1, []
        else:
            found.append(Block(language, start, "\n".join(lines) + "\n"))
            language = None
    return found


def of(path: Path, *languages: str) -> list[Block]:
    return [block for block in blocks(path.read_text(encoding="utf-8")) if block.language in languages]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_page = pytest.mark.parametrize("page", PAGES, ids=name)


def test_blocks_are_found() -> None:
    text = "a\n```python\nx = 1\ny = 2\n```\nb\n```bash\nls\n```\n"
    assert blocks(text) == [Block("python", 3, "x = 1\ny = 2\n"), Block("bash", 8, "ls\n")]


@pytest.mark.parametrize("page", [page for page in PAGES if of(page, "python")], ids=name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page in one namespace, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in of(page, "python"):
        # Empty lines first, so that a traceback names the line of the page.
        code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
        exec(code, namespace)  # noqa: S102 - our own pages


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=name)
def test_examples_run(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")


# --- commands ------------------------------------------------------------------------------------------


def commands(page: Path) -> list[list[str]]:
    """The command lines of a page's shell blocks, without comments and prompts."""
    joined = "\n".join(block.text for block in of(page, "bash", "console")).replace("\\\n", " ")
    lines = [line.removeprefix("$ ").strip() for line in joined.splitlines()]
    return [words for line in lines for part in line.split("&&") if (words := shlex.split(part, comments=True))]


def neuro_commands(page: Path) -> list[list[str]]:
    return [words for words in commands(page) if words[0] == "neuro"]


@cache
def help_of(*subcommand: str) -> str:
    """What ``neuro [subcommand] --help`` prints."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        main([*subcommand, "--help"])
    return shown.getvalue()


SUBCOMMANDS = tuple(command.name for command in COMMANDS)


@each_page
def test_shown_neuro_commands_exist(page: Path) -> None:
    for words in neuro_commands(page):
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        if len(words) > 1 and not words[1].startswith("-"):
            assert words[1] in SUBCOMMANDS
            missing = {option for option in options if option not in help_of(words[1])}
            assert not missing, f"neuro {words[1]} has no {missing}"


@each_page
def test_shown_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    shown = {word for words in commands(page) if words[0] == "make" for word in words[1:] if "=" not in word}
    assert shown <= targets


def test_every_subcommand_is_documented() -> None:
    shown = {words[1] for words in neuro_commands(CLI_PAGE) if len(words) > 1}
    assert set(SUBCOMMANDS) <= shown


def test_shown_help_is_current() -> None:
    """``python -P tests/test_readme.py`` brings the page up to date."""
    page = CLI_PAGE.read_text(encoding="utf-8")
    assert {words[1] for words in neuro_commands(CLI_PAGE) if "--help" in words} == {"--help", *SUBCOMMANDS}
    assert page == with_current_help(page)


def with_current_help(page: str) -> str:
    """The page with the block after each ``neuro ... --help`` as the command prints it now."""
    shown = re.compile(r"(```bash\nneuro(?: (\w+))? --help\n```\n\n```text\n).*?(```)", re.DOTALL)
    return shown.sub(lambda m: m[1] + (help_of(m[2]) if m[2] else help_of()).strip("\n") + "\n" + m[3], page)


# --- links and the front page --------------------------------------------------------------------------


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [target for target in targets if target and "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_page_is_reachable() -> None:
    seen, todo = set[Path](), [README]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        targets = re.findall(r"\]\(([^)\s#]+\.md)", page.read_text(encoding="utf-8"))
        todo += [(page.parent / target).resolve() for target in targets if "://" not in target]
    assert sorted(name(page) for page in set(PAGES) - seen) == []


def test_every_exported_name_is_documented() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [public for public in neuro.__all__ if not re.search(rf"\b{public}\b", text)] == []


def test_the_front_page_gets_to_the_point() -> None:
    runnable = of(README, "python", "bash")
    python = of(README, "python")
    assert runnable[0].line < 30
    train, export = python[0], python[1]
    assert "neuro.fit(" in train.text
    assert len(train.text.splitlines()) <= 15
    assert "neuro.hardware.export(" in export.text
    assert len(export.text.splitlines()) <= 2


if __name__ == "__main__":
    CLI_PAGE.write_text(with_current_help(CLI_PAGE.read_text(encoding="utf-8")), encoding="utf-8")
