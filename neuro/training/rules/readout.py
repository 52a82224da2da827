"""From the error of the output to that of what drives the last neurons, through their memory.

A leaky readout remembers, so a step is to blame for errors of later ones. Their sum is a filter run backwards; of a readout
that is linear it needs nothing but the errors, so that one number per neuron, sample and stretch of steps is enough to
have it in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from neuro.kernels import Route
from neuro.kernels.compiler.sensitivity import derive_tangent
from neuro.layer import State
from neuro.neurons import Cell
from neuro.training.rules.base import detached
from neuro.training.rules.local.chain import Block, add_grad
from neuro.training.rules.online import Reading

__all__ = ["Readout"]

_ROUTE = Route(cut_recurrence=True)


class Readout:
    """The last block of a chain under a loss.

    Args:
        block: its neurons' parameters get their gradient on the way.
        read: the loss; :attr:`Reading.result` is there at the end.
        steps: of the whole sequence.
    """

    def __init__(self, block: Block, read: Reading, steps: int) -> None:
        self._neurons, self._read, self._steps = block.neurons, read, steps
        self._learned = [] if block.neurons is None else [p for p in block.neurons.parameters() if p.requires_grad]
        self._flat = read.linear and isinstance(block.neurons, Cell) and _is_linear(block.neurons)
        self._state: State | None = None
        self._later: dict[int, tuple[Tensor, ...]] = {}  # dL/d(state) where the stretch from that step on begins
        self._whole: Tensor | None = None

    def waits(self, chunk: int) -> bool:
        """As :meth:`Reading.waits`."""
        return self._read.waits(chunk) if self._neurons is None else self._steps > chunk

    @torch.no_grad()
    def read_all(self, drives: Iterable[Tensor]) -> None:
        """Take in what drives the block for the whole sequence, in stretches ``[t, B, C]``."""
        if self._neurons is None:
            self._read.read_all(drives)
        elif self._flat:
            shapes: list[torch.Size] = []
            self._read.read_all(self._outputs(drives, shapes))
            self._state = None
            self._look_back(shapes)
        else:
            self._whole = self._back(torch.cat(list(drives)), 0)

    def told(self, drive: Tensor, start: int) -> Tensor:
        """``dL/d(drive)`` of the stretch ``drive [t, B, C]`` that begins at step ``start``."""
        if self._whole is not None:
            return self._whole[start : start + len(drive)]
        return self._read.told(drive, start) if self._neurons is None else self._back(drive, start)

    def _outputs(self, drives: Iterable[Tensor], shapes: list[torch.Size]) -> Iterator[Tensor]:
        assert self._neurons is not None
        for drive in drives:
            shapes.append(drive.shape)
            output, self._state = self._neurons(drive, self._state)
            yield output

    def _back(self, drive: Tensor, start: int) -> Tensor:
        """Forward once more, and back from the errors of these steps and of all later ones."""
        assert self._neurons is not None
        leaf = drive.detach().requires_grad_()
        with torch.enable_grad():
            output, after = self._neurons(leaf, self._state, route=_ROUTE)
        told = self._read.told(output, start)
        outputs, signals = self._ends(output, told, after, start + len(drive))
        made, *others = torch.autograd.grad(outputs, [leaf, *self._learned], signals, allow_unused=True)
        for parameter, grad in zip(self._learned, others, strict=True):
            add_grad(parameter, grad)
        self._state = detached(after)
        back: Tensor = made
        return back

    def _look_back(self, shapes: list[torch.Size]) -> None:
        """Fill in ``_later``, the last stretch first; where all is linear, it does not matter what drives the neurons."""
        neurons, end = self._neurons, self._steps
        assert isinstance(neurons, Cell)
        like = next(neurons.parameters(), next(neurons.buffers()))
        for steps, samples, *_ in reversed(shapes[1:]):
            state = tuple(
                s.requires_grad_() for s in neurons.initial_state(samples, device=like.device, dtype=like.dtype)
            )
            with torch.enable_grad():
                output, after = neurons(like.new_zeros(steps, samples, *neurons.size), state)
            outputs, told = self._ends(output, self._read.told(output, end - steps), after, end)
            end -= steps
            self._later[end] = torch.autograd.grad(outputs, state, told, materialize_grads=True)

    def _ends(
        self, output: Tensor, told: Tensor, after: State, end: int
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What a stretch that ends before step ``end`` leaves, and dL by it."""
        later = self._later.get(end)
        return ((output,), (told,)) if later is None else ((output, *after), (told, *later))


def _is_linear(cell: Cell) -> bool:
    """Whether the answer to a sum of currents is the sum of the answers, but for where the cell starts."""
    program = cell._spec.program
    if program.drive is not None or len(program.inputs) != 1:
        return False
    tangent = derive_tangent(program, Route(), ())
    allowed = set(program.coefficient_symbols)
    return tangent.is_linear(program) and all(e.free_symbols <= allowed for e in (*tangent.output, tangent.direct))
