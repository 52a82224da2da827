"""Forms a spike array is held in, and the ways between them; none loses anything.

- dense: ``[..., N]``, 0/1 (or graded) in a floating type, the form at module borders;
- packed: one bit per neuron in ``uint8`` or ``uint64`` words, 1/32 of float32;
- events: for each row, the columns of its non-zero entries (and their values unless all are 1),
  the form kernels work on; as coordinates ``[E, dims]`` it is a list of address events.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.engines.numba_backend import run_blocks

__all__ = [
    "EventList",
    "PackedSpikes",
    "count_entries",
    "from_coordinates",
    "list_entries",
    "pack",
    "pack_words",
    "ranges",
    "unpack_words",
]

_ROWS = 256  # rows a task handles
_BITS = MappingProxyType({torch.uint8: 8, torch.uint64: 64})


def ranges(size: int, step: int) -> list[tuple[int, int]]:
    """``0:size`` cut into pieces of ``step``.

    >>> ranges(5, 2)
    [(0, 2), (2, 4), (4, 5)]
    """
    return [(a, min(size, a + step)) for a in range(0, size, step)]


def count_entries(x: Tensor) -> Tensor:
    """``[2, R]``: entries of each row of ``x [R, N]`` (contiguous, on the CPU) that are not 0, and that are 1."""
    from neuro.kernels.propagation.spikes_numba import count

    counts = torch.empty((2, x.shape[0]), dtype=torch.int64)
    arrays = (x.numpy(), counts.numpy())
    run_blocks([lambda a=a, b=b: count(*arrays, a, b) for a, b in ranges(x.shape[0], _ROWS)])  # type: ignore[misc]
    return counts


def list_entries(x: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Entries of ``x [R, N]`` that are not 0, given :func:`count_entries` of it.

    Returns:
        Row starts ``[R + 1]`` (int64), columns ``[E]`` (int32), values ``[E]``, or empty if all are 1.
    """
    from neuro.kernels.propagation.spikes_numba import compress

    entries, ones = counts.numpy()
    start = torch.zeros(x.shape[0] + 1, dtype=torch.int64)
    np.cumsum(entries, out=start.numpy()[1:])
    events = int(entries.sum())
    graded = events != int(ones.sum())
    index = torch.empty(events, dtype=torch.int32)
    value = x.new_empty(events if graded else 0)
    arrays = (x.numpy(), start.numpy(), index.numpy(), value.numpy())
    run_blocks([lambda a=a, b=b: compress(*arrays, a, b) for a, b in ranges(x.shape[0], _ROWS)])  # type: ignore[misc]
    return start, index, value


