"""Why another reading of the same network gives other spikes, found by experiment.

Three findings are possible, tried in this order. *Inherited*: the layer differs only where
an earlier one did so before. *Rounding*: at the first difference of every sample our membrane
is within float rounding of the threshold. *Assumption*: our own network, changed by what
another library may assume (r is 1, another time step, ...), gives that library's spikes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from neuro.hardware.assumptions import ASSUMPTIONS, assume
from neuro.network import Network, NetworkState, record
from neuro.neurons import Cell

__all__ = ["ROUNDING", "explain"]

ROUNDING = 1e-5
"""Largest distance of a membrane to its threshold, relative to the larger of the threshold and 1,
that float32 sums over a layer's inputs and time steps can bridge."""

_MOST_TOGETHER = 3


@dataclass(frozen=True)
class _Difference:
    """Where a layer differs from ours before any earlier layer does.

    Attributes:
        samples: in how many samples.
        gap: largest distance to the threshold at these samples' first difference, relative.
        where: sample, step and neuron of that largest distance.
    """

    samples: int
    gap: float
    where: tuple[int, int, int]


def explain(net: Network, theirs: Mapping[str, Tensor], x: Tensor, *, own_dt: float | None = None) -> dict[str, str]:
    """One reason for each layer of ``theirs`` that differs from what ``net`` does with ``x``.

    Args:
        net: our network.
        theirs: output of each cell ``[T, B, *size]`` as another library has it.
        x: input ``[T, B, ...]`` both were given.
        own_dt: a time step in seconds that the library may have taken instead of ours.

    Returns:
        Name of each differing layer -> one line.
    """
    found = _differences(net, theirs, x)
    own = {name: d for name, d in found.items() if d is not None and d.samples}
    reasons = {name: "follows from the layers before it" for name, d in found.items() if d is not None}
    if all(d.gap <= ROUNDING for d in own.values()):
        return reasons | {name: _rounding(d) for name, d in own.items()}
    because = _assumption(net, theirs, x, own_dt)
    if because is not None:
        return reasons | dict.fromkeys(own, because)
    return reasons | {name: _rounding(d) if d.gap <= ROUNDING else _unexplained(d) for name, d in own.items()}


def _assumption(net: Network, theirs: Mapping[str, Tensor], x: Tensor, own_dt: float | None) -> str | None:
    """The fewest assumptions under which our own network gives their spikes, or None."""
    batch = x.shape[1]
    possible = [text for text in ASSUMPTIONS if assume(net, [text], batch, own_dt)[2]]
    for count in range(1, _MOST_TOGETHER + 1):
        for texts in itertools.combinations(possible, count):
            twin, state, told = assume(net, texts, batch, own_dt)
            found = _differences(twin, theirs, x, state).values()
            if all(d is None or d.gap <= ROUNDING for d in found):
                silent = not any(bool(z.any()) for z in theirs.values())
                return (
                    f"{'; '.join(told)} (our network changed so {'is as silent' if silent else 'gives these spikes'})"
                )
    return None


def _rounding(difference: _Difference) -> str:
    n = difference.samples
    return (
        f"rounding: at the first difference in {n} samples the membrane is within {difference.gap:.1e} of the threshold"
    )


def _unexplained(difference: _Difference) -> str:
    sample, step, neuron = difference.where
    return (
        f"unexplained: first at sample {sample}, step {step}, neuron {neuron} of those tried, "
        f"where our membrane is {difference.gap:.2g} from the threshold"
    )


def _differences(
    net: Network, theirs: Mapping[str, Tensor], x: Tensor, state: NetworkState | None = None
) -> dict[str, _Difference | None]:
    """For each layer None where all is equal, else what is its own in the difference."""
    ours = record(net, x, state)
    steps, batch = x.shape[:2]
    earlier = torch.full((batch,), steps)
    found: dict[str, _Difference | None] = {}
    for name, there in theirs.items():
        differs = (ours[name]["z"] != there).flatten(2)
        at_all = differs.any(2)
        first = torch.where(at_all.any(0), at_all.float().argmax(0), steps)
        gaps = _gaps(net.cells[name], ours[name], there).flatten(2)
        found[name] = _own(differs, first, first < earlier, gaps) if bool(at_all.any()) else None
        earlier = torch.minimum(earlier, first)
    return found


def _own(differs: Tensor, first: Tensor, mine: Tensor, gaps: Tensor) -> _Difference:
    samples = torch.nonzero(mine).flatten()
    if not len(samples):
        return _Difference(0, 0.0, (0, 0, 0))
    rows = torch.where(differs[first[samples], samples], gaps[first[samples], samples], 0.0)
    k, neuron = divmod(int(rows.argmax()), rows.shape[1])
    sample = int(samples[k])
    return _Difference(len(samples), float(rows.max()), (sample, int(first[sample]), neuron))


def _gaps(cell: Cell, ours: Mapping[str, Tensor], there: Tensor) -> Tensor:
    """Distance of each membrane to its threshold, or of outputs that are no spikes to each other."""
    if cell.equations.drive is None:
        return (ours["z"] - there).abs() / ours["z"].abs().max().clamp(min=1e-12)
    threshold = cell.parameters_si()["v_threshold"]
    return (ours["v"] - threshold).abs() / threshold.abs().clamp(min=1.0)
