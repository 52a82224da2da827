from __future__ import annotations

import base64
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.figure import Figure

from neuro.report import style


def decoded(uri: str) -> str:
    kind, _, body = uri.partition(",")
    assert kind == "data:image/svg+xml;base64"
    return base64.b64decode(body).decode()


@style.styled
def drawn() -> Figure:
    figure = style.figure(2)
    figure.subplots().plot([1, 2, 3])
    return figure


def test_a_picture_is_whole_svg_that_names_nothing_outside() -> None:
    text = decoded(style.picture(drawn()))
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    references = [value for node in root.iter() for key, value in node.attrib.items() if key.endswith("href")]
    assert all(value.startswith(("#", "data:")) for value in references)


def test_the_same_figure_gives_the_same_picture() -> None:
    assert style.picture(drawn()) == style.picture(drawn())


def test_ink_is_exchanged_on_dark_pages() -> None:
    text = decoded(style.picture(drawn()))
    assert "prefers-color-scheme: dark" in text
    assert f'[style*="fill: {style.INK}"]' in text
    assert f"fill: {style.INK}" in text.partition("</style>")[2]  # and there is ink to exchange


def test_drawing_leaves_the_settings_of_the_caller_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(matplotlib.rcParams)
    style.picture(drawn())
    assert dict(matplotlib.rcParams) == before


def test_a_failing_drawing_restores_the_settings() -> None:
    @style.styled
    def broken() -> Figure:
        raise ZeroDivisionError

    before = dict(matplotlib.rcParams)
    with pytest.raises(ZeroDivisionError):
        broken()
    assert dict(matplotlib.rcParams) == before
