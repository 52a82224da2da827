"""Networks to and from the formats of neuromorphic hardware, and proof that the spikes are the same.

``export(net, "net.nir")`` writes a file and says what is in it, ``read`` gives the network
back, ``compare`` runs both and other libraries' reading of the same file on one input.
"""

from __future__ import annotations

if __name__ != "neuro.hardware":
    raise ImportError("import neuro.hardware; the repository root is on sys.path (use python -P)")

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["TARGETS", "Agreement", "ExportReport", "Row", "compare", "export", "read"]

if TYPE_CHECKING:
    from neuro.hardware.agreement import Agreement, Row, compare
    from neuro.hardware.targets import TARGETS, ExportReport, export, read
else:
    _ORIGIN = (
        ("neuro.hardware.agreement", ("Agreement", "Row", "compare")),
        ("neuro.hardware.targets", ("TARGETS", "ExportReport", "export", "read")),
    )

    def __getattr__(name: str) -> Any:
        for module, names in _ORIGIN:
            if name in names:
                return getattr(import_module(module), name)
        raise AttributeError(f"module 'neuro.hardware' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