def pack_words(x: Tensor) -> Tensor:
    """``[R, ceil(N / 64)]`` (uint64): the entries of ``x [R, N]`` (contiguous, on the CPU) that are not 0, as bits."""
    from neuro.kernels.propagation.spikes_numba import pack_rows

    words = torch.empty((x.shape[0], -(-x.shape[1] // 64)), dtype=torch.uint64)
    arrays = (x.numpy(), words.numpy())
    run_blocks([lambda a=a, b=b: pack_rows(*arrays, a, b) for a, b in ranges(x.shape[0], _ROWS)])  # type: ignore[misc]
    return words


def unpack_words(words: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """The inverse of :func:`pack_words`: ``[R, size]``, 0/1 in ``dtype`` (float32 or float64)."""
    from neuro.kernels.propagation.spikes_numba import unpack_rows

    out = torch.empty((words.shape[0], size), dtype=dtype)
    arrays = (words.numpy(), out.numpy())
    run_blocks([lambda a=a, b=b: unpack_rows(*arrays, a, b) for a, b in ranges(words.shape[0], _ROWS)])  # type: ignore[misc]
    return out


@dataclass(frozen=True, eq=False)
class EventList:
    """The non-zero entries of an array of ``shape [..., N]``, row by row.

    Args:
        start: ``[R + 1]`` (int64), where each of the R rows begins; R is the product of all but the last size.
        index: ``[E]`` (int32), columns.
        value: ``[E]``, or ``[0]`` if every entry is 1; its dtype is that of the array.
        shape: of the array.

    Raises:
        InputError: arrays that do not fit together; a column out of range.

    >>> EventList.of(torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])).coordinates().tolist()
    [[0, 1], [1, 0], [1, 2]]
    """

    start: Tensor
    index: Tensor
    value: Tensor
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that no loop over these arrays can leave them."""
        rows = math.prod(self.shape[:-1])
        if not self.shape or self.start.shape != (rows + 1,) or self.start.dtype != torch.int64:
            raise InputError(f"start must be [{rows + 1}] int64 for shape {self.shape}, got {_seen(self.start)}")
        if self.index.dim() != 1 or self.index.dtype != torch.int32:
            raise InputError(f"index must be [E] int32, got {_seen(self.index)}")
        events = self.index.shape[0]
        if int(self.start[0]) != 0 or int(self.start[-1]) != events or bool((self.start.diff() < 0).any()):
            raise InputError(f"start must rise from 0 to {events}, the number of events")
        if self.value.shape not in ((0,), (events,)) or not self.value.is_floating_point():
            raise InputError(f"value must be [0] or [{events}] floating, got {_seen(self.value)}")
        if events and not 0 <= int(self.index.min()) <= int(self.index.max()) < self.shape[-1]:
            raise InputError(f"index must be in 0..{self.shape[-1] - 1}, got {self.index.min()}..{self.index.max()}")

    @classmethod
    def of(cls, x: Tensor) -> EventList:
        """The entries of ``x [..., N]`` (float32 or float64, on the CPU)."""
        rows = _rows(x)
        return cls(*list_entries(rows, count_entries(rows)), tuple(x.shape))

    def dense(self) -> Tensor:
        """The array, ``[..., N]``."""
        out = self.value.new_zeros(self.shape)
        value = self.value if self.value.numel() else self.value.new_ones(())
        out.view(self.start.shape[0] - 1, self.shape[-1])[self._row(), self.index.long()] = value
        return out

    def coordinates(self) -> Tensor:
        """Address events: ``[E, dims]`` (int64), one coordinate for each axis, in order of time and place."""
        rows = np.unravel_index(self._row().numpy(), self.shape[:-1]) if self.shape[:-1] else ()
        return torch.stack([*(torch.from_numpy(row) for row in rows), self.index.long()], dim=1)

    def _row(self) -> Tensor:
        return torch.repeat_interleave(torch.arange(self.start.shape[0] - 1), self.start.diff())


def from_coordinates(coordinates: Tensor, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> EventList:
    """The event list of address events, which may come in any order.

    Args:
        coordinates: ``[E, dims]``, integers.
        shape: of the array.
        dtype: of the array.

    Raises:
        InputError: a coordinate outside ``shape``; an address that comes twice.

    >>> from_coordinates(torch.tensor([[1, 0], [0, 2]]), (2, 3)).dense().tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    if coordinates.dim() != 2 or coordinates.shape[1] != len(shape) or coordinates.is_floating_point():
        raise InputError(f"coordinates must be [E, {len(shape)}] integers, got {_seen(coordinates)}")
    for axis, size in enumerate(shape):
        column = coordinates[:, axis]
        if column.numel() and not 0 <= int(column.min()) <= int(column.max()) < size:
            raise InputError(f"coordinates[:, {axis}] must be in 0..{size - 1}, got {column.min()}..{column.max()}")
    places = np.sort(np.ravel_multi_index(tuple(coordinates.numpy().T), shape))
    if (np.diff(places) == 0).any():
        raise InputError("coordinates must differ from one another: a neuron spikes at most once in a time step")
    rows = math.prod(shape[:-1])
    start = np.searchsorted(places, np.arange(rows + 1) * shape[-1])
    index = torch.from_numpy((places % max(1, shape[-1])).astype(np.int32))
    return EventList(torch.from_numpy(start.astype(np.int64)), index, torch.empty(0, dtype=dtype), tuple(shape))


@dataclass(frozen=True, eq=False)
class PackedSpikes:
    """Spikes at one bit each; bit ``k`` of word ``w`` is neuron ``w * bits + k``, bits past N are 0.

    Args:
        words: ``[..., ceil(N / bits)]``, uint8 or uint64.
        size: N.
        dtype: of the array that was packed.

    Raises:
        InputError: another dtype; a number of words that does not fit ``size``; a bit set past N.
    """

    words: Tensor
    size: int
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        """Check that the words hold ``size`` bits and no more."""
        bits = _BITS.get(self.words.dtype)
        if bits is None:
            raise InputError(f"words must be uint8 or uint64, got {self.words.dtype}")
        if self.words.dim() == 0 or self.words.shape[-1] != -(-self.size // bits):
            raise InputError(f"words must end in {-(-self.size // bits)} for size {self.size}, got {_seen(self.words)}")
        if self.size % bits and (self.words.numpy()[..., -1] >> (self.size % bits)).any():
            raise InputError(f"words must have no bit set past size {self.size}")

    def unpack(self) -> Tensor:
        """The spikes, ``[..., N]``, 0/1 in ``dtype``."""
        words = self.words.contiguous().numpy()
        octets = words if words.dtype == np.uint8 else words.astype("<u8").view(np.uint8)
        bits = np.unpackbits(octets, axis=-1, count=self.size, bitorder="little")
        return torch.from_numpy(bits).to(self.dtype)

    def events(self) -> EventList:
        """The spikes as a list; no dense array is made."""
        from neuro.kernels.propagation.spikes_numba import compress_words, count_words

        words = self.words.contiguous().numpy()
        if words.dtype == np.uint8:
            words = _padded(words)
        words = words.reshape(math.prod(words.shape[:-1]), words.shape[-1])
        start = np.zeros(words.shape[0] + 1, np.int64)
        count_words(words, start[1:])
        np.cumsum(start, out=start)
        index = np.empty(start[-1], np.int32)
        compress_words(words, start, index)
        shape = (*self.words.shape[:-1], self.size)
        return EventList(torch.from_numpy(start), torch.from_numpy(index), torch.empty(0, dtype=self.dtype), shape)


def pack(x: Tensor, word: torch.dtype = torch.uint8) -> PackedSpikes:
    """Pack spikes ``x [..., N]`` (0/1, on the CPU) into words.

    Args:
        x: ``[..., N]``.
        word: ``torch.uint8`` or ``torch.uint64``.

    Raises:
        InputError: an entry other than 0 and 1, which a bit cannot hold; another word.

    >>> pack(torch.tensor([1.0, 0.0, 1.0])).words.tolist()
    [5]
    """
    if word not in (torch.uint8, torch.uint64):
        raise InputError(f"word must be torch.uint8 or torch.uint64, got {word}")
    rows = _rows(x)
    counts = count_entries(rows)
    if not torch.equal(counts[0], counts[1]):
        raise InputError("x must be 0 or 1 everywhere to be packed; keep graded events as an EventList")
    octets = np.packbits((rows != 0).numpy(), axis=-1, bitorder="little")
    words = _padded(octets) if word == torch.uint64 else octets
    return PackedSpikes(torch.from_numpy(words.reshape(*x.shape[:-1], words.shape[-1])), x.shape[-1], x.dtype)


def _padded(
    octets: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    """Bytes ``[..., K]`` as 64-bit words, the lowest byte first whatever the machine's order."""
    wide = np.zeros((*octets.shape[:-1], -(-octets.shape[-1] // 8) * 8), np.uint8)
    wide[..., : octets.shape[-1]] = octets
    return wide.view("<u8").astype(np.uint64)


def _rows(x: Tensor) -> Tensor:
    if x.dim() == 0 or x.dtype not in (torch.float32, torch.float64) or x.device.type != "cpu":
        raise InputError(f"x must be [..., N] float32 or float64 on the CPU, got {_seen(x)} on {x.device}")
    return x.detach().reshape(math.prod(x.shape[:-1]), x.shape[-1]).contiguous()


def _seen(x: Tensor) -> str:
    return f"{list(x.shape)} {str(x.dtype).removeprefix('torch.')}"
