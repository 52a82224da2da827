"""Settings as YAML files: numbers as people write them, no repeated keys, comments in what is saved."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import yaml

from neuro.cli.settings import Settings, allowed, from_data, group
from neuro.errors import FileFormatError, InputError
from neuro.files import atomic_write

__all__ = ["load_settings", "read_mapping", "save_settings", "to_yaml"]

S = TypeVar("S", bound=Settings)


class _Loader(yaml.SafeLoader):
    """PyYAML reads ``1e-3`` as text and lets the last of two equal keys win; this one does neither."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, list | dict):
            raise yaml.MarkedYAMLError(problem="a key must be a name", problem_mark=key_node.start_mark)
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"key {key!r} stands twice", problem_mark=key_node.start_mark)
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping at the top of a YAML file; an empty file is an empty mapping.

    Raises:
        InputError: the file cannot be read.
        FileFormatError: it is not YAML, or something else stands at its top.
    """
    try:
        data = yaml.load(path.read_bytes(), Loader=_Loader)
    except OSError as error:
        raise InputError(f"cannot read config {path}: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise FileFormatError(path, f"not valid YAML, {line}{error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FileFormatError(path, "not valid YAML, " + " ".join(str(error).split())) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise FileFormatError(path, f"must hold lines of the form `key: value`, holds {type(data).__name__}")
    return data


def load_settings(kind: type[S], path: Path) -> S:
    """Settings of that kind from a YAML file; keys that are not there keep their defaults.

    Raises:
        InputError: as :func:`read_mapping`, or unknown keys, wrong types, values out of bounds.
    """
    return from_data(kind, read_mapping(path), str(path))


def to_yaml(settings: Settings) -> str:
    """Every setting as YAML that reads back equal, with a comment of what it means.

    >>> from neuro.cli.config import TrainConfig
    >>> [line for line in to_yaml(TrainConfig(tau=0.01)).splitlines() if line.startswith("tau")]
    ['tau: 0.01 # membrane time constant before training (a number in seconds, greater than 0)']
    """
    values = settings.model_dump(mode="json")
    lines: list[str] = []
    heading = ""
    for key, info in type(settings).model_fields.items():
        if group(info) != heading:
            heading = group(info)
            lines += ["", f"# {heading}"]
        lines.append(f"{key}: {_inline(values[key])} # {info.description} ({allowed(info)})")
    return "\n".join(lines).lstrip("\n") + "\n"


def _inline(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def save_settings(settings: Settings, path: Path) -> None:
    """Write :func:`to_yaml` to ``path``, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(to_yaml(settings), encoding="utf-8")
