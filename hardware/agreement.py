"""Does the exported network spike as ours does? Ours, the file read back, and other libraries on one input."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from neuro.errors import InputError, unknown_name
from neuro.hardware.judges import JUDGES, Judge, JudgeError, Reading
from neuro.hardware.reasons import explain
from neuro.hardware.targets import read
from neuro.network import Network, record
from neuro.neurons import Cell

__all__ = ["Agreement", "Row", "compare"]

_SAMPLES_EXPLAINED = 16
_HERE = "neuro, read back"

Run: TypeAlias = Callable[[Tensor], Mapping[str, Tensor]]
"""Output of each cell ``[T, B, *size]`` for an input ``[T, B, ...]``."""


@dataclass(frozen=True)
class Row:
    """One layer of one reading of the file, against ours.

    Attributes:
        reader: who read the file, and what had to be said otherwise for it.
        layer: name of the layer.
        quantity: what its output is: ``"spikes"`` or ``"membrane"``.
        here: spikes of ours over all samples; None for a membrane.
        there: spikes of the reader; None for a membrane, or if it gave none.
        different: how many outputs (each neuron at each step of each sample) differ; None if refused.
        equal: fraction of the outputs that are equal, 0 to 1; None if refused.
        samples: how many samples were run.
        samples_equal: how many of them have every output of this layer equal; None if refused.
        reason: why outputs differ, or what the reader said when it refused; empty if all are equal.
    """

    reader: str
    layer: str
    quantity: str
    here: int | None
    there: int | None
    different: int | None
    equal: float | None
    samples: int
    samples_equal: int | None
    reason: str


@dataclass(frozen=True)
class Agreement:
    """All rows of a comparison; ``print(agreement)`` shows them as a table.

    Attributes:
        path: the file.
        steps: time steps of each sample.
        dt: time step in seconds.
        rows: one per reader and layer.
    """

    path: Path
    steps: int
    dt: float
    rows: tuple[Row, ...]

    @property
    def exact(self) -> bool:
        """Whether the file read back by neuro gives every output as the network did."""
        return all(row.samples_equal == row.samples for row in self.rows if row.reader == _HERE)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain values for JSON."""
        rows = [asdict(row) for row in self.rows]
        return {"path": str(self.path), "steps": self.steps, "dt": self.dt, "exact": self.exact, "rows": rows}

    def __str__(self) -> str:
        head = ("layer", "output", "here", "there", "different", "equal", "samples equal", "reason")
        table = [head, *(_cells(row) for row in self.rows)]
        widths = [*(max(len(line[k]) for line in table) for k in range(len(head) - 1)), 0]
        lines = ["  " + "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in table]
        said = [lines[0]]
        for k, row in enumerate(self.rows):
            if k == 0 or row.reader != self.rows[k - 1].reader:
                said.append(row.reader)
            said.append(lines[k + 1])
        return "\n".join(said)


def _cells(row: Row) -> tuple[str, ...]:
    counts = ("-" if n is None else str(n) for n in (row.here, row.there, row.different))
    equal = "-" if row.equal is None else f"{100 * row.equal:.4f} %" if row.equal < 1 else "100 %"
    samples = "-" if row.samples_equal is None else f"{row.samples_equal} of {row.samples}"
    return (row.layer, row.quantity, *counts, equal, samples, row.reason)


def compare(
    net: Network, path: str | Path, x: Tensor, *, judges: Collection[str] = tuple(JUDGES), batch: int = 64
) -> Agreement:
    """Run ``net`` and every reading of its exported file on the same input and compare each cell's output.

    Args:
        net: the network that was exported.
        path: the file.
        x: input ``[T, B, ...]``, time first.
        judges: other libraries to ask, by name; one that is not installed gets a row that says so.
        batch: how many samples are run at a time.

    Raises:
        InputError: unknown judge, an input without samples, or a file that ``read`` refuses.
    """
    for name in judges:
        if name not in JUDGES:
            raise unknown_name("judge", name, JUDGES)
    if x.dim() < 3 or 0 in x.shape or batch < 1:
        raise InputError(f"compare needs an input [T, B, ...] and batch > 0, got shape {tuple(x.shape)}, batch {batch}")
    if not net.cells:
        raise InputError("compare needs a network with cells, whose outputs it compares")
    with torch.no_grad():
        rows = [*_read_back(net, Path(path), x, batch)]
        for name in judges:
            rows += _judged(net, Path(path), x, batch, JUDGES[name])
    return Agreement(Path(path), x.shape[0], net.dt, tuple(rows))


def _outputs(net: Network, x: Tensor) -> dict[str, Tensor]:
    return {name: traces["z"] for name, traces in record(net, x).items()}


def _read_back(net: Network, path: Path, x: Tensor, batch: int) -> Iterator[Row]:
    twin = read(path, target="nir")
    if list(twin.layers) != list(net.layers):
        raise InputError(f"{path} holds the layers {', '.join(twin.layers)}, not {', '.join(net.layers)}")
    counts, _ = _count(net, lambda part: _outputs(twin, part), x, batch)
    for name, count in counts.items():
        yield count.row(_HERE, name, _other_value(net, twin, name) if count.different else "")


def _other_value(net: Network, twin: Network, name: str) -> str:
    """The first value up to the layer ``name`` that the file has otherwise than ``net``."""
    for layer, module in net.layers.items():
        here, there = _values(module), _values(twin.layers[layer])
        for key, value in here.items():
            if key not in there or not _same(value, there[key]):
                return f"{key} of layer {layer!r} is another one in the file: it was not exported from this network"
        if layer == name:
            break
    return "every value in the file is the same, the outputs are not"


def _values(layer: nn.Module) -> dict[str, Any]:
    if isinstance(layer, Cell):
        named = {**layer.parameters_si(), "dt": layer.dt, "method": layer.method, "reset": layer.reset}
        return named | {k: v.expand(layer.size) for k, v in layer.named_buffers() if k not in named}
    return dict(layer.named_parameters())


def _same(here: object, there: object) -> bool:
    if isinstance(here, Tensor) and isinstance(there, Tensor):
        return torch.equal(here, there)
    return here == there


@dataclass
class _Count:
    """Counts of one layer, summed over parts of the batch."""

    quantity: str
    here: int = 0
    there: int = 0
    outputs: int = 0
    different: int = 0
    samples: int = 0
    samples_equal: int = 0

    def add(self, here: Tensor, there: Tensor) -> Tensor:
        """Count one part; returns for each of its samples whether anything differs."""
        differs = (here != there).flatten(2)
        by_sample = differs.any(2).any(0)
        self.here += int(here.count_nonzero())
        self.there += int(there.count_nonzero())
        self.outputs += differs.numel()
        self.different += int(differs.sum())
        self.samples += len(by_sample)
        self.samples_equal += int((~by_sample).sum())
        return by_sample

    def row(self, reader: str, layer: str, reason: str) -> Row:
        """The row of the table."""
        here, there = (self.here, self.there) if self.quantity == "spikes" else (None, None)
        equal = 1 - self.different / self.outputs
        counts = (self.different, equal, self.samples, self.samples_equal)
        return Row(reader, layer, self.quantity, here, there, *counts, reason)


def _quantity(cell: Cell) -> str:
    return "membrane" if cell.equations.drive is None else "spikes"


def _count(net: Network, run: Run, x: Tensor, batch: int) -> tuple[dict[str, _Count], list[int]]:
    """Counts of each layer that ``run`` gives, and which samples differ in any of them."""
    counts: dict[str, _Count] = {}
    differing: list[int] = []
    for start in range(0, x.shape[1], batch):
        part = x[:, start : start + batch]
        here, there = _outputs(net, part), run(part)
        any_layer = torch.zeros(part.shape[1], dtype=torch.bool)
        for name, output in there.items():
            count = counts.setdefault(name, _Count(_quantity(net.cells[name])))
            any_layer |= count.add(here[name], output)
        differing += [start + int(k) for k in torch.nonzero(any_layer).flatten()]
    return counts, differing


def _judged(net: Network, path: Path, x: Tensor, batch: int, judge: Judge) -> Iterator[Row]:
    label = judge.package if judge.version is None else f"{judge.package} {judge.version}"
    try:
        if judge.version is None:
            raise JudgeError(f"not installed: {judge.install}")
        as_is, prepared = (Reading(judge, path, dt=net.dt, prepared=p) for p in (False, True))
    except JudgeError as error:
        yield from (_refused(label, net, name, x.shape[1], str(error)) for name in net.cells)
        return
    yield from _reading(net, label, as_is, x, batch)
    if prepared.changes:
        yield from _reading(net, f"{label}, prepared: {', '.join(prepared.changes)}", prepared, x, batch)


def _reading(net: Network, label: str, reading: Reading, x: Tensor, batch: int) -> Iterator[Row]:
    accepted, refusals = _accepted(net, reading, x[:, :2])
    if accepted:
        counts, differing = _count(net, lambda part: reading.run(part, accepted), x, batch)
        reasons = _reasons(net, reading, x[:, differing[:_SAMPLES_EXPLAINED]], accepted)
        for name, count in counts.items():
            gone = "rounding: the same samples in a smaller batch, whose sums round otherwise, do not differ"
            yield count.row(label, name, reasons.get(name, gone) if count.different else "")
    for name, reason in refusals.items():
        yield _refused(label, net, name, x.shape[1], f"refused: {reason}")


def _reasons(net: Network, reading: Reading, x: Tensor, layers: list[str]) -> dict[str, str]:
    if not x.shape[1]:
        return {}
    own_dt = reading.judge.own_dt if reading.judge.own_dt != reading.dt else None
    return explain(net, reading.run(x, layers), x, own_dt=own_dt)


def _accepted(net: Network, reading: Reading, x: Tensor) -> tuple[list[str], dict[str, str]]:
    """The first cells, as many as the judge can run, and what it says to each of the others."""
    refusals: dict[str, str] = {}
    layers = list(net.cells)
    while layers:
        try:
            for name, output in reading.run(x, layers).items():
                if tuple(output.shape) != (*x.shape[:2], *net.cells[name].size):
                    raise JudgeError(f"layer {name!r} gives {tuple(output.shape)} for an input {tuple(x.shape)}")
            break
        except JudgeError as error:
            refusals = {layers.pop(): str(error), **refusals}
    return layers, refusals


def _refused(reader: str, net: Network, layer: str, samples: int, reason: str) -> Row:
    return Row(reader, layer, _quantity(net.cells[layer]), None, None, None, None, samples, None, reason)
