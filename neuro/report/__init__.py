"""A run as one page with pictures, complete in itself: ``neuro.report.write(run_folder, data)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["write"]

if TYPE_CHECKING:
    from neuro.report.page import write
else:

    def __getattr__(name: str) -> Any:
        if name == "write":
            from neuro.report.page import write

            return write
        raise AttributeError(f"module 'neuro.report' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
