"""One node of a NIR file: every field is taken and understood, or the import stops."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.hardware.nir_file import Tree

__all__ = ["METADATA", "Node"]

METADATA = "neuro"
"""Name of the group in a node's metadata that holds what NIR itself cannot say."""


class Node:
    """The fields of one node and what of them has been taken so far.

    Of the metadata only the group :data:`METADATA` counts; NIR gives no meaning to the rest.

    Args:
        name: name of the node in the graph.
        tree: its group as read, with the field ``type``.
        allow: names of fields (or ``"precision"``) whose loss the caller accepts.
        dtype: dtype of the tensors given out.

    >>> node = Node("1", {"type": "IF", "r": np.ones(2), "colour": "red"})
    >>> node.tensor("r")
    tensor([1., 1.])
    >>> node.close()
    Traceback (most recent call last):
    neuro.errors.InputError: node '1' (IF): field 'colour' = red is not understood; accept its loss with allow=('colour',)
    """

    def __init__(
        self, name: str, tree: Tree, *, allow: Collection[str] = (), dtype: torch.dtype = torch.float32
    ) -> None:
        self.name = name
        self.allow = frozenset(allow)
        self.dtype = dtype
        self._left = dict(tree)
        kind = self._left.pop("type", None)
        if not isinstance(kind, str):
            raise InputError(f"node {name!r} has no field 'type'; the file is not a NIR graph")
        self.kind = kind
        metadata = self._left.pop("metadata", {})
        ours = metadata.get(METADATA, {}) if isinstance(metadata, dict) else {}
        self.metadata: Tree = dict(ours) if isinstance(ours, dict) else {METADATA: ours}

    def error(self, problem: str) -> InputError:
        """An error that names this node."""
        return InputError(f"node {self.name!r} ({self.kind}): {problem}")

    def refuse(self, field: str, seen: object, why: str) -> None:
        """Raise for a field that the network cannot express, unless the caller allows its loss."""
        if field not in self.allow:
            raise self.error(f"field {field!r} = {_short(seen)} {why}; accept its loss with allow=({field!r},)")

    def has(self, field: str) -> bool:
        """Whether the field is there and not yet taken."""
        return field in self._left

    def is_text(self, field: str) -> bool:
        """Whether the field is a word instead of numbers."""
        return isinstance(self._left.get(field), str)

    def take(self, field: str) -> object:
        """The raw value of a field, which counts as understood from now on."""
        if field not in self._left:
            raise self.error(f"field {field!r} is missing")
        return self._left.pop(field)

    def tensor(self, field: str) -> Tensor:
        """A field of real numbers, its bits unchanged when the dtype is."""
        value = self.take(field)
        if not isinstance(value, np.ndarray | np.generic):
            raise self.error(f"field {field!r} = {_short(value)} is not an array of numbers")
        array = np.asarray(value)
        if array.size == 0 or not np.all(np.isfinite(array)):
            raise self.error(f"field {field!r} = {_short(value)} is empty or not finite")
        with np.errstate(over="ignore"):
            cast = array.astype(np.float64 if self.dtype is torch.float64 else np.float32)
        if not np.array_equal(cast.astype(np.float64), array.astype(np.float64)) and "precision" not in self.allow:
            raise self.error(
                f"field {field!r} is {array.dtype} and rounds in {cast.dtype}; accept it with allow=('precision',)"
            )
        return torch.from_numpy(np.array(cast, order="C"))

    def integers(self, field: str, count: int | None = None) -> tuple[int, ...]:
        """A field of integers; one number is repeated to ``count``."""
        value = self.take(field)
        array = np.asarray(value)
        if array.dtype.kind not in "iu" or array.ndim > 1:
            raise self.error(f"field {field!r} = {_short(value)} is not a list of integers")
        numbers = tuple(int(n) for n in array.reshape(-1))
        if count is not None and array.ndim == 0:
            numbers = numbers * count
        if count is not None and len(numbers) != count:
            raise self.error(f"field {field!r} = {numbers} has not {count} numbers")
        return numbers

    def close(self) -> None:
        """Refuse what nothing has taken."""
        for field, value in self._left.items():
            self.refuse(field, value, "is not understood")
        for key, value in self.metadata.items():
            raise self.error(
                f"metadata {METADATA}/{key} = {_short(value)} is not understood; it was written by a newer version"
            )


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
