"""Numbers and names as people read them."""

from __future__ import annotations

import math

__all__ = ["layer_title", "percent", "share", "short"]


def short(value: float) -> str:
    """A number in at most five characters or so, for labels; a dash when it is not known.

    >>> [short(x) for x in (0, 0.0123, 7.5, 123.4, 1234, 56789, 2.5e6, float("nan"))]
    ['0', '0.0123', '7.5', '123', '1,234', '56.8 k', '2.5 M', '–']
    """
    if not math.isfinite(value):
        return "–"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size and not (unit == "k" and abs(value) < 1e4):
            return f"{value / size:.3g} {unit}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percent(fraction: float | None) -> str:
    """A fraction as a percentage with two decimals, or a dash when it is not known.

    >>> percent(0.97222), percent(None), percent(float("nan"))
    ('97.22 %', '–', '–')
    """
    return "–" if fraction is None or not math.isfinite(fraction) else f"{100 * fraction:.2f} %"


def share(fraction: float | None) -> str:
    """A fraction as a percentage that says 100 % only of all, or a dash when there is none.

    >>> share(1.0), share(0.9999999), share(0.98312), share(None)
    ('100 %', '99.9999 %', '98.3120 %', '–')
    """
    if fraction is None:
        return "–"
    return "100 %" if fraction == 1 else f"{min(100 * fraction, 99.9999):.4f} %"


def layer_title(name: str) -> str:
    """A layer's name for people: layers without a name of their own are numbered.

    >>> layer_title("3"), layer_title("readout")
    ('layer 3', 'readout')
    """
    return f"layer {name}" if name.isdecimal() else name
