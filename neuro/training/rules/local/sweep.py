"""One block after the other, forward and learning at once, a stretch of steps at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from neuro.training.rules.local.chain import Block, add_grad, is_constant, outer
from neuro.training.rules.local.trace import Response, leak, membrane_response

__all__ = ["Sweep", "run", "stretches"]


class Sweep:
    """States and traces of a chain of blocks, carried from stretch to stretch; their size does not depend on T.

    Args:
        blocks: the network.
        rule: named in messages.
    """

    def __init__(self, blocks: Sequence[Block], rule: str) -> None:
        self.blocks = blocks
        self.states: list[Any] = [None] * len(blocks)
        self._rule = rule
        self._responses: dict[int, Response] = {}
        self._traces: dict[tuple[int, str], Tensor] = {}
        self._last: list[Tensor | None] = [None] * len(blocks)

    def learn(self, i: int, x: Tensor, modulate: Callable[[Tensor], Tensor]) -> Tensor:
        """Run block ``i`` on ``x`` and write its ``.grad``; returns its output, detached.

        Args:
            i: number of the block.
            x: input of these steps ``[t, B, ...]``.
            modulate: output ``[t, B, *size]`` -> ``dL/d(output)``, of the same shape.
        """
        drive, output = self.run(i, x)
        made = output.detach()
        self.write(i, x, drive, output, modulate(made))
        return made

    def run(self, i: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Drive and output of block ``i``, the second with a graph to the first."""
        block = self.blocks[i]
        drive = block.drive(x).detach().requires_grad_()
        with torch.enable_grad():
            output, self.states[i] = block.respond(drive, self.states[i])
        return drive, output

    def write(self, i: int, x: Tensor, drive: Tensor, output: Tensor, signal: Tensor) -> Tensor:
        """Add the product of the three factors to every ``.grad`` of block ``i``.

        Returns:
            Modulator times postsynaptic factor, shaped as the drive.
        """
        block = self.blocks[i]
        post = self.post_factor(block, drive, output, signal)
        if is_constant(x) and (i, "input") not in self._traces:
            block.add_synaptic(x[:1], x.new_ones(1), self._gathered(i, x, post))
        else:
            block.add_synaptic(*self.pre_factor(i, x), post)
        self.add_recurrent(i, output.detach(), post)
        return post

    def add_recurrent(self, i: int, output: Tensor, post: Tensor) -> None:
        """The same for recurrent weights of block ``i``, if it has any; both are ``[t, B, *size]``."""
        weight = self.blocks[i].recurrent
        if weight is not None and weight.requires_grad:
            before = self._filter(i, "recurrent", self._delayed(i, output))
            add_grad(weight, outer(post, before))

    def post_factor(self, block: Block, drive: Tensor, output: Tensor, signal: Tensor) -> Tensor:
        """Modulator times slope of the spike at its own step; what cells learn gets its gradient on the way."""
        if block.cell is None:
            return signal
        learned = [p for p in block.cell.parameters() if p.requires_grad]
        post, *others = torch.autograd.grad(output, [drive, *learned], signal, allow_unused=True)
        for parameter, grad in zip(learned, others, strict=True):
            add_grad(parameter, grad)
        made: Tensor = post
        return made

    def pre_factor(self, i: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Traces of the input ``[t, B, ...]`` and of an input that is always one, ``[t]``."""
        return self._filter(i, "input", x), self._filter(i, "one", x.new_ones(len(x)))

    def _gathered(self, i: int, x: Tensor, post: Tensor) -> Tensor:
        """``sum_t post(t) trace(t) / x`` for an input that is ``x`` from the first step on, ``[1, B, *size]``."""
        ones = self._filter(i, "one", x.new_ones(len(x)))
        state = self._traces[i, "one"]
        self._traces[i, "input"] = state.view(-1, *(1,) * (x.dim() - 1)) * x[0]
        made: Tensor = torch.tensordot(ones, post, 1).unsqueeze(0)
        return made

    def response(self, i: int, like: Tensor) -> Response:
        """The filter that makes the traces of block ``i``: that of its membrane; no memory where there is none."""
        cell = self.blocks[i].cell
        return leak(0.0, like) if cell is None else membrane_response(cell, like, self._rule)

    def _filter(self, i: int, what: str, x: Tensor) -> Tensor:
        if i not in self._responses:
            self._responses[i] = self.response(i, x)
        trace, self._traces[i, what] = self._responses[i](x, self._traces.get((i, what)))
        return trace

    def _delayed(self, i: int, output: Tensor) -> Tensor:
        """The output one step before."""
        before = self._last[i]
        self._last[i] = output[-1]
        first = torch.zeros_like(output[:1]) if before is None else before.unsqueeze(0)
        return torch.cat([first, output[:-1]])


@torch.no_grad()
def run(blocks: Sequence[Block], x: Tensor, chunk: int) -> Tensor:
    """Output of the chain for the whole sequence, without learning."""
    return torch.cat(list(stretches(blocks, x, chunk)))


def stretches(blocks: Sequence[Block], x: Tensor, chunk: int) -> Iterator[Tensor]:
    """What the chain puts out, ``chunk`` steps ``[t, B, ...]`` at a time."""
    states: list[Any] = [None] * len(blocks)
    for part in x.split(chunk):
        for i, block in enumerate(blocks):
            part, states[i] = block.forward(part, states[i])
        yield part
