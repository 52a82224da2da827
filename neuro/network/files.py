"""Definitions and files of networks; nothing in a file is ever executed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from neuro.errors import FileFormatError, InputError, unknown_name
from neuro.files import atomic_write
from neuro.layer import StatefulLayer
from neuro.network.base import Network
from neuro.network.graph import Graph
from neuro.network.residual import Residual
from neuro.network.sequential import Sequential
from neuro.network.tied import Tied
from neuro.neurons import POPULATIONS, Cell
from neuro.neurons.recurrent import Recurrent
from neuro.synapses import SYNAPSES
from neuro.synapses.weights import restore

__all__ = ["build", "load", "save"]

_NETWORKS: tuple[type[Network], ...] = (Sequential, Residual, Graph, Tied)


def build(definition: Mapping[str, Any], *, cells: Iterable[type[Cell]] = ()) -> Network:
    """The network that ``definition`` describes, freshly initialised.

    Args:
        definition: from :meth:`Network.definition`.
        cells: classes of cells of one's own that occur in it.

    Raises:
        InputError: a layer of an unknown type.
    """
    kinds: dict[str, Any] = {**POPULATIONS, **SYNAPSES, **{c.__name__: c for c in (*_NETWORKS, *cells)}}
    kind = definition.get("type", Sequential.__name__)
    if kind not in {c.__name__ for c in _NETWORKS}:
        raise InputError(f"a definition of type {kind!r} is no network; allowed are {[c.__name__ for c in _NETWORKS]}")
    options = {k: v for k, v in definition.items() if k not in ("format", "type")}
    return _network(kinds[kind], options, kinds)


def _network(kind: type[Network], options: Mapping[str, Any], kinds: Mapping[str, Any]) -> Network:
    arrangement = dict(options)
    layers = {entry["name"]: _layer(entry, kinds) for entry in arrangement.pop("layers")}
    return kind.assemble(layers, **arrangement)


def _layer(entry: Mapping[str, Any], kinds: Mapping[str, Any]) -> nn.Module:
    name = entry["type"]
    if name not in kinds:
        raise unknown_name("layer type", name, kinds)
    kind, options = kinds[name], {k: v for k, v in entry.items() if k not in ("name", "type", "weights")}
    if issubclass(kind, Network):
        return _network(kind, options, kinds)
    if issubclass(kind, Recurrent):
        options["cell"] = _layer(options["cell"], kinds)
    layer: nn.Module = kind.from_definition(options) if issubclass(kind, StatefulLayer) else kind(**options)
    return restore(layer, entry.get("weights", ()))


def save(net: Network, path: str | Path) -> Path:
    """Write ``net`` (architecture and values) to a safetensors file; nothing in it is ever executed.

    Returns:
        The path written; equal networks give equal bytes. An earlier file at that path survives any failure.
    """
    from safetensors.torch import save_file

    target = Path(path)
    text = {"neuro": json.dumps(net.definition())}  # one entry: their order in the file is not fixed
    with atomic_write(target) as temporary:
        save_file({k: v.detach().contiguous() for k, v in net.state_dict().items()}, temporary, metadata=text)
    return target


def load(path: str | Path, *, cells: Iterable[type[Cell]] = ()) -> Network:
    """Read a network written by :func:`save`.

    Args:
        cells: classes of cells of one's own that occur in it.

    Raises:
        FileFormatError: missing, truncated or corrupt file, or one of another kind.
    """
    from safetensors import SafetensorError, safe_open

    target = Path(path)
    if not target.is_file():
        raise FileFormatError(target, "no such file")
    try:
        with safe_open(target, framework="pt") as file:
            metadata = file.metadata() or {}
            values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise FileFormatError(target, f"not a whole safetensors file ({error})") from None
    if "neuro" not in metadata:
        raise FileFormatError(target, "a safetensors file, but not written by neuro.save")
    try:
        net = build(json.loads(metadata["neuro"]), cells=cells)
        net.load_state_dict(values)
    except (KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        raise FileFormatError(target, f"its network definition does not fit ({_one_line(error)})") from None
    return net


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
