from __future__ import annotations

from pathlib import Path

import pytest

from neuro.errors import FileFormatError, InputError, nearest, unknown_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [("bppt", "bptt"), ("slt", "sltt"), ("bptt", "bptt"), ("hebb", None), ("", None)],
)
def test_nearest(name: str, expected: str | None) -> None:
    assert nearest(name, iter(["bptt", "sltt"])) == expected


def test_nearest_looks_past_upper_and_lower_case() -> None:
    assert nearest("adex", ["EIF", "AdEx"]) == "AdEx"
    assert nearest("BPPT", ["bptt", "sltt"]) == "bptt"
    assert nearest("lif", ["CuBaLIF", "LIF"]) == "LIF"


def test_unknown_name_suggests_and_lists() -> None:
    text = str(unknown_name("rule", "slt", ["bptt", "sltt"]))
    assert "unknown rule 'slt'" in text
    assert "did you mean 'sltt'?" in text
    assert "(known: bptt, sltt)" in text


def test_unknown_name_without_a_guess_still_lists() -> None:
    text = str(unknown_name("data set", "quark\nstrange", ["digits"]))
    assert text == r"unknown data set 'quark\nstrange' (known: digits)"
    assert str(unknown_name("logger", "x", [])) == "unknown logger 'x' (none is known)"


def test_a_table_read_once_is_enough() -> None:
    assert "(known: a, b)" in str(unknown_name("thing", "c", iter("ab")))


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(None, "net.nir: truncated"), (0, "net.nir at byte 0: truncated"), (917, "net.nir at byte 917: truncated")],
)
def test_file_error_names_file_and_offset(offset: int | None, expected: str) -> None:
    error = FileFormatError("net.nir", "truncated", offset=offset)
    assert str(error) == expected
    assert error.path == Path("net.nir")
    assert error.offset == offset


def test_everything_a_caller_gets_wrong_is_a_value_error() -> None:
    assert issubclass(FileFormatError, InputError)
    assert issubclass(InputError, ValueError)
    assert isinstance(unknown_name("rule", "x", []), InputError)
