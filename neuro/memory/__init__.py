"""Associative memories: what is stored comes back from a part of it.

:class:`HebbianMemory` holds binary patterns (classical, dense, exponential and, with blanks in the
patterns, multitasking); :class:`ModernMemory` holds real ones, and its one step is attention;
:class:`SparseMemory` holds patterns and sequences in sparse codes, from one look. What the papers predict of the first:
:func:`one_step_overlap`, :func:`resting_overlap`.
"""

from __future__ import annotations

from neuro.memory.hebbian import EXPONENTIAL, HebbianMemory, retrieval_curve
from neuro.memory.modern import ModernMemory
from neuro.memory.prediction import one_step_overlap, resting_overlap
from neuro.memory.sparse import SparseMemory, SparseRecall

__all__ = [
    "EXPONENTIAL",
    "HebbianMemory",
    "ModernMemory",
    "SparseMemory",
    "SparseRecall",
    "one_step_overlap",
    "resting_overlap",
    "retrieval_curve",
]
