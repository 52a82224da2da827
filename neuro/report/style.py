"""The report's look in one place: colours, type sizes, and how a figure becomes a picture."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ParamSpec

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

__all__ = [
    "CORRECT",
    "FAINT",
    "INK",
    "LAYERS",
    "MUTED",
    "OFF",
    "ON",
    "ON_FILL",
    "WIDTH",
    "WRONG",
    "bare",
    "blank",
    "figure",
    "layer_colour",
    "picture",
    "styled",
]

# Okabe and Ito's palette (2008): distinct under every common colour blindness.
ON = "#0072b2"
OFF = "#d55e00"
CORRECT = "#0072b2"
WRONG = "#d55e00"
LAYERS = ("#009e73", "#b86a94", "#c98a00", "#4aa3d8", "#7a6fd0")

INK = "#24292f"  # text and axes: turned light when the page is dark
MUTED = "#6e7781"  # secondary text and reference lines: readable on light and dark
FAINT = "#d0d7de"  # rules, frames and empty cells: turned dark when the page is dark
ON_FILL = "#1b1f24"  # text upon a light coloured cell: the same on both pages

WIDTH = 10.2  # inches: the page's text column at 96 CSS pixels an inch
_DARK = MappingProxyType({INK: "#e6edf3", FAINT: "#3d444d", MUTED: "#8b949e", ON: "#3a94d4"})
_SETTINGS: Mapping[Any, Any] = MappingProxyType(
    {
        "font.family": "DejaVu Sans",
        "font.size": 9.0,
        "text.color": INK,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.labelsize": 9.0,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "axes.titlecolor": INK,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": "none",
        "axes.formatter.useoffset": False,
        "axes.grid": False,
        "grid.color": FAINT,
        "grid.linewidth": 0.6,
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.labelsize": 8.0,
        "ytick.labelsize": 8.0,
        "legend.fontsize": 8.0,
        "legend.frameon": False,
        "lines.linewidth": 1.5,
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "savefig.dpi": 160,
        "svg.fonttype": "path",
        "svg.hashsalt": "neuro",
    }
)

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw under the report's settings and leave matplotlib's own as they were."""

    @functools.wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(dict(_SETTINGS)):
            return draw(*args, **kwargs)

    return wrapped


def figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of ``width`` x ``height`` inches whose parts do not overlap."""
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))


def layer_colour(position: int) -> str:
    """The colour of the ``position``-th layer, the same in every figure.

    >>> layer_colour(0) == layer_colour(len(LAYERS))
    True
    """
    return LAYERS[position % len(LAYERS)]


def bare(axes: Axes) -> None:
    """Remove an axes' frame and ticks, for pictures and labels."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def blank(axes: Axes, message: str) -> None:
    """Say in an axes that has nothing to show why that is so."""
    bare(axes)
    axes.text(0.5, 0.5, message, transform=axes.transAxes, ha="center", va="center", color=MUTED)


def picture(drawn: Figure) -> str:
    """The figure as a data URI: one SVG that follows the reader's light or dark setting.

    >>> picture(Figure(figsize=(1, 1)))[:26]
    'data:image/svg+xml;base64,'
    """
    with matplotlib.rc_context(dict(_SETTINGS)):
        stream = io.StringIO()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        drawn.savefig(stream, format="svg", metadata=metadata)
    text = stream.getvalue()
    start = text.index("<svg")
    text = text[start:].replace("<defs>", _dark_rules() + "<defs>", 1)
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode("ascii")


def _dark_rules() -> str:
    """Style rules that exchange ink and rules of a figure when the page is dark."""
    rules = "".join(
        f'[style*="{part}: {light}"]{{{part}:{dark} !important}}'
        for light, dark in _DARK.items()
        for part in ("fill", "stroke")
    )
    return f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
