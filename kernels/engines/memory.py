"""Freed memory stays with the process, so that the next pass does not fault it in page by page again."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's mallopt(3)
_KEPT = 2**29  # bytes of free memory at the top of the heap that are not handed back
_LARGEST = 2**28  # bytes of one block above which it is mapped by itself, and unmapped when freed
_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@cache
def keep_freed_memory() -> bool:
    """Ask glibc to keep up to 512 MiB of freed memory; the kernels do so before the first of them runs.

    A training step allocates and frees the same large arrays again and again. glibc hands each
    back to the system, which clears every page of it anew: a third of the time of a step.
    A process that chose for itself (``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_MMAP_THRESHOLD_`` or
    ``GLIBC_TUNABLES`` in its environment) keeps its choice; other allocators never notice.

    Returns:
        Whether the setting took effect.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _SETTINGS):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_TRIM_THRESHOLD, _KEPT)) and bool(mallopt(_MMAP_THRESHOLD, _LARGEST))
