"""Settings described once: default, help, unit, type and allowed values.

A group of settings is a frozen pydantic model whose fields are made by :func:`setting`. From
this one source come the defaults, the help texts, the flags and the messages for bad values.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from neuro.errors import InputError, nearest, unknown_name

__all__ = ["Settings", "allowed", "flag", "from_data", "from_flags", "group", "is_list", "names", "setting", "unit"]


class Settings(BaseModel):
    """Base of every group of settings: frozen, no unknown names, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


S = TypeVar("S", bound=Settings)


def setting(
    default: Any,
    text: str,
    *,
    group: str,
    unit: str = "",
    gt: float | None = None,
    ge: float | None = None,
    le: float | None = None,
) -> Any:
    """A field of :class:`Settings`.

    Args:
        default: its value when nothing else is said; None stands for "worked out later".
        text: what it means, for the help and the saved file.
        group: heading under which it is listed.
        unit: unit of a physical quantity, written out ("seconds").
        gt, ge, le: the value must be greater than, at least, at most this.
    """
    return Field(default, description=text, json_schema_extra={"group": group, "unit": unit}, gt=gt, ge=ge, le=le)


def flag(key: str) -> str:
    """The flag that sets ``key``.

    >>> flag("batch_size")
    '--batch-size'
    """
    return "--" + key.replace("_", "-")


def unit(info: FieldInfo) -> str:
    """Unit of a setting, or an empty string."""
    return _extra(info, "unit")


def group(info: FieldInfo) -> str:
    """Heading under which a setting is listed."""
    return _extra(info, "group")


def _extra(info: FieldInfo, key: str) -> str:
    extra = info.json_schema_extra
    return str(extra[key]) if isinstance(extra, dict) else ""


def names(info: FieldInfo) -> tuple[str, ...]:
    """The names a setting may take, if it is a choice among names."""
    kind = _kind(info.annotation)
    return get_args(kind) if get_origin(kind) is Literal else ()


def is_list(info: FieldInfo) -> bool:
    """Whether a setting takes several values."""
    return get_origin(_kind(info.annotation)) is tuple


def allowed(info: FieldInfo) -> str:
    """What a setting accepts, in words.

    >>> class Sensor(Settings):
    ...     refractory: float = setting(1e-3, "dead time", group="sensor", unit="seconds", ge=0)
    >>> allowed(Sensor.model_fields["refractory"])
    'a number in seconds, at least 0'
    """
    if names(info):
        return "one of " + ", ".join(names(info))
    kind = _kind(info.annotation)
    metadata = list(info.metadata)
    words = _WORDS.get(kind, "text")
    if get_origin(kind) is tuple:
        entry, *inner = get_args(get_args(kind)[0]) or (get_args(kind)[0],)
        words = f"a list of {_PLURALS[entry]}"
        metadata += [m for field in inner for m in getattr(field, "metadata", [field])]
    measure = f" in {unit(info)}" if unit(info) else ""
    each = "each " if get_origin(kind) is tuple else ""
    return ", ".join([words + measure, *(each + text for text in map(_bound, metadata) if text)])


_WORDS = types.MappingProxyType({int: "an integer", float: "a number", Path: "a path"})
_PLURALS = types.MappingProxyType({int: "integers", float: "numbers", str: "names"})


def _kind(annotation: Any) -> Any:
    """The type without ``| None``."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(kind for kind in get_args(annotation) if kind is not type(None))
    return annotation


def _bound(limit: Any) -> str:
    match limit:
        case Gt(gt=value):
            return f"greater than {value}"
        case Ge(ge=value):
            return f"at least {value}"
        case Le(le=value):
            return f"at most {value}"
    return ""


def from_data(kind: type[S], data: Mapping[str, Any], source: str) -> S:
    """Settings from parsed data whose values carry their types, such as a YAML mapping.

    An integer may stand for a number; nothing else is converted.

    Raises:
        InputError: unknown key, wrong type or value out of bounds; the message names ``source``.
    """
    for key in data:
        if key not in kind.model_fields:
            raise _unknown_key(str(key), kind, source)
    try:
        return kind.model_validate_json(json.dumps(dict(data), default=str), strict=True)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        raise _bad_value(f"{key} in {source}", key, data[key], kind.model_fields[key]) from None


def from_flags(base: S, given: Mapping[str, Any]) -> S:
    """``base`` with the values of command-line flags (text, or lists of text) in its place.

    Raises:
        InputError: a value cannot be read as what its flag takes.
    """
    kind = type(base)
    try:
        parsed = kind.model_validate(dict(given))
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        raise _bad_value(flag(key), key, given[key], kind.model_fields[key]) from None
    return base.model_copy(update={key: getattr(parsed, key) for key in given})


def _unknown_key(key: str, kind: type[Settings], source: str) -> InputError:
    guess = nearest(key, kind.model_fields)
    hint = f"did you mean {guess!r}?" if guess else "known keys: " + ", ".join(kind.model_fields)
    return InputError(f"unknown key {key!r} in {source}; {hint}")


def _bad_value(place: str, key: str, value: Any, info: FieldInfo) -> InputError:
    if names(info) and isinstance(value, str):
        return unknown_name(key.replace("_", " "), value, names(info))
    seen = repr(value)
    seen = seen if len(seen) <= 60 else seen[:57] + "..."
    return InputError(f"{place} is {seen}; it must be {allowed(info)}")
