"""Associative memories: what is stored comes back from a part of it.

:class:`HebbianMemory` holds binary patterns (classical, dense, exponential and, with blanks in the
patterns, multitasking); :class:`ModernMemory` holds real ones, and its one step is attention.
"""

from __future__ import annotations

from neuro.memory.hebbian import EXPONENTIAL, HebbianMemory, retrieval_curve
from neuro.memory.modern import ModernMemory

__all__ = ["EXPONENTIAL", "HebbianMemory", "ModernMemory", "retrieval_curve"]
