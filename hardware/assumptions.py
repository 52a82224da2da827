"""What another library may take for granted about a cell, as changes to one of our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from neuro.kernels.compiler.equations import Equations, Parameter
from neuro.network import Network, NetworkState, Sequential
from neuro.neurons import Cell, CuBaLIF

__all__ = ["ASSUMPTIONS", "assume"]

Values = dict[str, Any]
"""A cell taken apart: its parameters in SI units, ``dt`` [s], ``method``, ``reset``, ``refractory`` [s], ``start``
(the membrane at the first step) and ``kind`` (the class)."""


class SameStepCuBaLIF(Cell):
    """CuBaLIF whose membrane already feels the current of the same step (semi-implicit Euler).

    ``h`` is the time step [s], which an equation cannot name; only ``method="euler"`` means it.
    """

    equations = Equations(
        "SameStepCuBaLIF",
        """
        di/dt = (w_in*x - i) / tau_syn
        dv/dt = ((v_leak - v) + r*(i + h*(w_in*x - i)/tau_syn)) / tau_mem
        spike when v > v_threshold
        reset value: v = v_reset
        reset subtract: v = v - v_threshold
        """,
        {**CuBaLIF.equations.parameters, "h": Parameter(1e-3, "s", positive=True, doc="time step")},
    )


def _take_apart(cell: Cell) -> Values:
    values: Values = {**cell.parameters_si(), "dt": cell.dt, "method": cell.method, "start": 0.0, "kind": type(cell)}
    held = dict(cell.named_buffers()).get("refractory")
    values |= {} if held is None else {"refractory": held}
    return values | ({} if cell.equations.drive is None else {"reset": cell.reset})


def _put_together(values: Values, size: tuple[int, ...]) -> Cell:
    options = {name: value for name, value in values.items() if name not in ("start", "kind") and value is not None}
    if values["kind"] is SameStepCuBaLIF:
        options["h"] = values["dt"]
    cell: Cell = values["kind"](size, learn=(), **options)
    return cell


def _constant(name: str, value: float) -> Callable[[Values, float | None], Values]:
    return lambda values, _: {name: torch.full_like(values[name], value)} if name in values else {}


def _named(name: str, value: str) -> Callable[[Values, float | None], Values]:
    return lambda values, _: {name: value} if name in values else {}


def _one_gain(values: Values, _: float | None) -> Values:
    if "tau" not in values:
        return {}
    gain = values["r"] / values["tau"]
    return {"r": gain.min() * values["tau"]} if bool(gain.min() != gain.max()) else {}


def _whole_input(values: Values, _: float | None) -> Values:
    return (
        {"r": torch.full_like(values["r"], 1 / values["dt"])} if "tau" not in values and "tau_mem" not in values else {}
    )


ASSUMPTIONS: Mapping[str, Callable[[Values, float | None], Values]] = MappingProxyType(
    {
        "dt taken as {new} s, here {old} s": lambda values, own_dt: {"dt": own_dt} if own_dt else {},
        "steps with forward Euler, here method {old}": _named("method", "euler"),
        "steps exponentially, here method {old}": _named("method", "exponential"),
        "resets to v_reset, here reset {old}": _named("reset", "value"),
        "resets by subtraction, here reset {old}": _named("reset", "subtract"),
        "has no refractory period, here {old} s": lambda values, _: (
            {"refractory": None} if "refractory" in values else {}
        ),
        "r taken as 1, here {old}": _constant("r", 1.0),
        "w_in taken as 1, here {old}": _constant("w_in", 1.0),
        "v_reset taken as 0, here {old}": _constant("v_reset", 0.0),
        "v_leak taken as 0, here {old}": _constant("v_leak", 0.0),
        "membrane starts at v_leak {new}, here at 0": lambda values, _: (
            {"start": values["v_leak"]} if "v_leak" in values else {}
        ),
        "adds the input whole to the membrane, here times r dt with r {old}": _whole_input,
        "membrane takes the current of the same step, here of the step before": lambda values, _: (
            {"kind": SameStepCuBaLIF} if values["kind"] is CuBaLIF and values["method"] == "euler" else {}
        ),
        "input gain r/tau taken as its smallest value for all neurons (r {new}, here {old})": _one_gain,
    }
)
"""Text of an assumption, ``{old}`` and ``{new}`` being what it changes -> function of (a cell taken apart, the
library's own time step in seconds or None) that gives the changed entries."""


def assume(
    net: Network, texts: Sequence[str], batch: int, own_dt: float | None
) -> tuple[Network, NetworkState, list[str]]:
    """``net`` as a library with these assumptions would run it.

    Args:
        net: our network.
        texts: keys of :data:`ASSUMPTIONS`.
        batch: how many samples it will be given.
        own_dt: time step in seconds that the library may take whatever it is asked.

    Returns:
        The changed network, the state that it starts from, and the assumptions that change
        anything, with the values filled in.
    """
    layers: dict[str, nn.Module] = {}
    state: list[tuple[Tensor, ...] | None] = []
    seen: dict[str, list[tuple[Any, Any]]] = {text: [] for text in texts}
    for name, layer in net.layers.items():
        layers[name] = layer
        state.append(None)
        if isinstance(layer, Cell):
            values = _take_apart(layer)
            for text in texts:
                changes = ASSUMPTIONS[text](values, own_dt)
                seen[text] += [(values[k], v) for k, v in changes.items() if not _same(values[k], v)]
                values |= changes
            layers[name] = cell = _put_together(values, layer.size)
            state[-1] = _start(cell, values["start"], batch)
    told = [
        text.format(old=_range([old for old, _ in pairs]), new=_range([new for _, new in pairs]))
        for text, pairs in seen.items()
        if pairs
    ]
    return Sequential(layers), tuple(state), told


def _start(cell: Cell, start: Tensor | float, batch: int) -> tuple[Tensor, ...]:
    like = next(iter(cell.parameters_si().values()))
    membrane = cell.equations.states.index("v")
    state = cell.initial_state(batch, dtype=like.dtype)
    return tuple(s + start if k == membrane else s for k, s in enumerate(state))


def _same(old: object, new: object) -> bool:
    if old is None or new is None:
        return old is new
    if isinstance(old, Tensor) or isinstance(new, Tensor):
        return bool(torch.all(torch.as_tensor(old) == torch.as_tensor(new)))
    return old == new


def _range(values: Sequence[Any]) -> str:
    if not isinstance(values[0], Tensor | float):
        return " and ".join(sorted({repr(v) for v in values}))
    flat = torch.cat([torch.as_tensor(v).flatten() for v in values])
    low, high = float(flat.min()), float(flat.max())
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
