from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from neuro.cli.settings import Settings, allowed, flag, from_data, from_flags, group, is_list, names, setting, unit
from neuro.errors import InputError

NAN = float("nan")


class Sample(Settings):
    count: int = setting(3, "how many", group="a", ge=1)
    length: float = setting(0.5, "how long", group="a", unit="seconds", gt=0, le=2)
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = setting((4,), "of each", group="b")
    colour: Literal["red", "green"] = setting("red", "which", group="b")
    place: Path | None = setting(None, "where", group="b")
    title: str = setting("x", "called", group="b")


FIELDS = Sample.model_fields


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("count", "an integer, at least 1"),
        ("length", "a number in seconds, greater than 0, at most 2"),
        ("sizes", "a list of integers, each at least 1"),
        ("colour", "one of red, green"),
        ("place", "a path"),
        ("title", "text"),
    ],
)
def test_allowed_says_type_unit_and_bounds(key: str, words: str) -> None:
    assert allowed(FIELDS[key]) == words


def test_facts_of_a_setting() -> None:
    assert (flag("batch_size"), flag("lr")) == ("--batch-size", "--lr")
    assert (unit(FIELDS["length"]), unit(FIELDS["count"])) == ("seconds", "")
    assert (group(FIELDS["count"]), group(FIELDS["sizes"])) == ("a", "b")
    assert (names(FIELDS["colour"]), names(FIELDS["title"])) == (("red", "green"), ())
    assert [key for key in FIELDS if is_list(FIELDS[key])] == ["sizes"]


def test_from_data_takes_typed_values() -> None:
    made = from_data(Sample, {"count": 7, "length": 1, "sizes": [2, 5], "colour": "green", "place": "a/b"}, "s.yaml")
    assert made == Sample(count=7, length=1.0, sizes=(2, 5), colour="green", place=Path("a/b"))
    assert isinstance(made.length, float)
    assert from_data(Sample, {}, "s.yaml") == Sample()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"count": "7"}, "count in s.yaml is '7'; it must be an integer, at least 1"),
        ({"count": 7.0}, "count in s.yaml is 7.0; it must be an integer, at least 1"),
        ({"count": True}, "count in s.yaml is True; it must be an integer, at least 1"),
        ({"count": None}, "count in s.yaml is None; it must be an integer, at least 1"),
        ({"count": 0}, "count in s.yaml is 0; it must be an integer, at least 1"),
        ({"length": "0.5"}, "length in s.yaml is '0.5'; it must be a number in seconds, greater than 0, at most 2"),
        ({"length": 2.5}, "length in s.yaml is 2.5; it must be a number in seconds, greater than 0, at most 2"),
        ({"length": NAN}, "length in s.yaml is nan; it must be a number in seconds, greater than 0, at most 2"),
        ({"sizes": 4}, "sizes in s.yaml is 4; it must be a list of integers, each at least 1"),
        ({"sizes": [4, 0]}, "sizes in s.yaml is [4, 0]; it must be a list of integers, each at least 1"),
        ({"sizes": [4.5]}, "sizes in s.yaml is [4.5]; it must be a list of integers, each at least 1"),
        ({"colour": 1}, "colour in s.yaml is 1; it must be one of red, green"),
        ({"colour": "gren"}, "unknown colour 'gren'; did you mean 'green'? (known: red, green)"),
        ({"place": 5}, "place in s.yaml is 5; it must be a path"),
        ({"title": "y" * 99, "count": []}, "count in s.yaml is []; it must be an integer, at least 1"),
        ({"cuont": 7}, "unknown key 'cuont' in s.yaml; did you mean 'count'?"),
        (
            {1: 2},
            "unknown key '1' in s.yaml; known keys: count, length, sizes, colour, place, title",
        ),
    ],
)
def test_from_data_refuses(data: dict[Any, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        from_data(Sample, data, "s.yaml")
    assert str(caught.value) == message


def test_a_long_value_is_shortened() -> None:
    with pytest.raises(InputError) as caught:
        from_data(Sample, {"count": "7" * 1000}, "s.yaml")
    assert len(str(caught.value)) < 130


def test_from_flags_reads_text_and_keeps_the_rest() -> None:
    base = Sample(count=9, title="kept")
    made = from_flags(base, {"length": "1e-3", "sizes": ["8", "2"], "place": "/tmp/x"})
    assert made == Sample(count=9, title="kept", length=1e-3, sizes=(8, 2), place=Path("/tmp/x"))
    assert base == Sample(count=9, title="kept")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": "many"}, "--count is 'many'; it must be an integer, at least 1"),
        ({"count": "1.5"}, "--count is '1.5'; it must be an integer, at least 1"),
        ({"length": "inf"}, "--length is 'inf'; it must be a number in seconds, greater than 0, at most 2"),
        ({"sizes": ["8", "x"]}, "--sizes is ['8', 'x']; it must be a list of integers, each at least 1"),
        ({"colour": "blue"}, "unknown colour 'blue' (known: red, green)"),
    ],
)
def test_from_flags_refuses(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        from_flags(Sample(), given)
    assert str(caught.value) == message


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Sample().count = 5
