"""Composition: layers in sequence, explicit state, definitions and files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from neuro.errors import FileFormatError, InputError, unknown_name
from neuro.files import atomic_write
from neuro.kernels.compiler.route import Route
from neuro.layer import Population, State, StatefulLayer
from neuro.neurons import POPULATIONS, Cell
from neuro.neurons.liquid import Liquid
from neuro.neurons.membrane_norm import NORMALISED
from neuro.neurons.recurrent import Recurrent
from neuro.recompute import in_stretches
from neuro.synapses import SYNAPSES
from neuro.synapses.normalisation import NORMALISATIONS
from neuro.synapses.weights import describe, restore

__all__ = ["NetworkState", "Sequential", "build", "load", "record", "save"]

NetworkState = tuple[State | None, ...]
"""One entry per layer: its state, None for a layer that has none."""

_FORMAT = "neuro.network/1"


class Sequential(nn.Module):
    """Layers one after the other.

    Args:
        *layers: modules, named ``"0"``, ``"1"``, ...; or one mapping of names to modules.

    Raises:
        InputError: no layer, or cells whose ``dt`` differ.

    >>> import neuro
    >>> net = neuro.Sequential(neuro.Linear(4, 3), neuro.LIF(3), neuro.Linear(3, 2), neuro.LI(2))
    >>> out, state = net(torch.ones(10, 1, 4))
    >>> out.shape
    torch.Size([10, 1, 2])
    """

    def __init__(self, *layers: nn.Module | Mapping[str, nn.Module]) -> None:
        super().__init__()
        named: Iterable[tuple[str, Any]] = ((str(k), layer) for k, layer in enumerate(layers))
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            named = layers[0].items()
        for name, layer in named:
            if not isinstance(layer, nn.Module):
                raise InputError(f"layer {name!r} must be a module, got {type(layer).__name__}")
            if isinstance(layer, Sequential):
                raise InputError(
                    f"layer {name!r} is a Sequential, whose state would be lost; give its layers one by one"
                )
            if hasattr(type(self), name) or name in self.__dict__ or "." in name or not name:
                raise InputError(f"a layer cannot be named {name!r}: empty, dotted, or taken by Sequential itself")
            self.add_module(name, layer)
        if not self._modules:
            raise InputError("a network needs at least one layer")
        steps = sorted({m.dt for m in self.layers.values() if isinstance(m, StatefulLayer)})
        if len(steps) > 1:
            raise InputError(f"all layers of a network share one dt, got {steps} s")

    @property
    def layers(self) -> Mapping[str, nn.Module]:
        """The layers by name, in order."""
        return MappingProxyType({n: m for n, m in self._modules.items() if m is not None})

    @property
    def cells(self) -> Mapping[str, Cell]:
        """The cells declared by equations (of a recurrent layer: its cell), by name, in order."""
        found = {n: m for n, m in self.layers.items() if isinstance(m, Cell | Recurrent)}
        return MappingProxyType({n: m.cell if isinstance(m, Recurrent) else m for n, m in found.items()})

    @property
    def dt(self) -> float:
        """Time step of the layers that have state, in seconds."""
        steps = [m.dt for m in self.layers.values() if isinstance(m, StatefulLayer)]
        if not steps:
            raise InputError("a network without cells has no dt")
        return steps[0]

    def forward(
        self,
        x: Tensor,
        state: NetworkState | None = None,
        *,
        route: Route | None = None,
        recompute: int | None = None,
        timespans: Tensor | None = None,
    ) -> tuple[Tensor, NetworkState]:
        """Run a sequence.

        Args:
            x: input ``[T, B, ...]``, time first.
            state: as returned for the steps before; zero unless given.
            route: edges that backward ignores (a property of the learning rule).
            recompute: keep for backward only the state at every so many steps, and run what lies between once
                more when its gradient is due: a fraction of the memory for less than one more forward pass.
            timespans: seconds from step to step, ``[T]`` or ``[T, B]``, where all layers with state are liquid cells.

        Returns:
            Output of the last layer ``[T, B, ...]`` and the state after the last step.

        Raises:
            InputError: what a layer refuses; ``recompute`` that is not a positive whole number, or with a normalisation
                in training; ``timespans`` with layers that go by steps, or with ``recompute``.
        """
        if timespans is not None:
            self._check_irregular(recompute)
        if recompute is not None and torch.is_grad_enabled():
            self._check_recompute()
            if state is None:  # a state of None would have no gradient to carry from stretch to stretch
                state = self.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
            trained = [p for p in self.parameters() if p.requires_grad]
            return in_stretches(lambda part, s: self(part, s, route=route), x, state, trained, recompute)
        after: list[State | None] = []
        for layer, before in zip(self.layers.values(), self._check(state), strict=True):
            s: State | None = None
            if isinstance(layer, Liquid):
                x, s = layer(x, before, timespans, route=route)
            elif isinstance(layer, StatefulLayer):
                x, s = layer(x, before, route=route)
            else:
                x = layer(x)
            after.append(s)
        return x, tuple(after)

    def _check_irregular(self, recompute: int | None) -> None:
        if recompute is not None:
            raise InputError("timespans and recompute do not go together; leave one of them out")
        regular = [n for n, m in self.layers.items() if isinstance(m, StatefulLayer) and not isinstance(m, Liquid)]
        if regular:
            raise InputError(f"timespans are for liquid cells, but layers {regular} go by steps; leave timespans out")

    def _check_recompute(self) -> None:
        norms = (*NORMALISATIONS.values(), *NORMALISED.values())
        found = [n for n, m in self.layers.items() if isinstance(m, norms) and m.training]
        if found:
            raise InputError(
                f"normalisations {found} take their statistics from all steps at once, and only once; leave recompute out"
            )

    def step(self, x: Tensor, state: NetworkState | None = None) -> tuple[Tensor, NetworkState]:
        """One time step: ``x`` is ``[B, ...]``; returns output ``[B, ...]`` and the new state."""
        y, after = self(x.unsqueeze(0), state)
        return y[0], after

    def initial_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> NetworkState:
        """All states zero."""
        return tuple(
            m.initial_state(batch, device=device, dtype=dtype) if isinstance(m, StatefulLayer) else None
            for m in self.layers.values()
        )

    def _check(self, state: NetworkState | None) -> NetworkState:
        if state is None:
            return (None,) * len(self.layers)
        if len(state) != len(self.layers):
            raise InputError(f"network state must have {len(self.layers)} entries, one per layer, got {len(state)}")
        return state

    def definition(self) -> dict[str, Any]:
        """The architecture without weights, JSON-able; :func:`build` is its inverse."""
        layers = [
            {"name": n, "type": type_before_parametrizations(m).__name__, **_definition(n, m)}
            for n, m in self.layers.items()
        ]
        return {"format": _FORMAT, "layers": layers}


def _definition(name: str, layer: nn.Module) -> dict[str, Any]:
    own: Callable[[], dict[str, Any]] | None = getattr(layer, "definition", None)
    if own is None:
        raise InputError(
            f"layer {name!r} ({type(layer).__name__}) has no definition(), so it cannot be written to a file"
        )
    return {**own(), **describe(layer)}


def build(definition: Mapping[str, Any], *, cells: Iterable[type[Cell]] = ()) -> Sequential:
    """The network that ``definition`` describes, freshly initialised.

    Args:
        definition: from :meth:`Sequential.definition`.
        cells: classes of cells of one's own that occur in it.

    Raises:
        InputError: a layer of an unknown type.
    """
    kinds: dict[str, Any] = {**POPULATIONS, **SYNAPSES, **{c.__name__: c for c in cells}}
    return Sequential({entry["name"]: _layer(entry, kinds) for entry in definition["layers"]})


def _layer(entry: Mapping[str, Any], kinds: Mapping[str, Any]) -> nn.Module:
    kind = entry["type"]
    if kind not in kinds:
        raise unknown_name("layer type", kind, kinds)
    options = {k: v for k, v in entry.items() if k not in ("name", "type", "weights")}
    if issubclass(kinds[kind], Recurrent):
        options["cell"] = _layer(options["cell"], kinds)
    layer: nn.Module = (
        kinds[kind].from_definition(options) if issubclass(kinds[kind], StatefulLayer) else kinds[kind](**options)
    )
    return restore(layer, entry.get("weights", ()))


@torch.no_grad()
def record(net: Sequential, x: Tensor, state: NetworkState | None = None) -> dict[str, dict[str, Tensor]]:
    """Output and states of every cell over a sequence, without gradients.

    Args:
        x: input ``[T, B, ...]``.
        state: initial state of the network; zero unless given.

    Returns:
        For each cell's name: ``"z"``, its output, and each state variable by name (``"v"``, the
        membrane) after its update and before its reset; all ``[T, B, *size]``.
    """
    recorded: dict[str, dict[str, Tensor]] = {}
    for (name, layer), before in zip(net.layers.items(), net._check(state), strict=True):
        if isinstance(layer, Population):
            x, _, traces = layer.trace(x, before)
            recorded[name] = {"z": x, **traces}
        elif isinstance(layer, StatefulLayer):
            x, _ = layer(x, before)
        else:
            x = layer(x)
    return recorded


def save(net: Sequential, path: str | Path) -> Path:
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


def load(path: str | Path, *, cells: Iterable[type[Cell]] = ()) -> Sequential:
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
