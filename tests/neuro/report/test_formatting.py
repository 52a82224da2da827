from __future__ import annotations

import math

import pytest

from neuro.report.formatting import layer_title, percent, share, short


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-3.25, "-3.25"), (99.96, "100"), (9999.0, "9,999"), (10_000.0, "10 k"), (1e6, "1 M"),
     (-2.5e9, "-2.5 G"), (math.inf, "–"), (math.nan, "–")],
)  # fmt: skip
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


def test_a_share_is_100_percent_only_when_all_is_equal() -> None:
    assert share(1 - 1e-12) != share(1.0) == "100 %"
    assert share(0.0) == "0.0000 %"


def test_percentages_of_nothing_known() -> None:
    assert {percent(None), percent(math.nan), percent(math.inf)} == {"–"}


def test_layers_without_a_name_are_numbered() -> None:
    assert [layer_title(name) for name in ("0", "12", "conv1", "")] == ["layer 0", "layer 12", "conv1", ""]
