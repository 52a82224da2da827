"""Export to a file format and back: one row per target."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from neuro.errors import InputError, unknown_name
from neuro.hardware.nir_read import read as read_nir
from neuro.hardware.nir_write import ALLOW as NIR_ALLOW
from neuro.hardware.nir_write import Written
from neuro.hardware.nir_write import write as write_nir
from neuro.network import Network, Sequential

__all__ = ["TARGETS", "ExportReport", "Target", "export", "read"]


@dataclass(frozen=True)
class Target:
    """One file format.

    Attributes:
        suffix: of its files.
        write: function of (network, path, shape=, allow=) that writes a file whole or not at all.
        read: function of (path, dt=, method=, allow=) that gives the network back.
        allow: losses that ``write`` can be told to accept.
    """

    suffix: str
    write: Callable[..., Written]
    read: Callable[..., Network]
    allow: tuple[str, ...]


TARGETS: Mapping[str, Target] = MappingProxyType({"nir": Target(".nir", write_nir, read_nir, NIR_ALLOW)})
"""Name of a target -> its format."""


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote; ``print(report)`` shows it.

    Attributes:
        target: name of the format.
        path: the file.
        nodes: one line per node: name, type, shapes.
        parameters: how many numbers the file holds.
        notes: what is exact, what is approximate, what is lost.
    """

    target: str
    path: Path
    nodes: tuple[str, ...]
    parameters: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values for JSON."""
        return {**asdict(self), "path": str(self.path), "nodes": list(self.nodes), "notes": list(self.notes)}

    def __str__(self) -> str:
        head = f"{self.path} ({self.target}): {len(self.nodes)} nodes, {self.parameters:,} parameters"
        return "\n".join([head, *(f"  {node}" for node in self.nodes), *(f"  - {note}" for note in self.notes)])


def export(
    net: Network,
    path: str | Path,
    target: str | None = None,
    *,
    shape: tuple[int, ...] | None = None,
    allow: Collection[str] = (),
    overwrite: bool = False,
) -> ExportReport:
    """Write ``net`` for other libraries or hardware; the suffix of ``path`` or ``target`` chooses the format.

    Args:
        net: the network.
        path: the file to write, whole or not at all.
        target: name of the format; taken from the suffix unless given.
        shape: shape of one input ``(C, H, W)``, without [T, B], where the layers leave it open.
        allow: losses accepted, by name (``"reset"``).
        overwrite: whether an existing file may be replaced.

    Raises:
        InputError: unknown format or loss, a file in the way, or what the format cannot express.

    >>> import neuro, tempfile
    >>> net = neuro.Sequential(neuro.Linear(4, 3), neuro.LIF(3, tau=10e-3))
    >>> report = export(net, Path(tempfile.mkdtemp()) / "net.nir")
    >>> report.nodes, report.parameters
    (('0: Affine 4 -> 3', '1: LIF 3 -> 3'), 30)
    """
    path = Path(path)
    name, chosen = _choose(path, target)
    allow = (allow,) if isinstance(allow, str) else tuple(allow)
    for loss in allow:
        if loss not in chosen.allow:
            raise unknown_name(f"loss for target {name!r}", loss, chosen.allow)
    if not isinstance(net, Sequential):
        raise InputError(f"only a chain of layers (neuro.Sequential) can be exported, got {type(net).__name__}")
    if path.is_dir() or (path.exists() and not overwrite):
        cure = "name a file" if path.is_dir() else "replace it with overwrite=True"
        raise InputError(f"{path} exists; {cure}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")
    written = chosen.write(net, path, shape=shape, allow=allow)
    return ExportReport(name, path, written.nodes, written.parameters, written.notes)


def read(
    path: str | Path,
    target: str | None = None,
    *,
    dt: float | None = None,
    method: str | None = None,
    allow: Collection[str] = (),
) -> Network:
    """The network in a file; every field in it is used, or this raises.

    Args:
        path: the file.
        target: name of the format; taken from the suffix unless given.
        dt: time step in seconds, where the file does not say (files of other libraries).
        method: ``"euler"`` or ``"exponential"``, likewise.
        allow: names of fields whose loss is accepted, ``"precision"`` among them.

    Raises:
        FileFormatError: truncated, corrupt or of another kind.
        InputError: no such file, unknown format, or what ``neuro.Sequential`` cannot express.

    >>> import neuro, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "net.nir"
    >>> _ = export(neuro.Sequential(neuro.Linear(4, 3), neuro.LIF(3, tau=10e-3)), path)
    >>> read(path).cells["1"].parameters_si()["tau"]
    tensor([0.0100, 0.0100, 0.0100])
    """
    _, chosen = _choose(Path(path), target)
    return chosen.read(path, dt=dt, method=method, allow=(allow,) if isinstance(allow, str) else tuple(allow))


def _choose(path: Path, target: str | None) -> tuple[str, Target]:
    name = path.suffix.removeprefix(".") if target is None else target
    for known, row in TARGETS.items():
        if target is None and path.suffix == row.suffix:
            return known, row
    if name not in TARGETS:
        raise unknown_name("target", name or path.name, TARGETS)
    return name, TARGETS[name]
