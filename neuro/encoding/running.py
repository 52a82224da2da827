"""Readouts of a sequence that comes a stretch of steps at a time: what is kept does not grow with it.

Each is a readout of :mod:`neuro.encoding.readouts` and its gradient by the output, of which no step needs the output of
another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from neuro.encoding import readouts
from neuro.encoding.limits import need_lengths

__all__ = ["Running", "running"]


class Running(ABC):
    """A readout, stretch after stretch.

    Args:
        steps: of the whole sequence.
        lengths: ``[B]``, how many of them each sample has; None, all.

    Attributes:
        linear: whether :meth:`pull` looks at no output.
    """

    linear: ClassVar[bool] = True
    least: ClassVar[int] = 1

    def __init__(self, steps: int, lengths: Tensor | None = None) -> None:
        self._steps, self._lengths, self._seen = steps, lengths, 0
        self._value: Tensor | None = None

    def add(self, output: Tensor) -> None:
        """Read the next stretch ``[t, B, C]``."""
        if self._value is None and self._lengths is not None:
            lengths = need_lengths(self._lengths, self._steps, output.shape[1], self.least)
            self._lengths = lengths.to(output.device)
        self._value = self._read(output, self._seen)
        self._seen += len(output)

    @property
    def value(self) -> Tensor:
        """What the whole sequence comes to, ``[B, C]``."""
        assert self._value is not None
        return self._value

    @abstractmethod
    def pull(self, output: Tensor, start: int, grad: Tensor) -> Tensor:
        """The gradient by the stretch ``output [t, B, C]`` that begins at step ``start``, from that by :attr:`value`."""

    @abstractmethod
    def _read(self, output: Tensor, start: int) -> Tensor:
        """:attr:`value` after this stretch."""

    def _masked(self, output: Tensor, start: int, value: float) -> Tensor:
        if self._lengths is None:
            return output
        steps = torch.arange(start, start + len(output), device=output.device)
        return output.masked_fill((steps[:, None] >= self._lengths).unsqueeze(2), value)


class _Sum(Running):
    least = 0

    def pull(self, output: Tensor, start: int, grad: Tensor) -> Tensor:
        return self._masked(grad.expand_as(output), start, 0.0)

    def _read(self, output: Tensor, start: int) -> Tensor:
        made = self._masked(output, start, 0.0).sum(0)
        return made if self._value is None else self._value + made


class _Mean(_Sum):
    least = 1

    @property
    def value(self) -> Tensor:
        return super().value / self._count

    def pull(self, output: Tensor, start: int, grad: Tensor) -> Tensor:
        return super().pull(output, start, grad / self._count)

    @property
    def _count(self) -> Tensor | int:
        return self._steps if self._lengths is None else self._lengths.unsqueeze(1)


class _Votes(_Sum):
    linear = False

    def pull(self, output: Tensor, start: int, grad: Tensor) -> Tensor:
        votes = output.softmax(-1)
        pulled = votes * (grad - (votes * grad).sum(-1, keepdim=True))
        return self._masked(pulled, start, 0.0)

    def _read(self, output: Tensor, start: int) -> Tensor:
        return super()._read(output.softmax(-1), start)


class _Last(Running):
    def pull(self, output: Tensor, start: int, grad: Tensor) -> Tensor:
        at, here = self._at(output, start)
        made = torch.zeros_like(output)
        made[at, torch.arange(len(at), device=at.device)] = grad * here
        return made

    def _read(self, output: Tensor, start: int) -> Tensor:
        at, here = self._at(output, start)
        before = torch.zeros_like(output[0]) if self._value is None else self._value
        return torch.where(here, output[at, torch.arange(len(at), device=at.device)], before)

    def _at(self, output: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """The last step of each sample ``[B]`` within the stretch, and whether it lies there ``[B, 1]``."""
        ends = self._lengths
        at = (output.new_full(output.shape[1:2], self._steps).long() if ends is None else ends) - 1 - start
        return at.clamp(0, len(output) - 1), ((at >= 0) & (at < len(output))).unsqueeze(1)


class _Max(Running):
    def __init__(self, steps: int, lengths: Tensor | None = None) -> None:
        super().__init__(steps, lengths)
        self._step = torch.empty(0)

    def pull(self, output: Tensor, start: int, grad: Tensor) -> Tensor:
        at = self._step - start
        here = (at >= 0) & (at < len(output))
        return torch.zeros_like(output).scatter_(0, at.clamp(0, len(output) - 1)[None], (grad * here)[None])

    def _read(self, output: Tensor, start: int) -> Tensor:
        made = self._masked(output, start, -torch.inf).max(dim=0)
        value, step = made.values, made.indices + start
        if self._value is None:
            self._step = step
            return value
        higher = (value > self._value) | (value.isnan() & ~self._value.isnan())
        self._step = torch.where(higher, step, self._step)
        return torch.where(higher, value, self._value)


_FORMS: Mapping[Callable[..., Tensor], type[Running]] = MappingProxyType(
    {
        readouts.spike_count: _Sum,
        readouts.mean_membrane: _Mean,
        readouts.max_membrane: _Max,
        readouts.last_membrane: _Last,
        readouts.softmax_sum: _Votes,
    }
)


def running(readout: Callable[..., Tensor], steps: int) -> Running | None:
    """``readout`` of a sequence of ``steps`` steps that comes in stretches; None for one that needs all of it at once.

    ``functools.partial(readout, lengths=lengths)`` is understood too.

    >>> count = running(readouts.spike_count, 3)
    >>> count.add(torch.ones(2, 1, 1)), count.add(torch.ones(1, 1, 1)), count.value.tolist()
    (None, None, [[3.0]])
    """
    lengths = None
    if isinstance(readout, partial) and not readout.args and set(readout.keywords) == {"lengths"}:
        lengths = readout.keywords["lengths"]
        readout = readout.func
    form = _FORMS.get(readout)
    return None if form is None else form(steps, lengths)
