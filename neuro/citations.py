"""The papers behind what was used, as BibTeX.

There is no list of them beside the code: a paper is named where the equations it gave are written down, in the docstring
of a layer, a loss or a data set and in :class:`neuro.rules.About` of a rule, and read from there.
"""

from __future__ import annotations

import inspect
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

import neuro
from neuro.errors import InputError, nearest
from neuro.network import Network, leaves
from neuro.neurons.recurrent import Recurrent
from neuro.training.losses import LOSSES
from neuro.training.rules import RULES, Rule

__all__ = ["Bibliography", "Reference", "cite"]

_NAME = r"(?:(?:de|van|von) )?[A-ZÀ-Þ][\w’'-]+"
_AUTHORS = rf"(?P<authors>{_NAME}(?:, {_NAME})*(?: & {_NAME})?(?: et al\.)?)"
_IN_DOCSTRING = re.compile(rf'{_AUTHORS},? (?P<year>(?:19|20)\d\d), "(?P<title>[^"]+)"(?: \((?P<venue>[^()]+)\))?')
_IN_ABOUT = re.compile(rf"{_AUTHORS} (?P<year>(?:19|20)\d\d), (?P<title>.+)")

_SHORT = 4
"""A word of a title must be longer than this to be part of a key."""


@dataclass(frozen=True)
class Reference:
    """One paper.

    Args:
        authors: family names, "others" for those left out.
        year: of publication.
        title: as the docstring has it.
        venue: journal or conference; empty where the docstring names none.
    """

    authors: tuple[str, ...]
    year: int
    title: str
    venue: str = ""

    @property
    def key(self) -> str:
        """First author, year and first long word of the title."""
        words = [*re.findall(r"[a-z]+", _plain(self.title.lower())), "paper"]
        word = next((w for w in words if len(w) > _SHORT), words[0])
        return f"{re.sub('[^a-z]', '', _plain(self.authors[0].lower()))}{self.year}{word}"

    def __str__(self) -> str:
        """The BibTeX entry."""
        lines = {
            "title": f"{{{self.title}}}",
            "author": " and ".join(self.authors),
            "year": str(self.year),
        } | ({"note": self.venue} if self.venue else {})
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in lines.items())
        return f"@misc{{{self.key},\n{body}\n}}"


@dataclass(frozen=True)
class Bibliography:
    """References, each once; ``print`` or ``str`` gives BibTeX."""

    references: tuple[Reference, ...]

    def __str__(self) -> str:
        own = f"@software{{neuro,\n  title = {{neuro}},\n  version = {{{neuro.__version__}}}\n}}"
        return "\n\n".join([own, *map(str, self.references)])

    __repr__ = __str__


def cite(*used: Any) -> Bibliography:
    """The papers behind networks, layers, rules, losses, data sets or functions, as BibTeX.

    Entries have authors, year and title as the documentation names them; complete them with volume and pages from the
    publisher.

    Args:
        used: networks and layers; rules and losses, or their names; any class or function of this library.

    Raises:
        InputError: a name that is neither that of a rule nor of a loss.

    >>> net = neuro.Sequential(neuro.Linear(4, 3), neuro.PLIF(3))
    >>> [reference.key for reference in cite(net, "sltt").references]
    ['fang2021incorporating', 'meng2023towards']
    """
    found: dict[str, Reference] = {}
    for each in used:
        for reference in _of(each):
            found.setdefault(reference.key, reference)
    return Bibliography(tuple(found.values()))


def _of(used: Any) -> Iterator[Reference]:
    if isinstance(used, str):
        yield from _of(_named(used))
    elif isinstance(used, Network):
        for _, layer in leaves(used):
            yield from _of(layer)
    elif isinstance(used, Recurrent):
        yield from _of(used.cell)
    elif isinstance(used, Rule) or (isinstance(used, type) and issubclass(used, Rule)):
        for part in used.about.paper.split("; "):
            yield from _read(_IN_ABOUT, part)
    else:
        documented = used if isinstance(used, type) or inspect.isroutine(used) else type(used)
        found = [r for kind in _own_kinds(documented) for r in _read(_IN_DOCSTRING, kind.__doc__ or "")]
        yield from found or _read(_IN_DOCSTRING, getattr(inspect.getmodule(documented), "__doc__", None) or "")


def _own_kinds(documented: Any) -> Iterator[Any]:
    """The class and those it is made of, up to the general ones."""
    if not isinstance(documented, type):
        yield documented
        return
    for kind in documented.__mro__:
        if kind.__module__.startswith("neuro.") and kind is not nn.Module:
            yield kind


def _named(name: str) -> Any:
    for table in (RULES, LOSSES):
        if name in table:
            return table[name]
    guess = nearest(name, [*RULES, *LOSSES])
    hint = f"; did you mean {guess!r}?" if guess else ""
    raise InputError(f"{name!r} is neither a rule nor a loss{hint} (give the object itself for anything else)")


def _read(pattern: re.Pattern[str], text: str) -> Iterator[Reference]:
    for match in pattern.finditer(re.sub(r"\s+", " ", text)):
        names = re.split(r", | & ", match["authors"].removesuffix(" et al."))
        others = ("others",) if match["authors"].endswith("et al.") else ()
        venue = re.sub(r"(?:^|, )eq\..*", "", match.groupdict().get("venue") or "")
        yield Reference((*names, *others), int(match["year"]), match["title"].rstrip(",."), venue)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
