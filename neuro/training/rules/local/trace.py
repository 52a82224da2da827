"""The presynaptic factor: what one spike does to a membrane that nothing resets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels import Route
from neuro.kernels.compiler.equations import symbol
from neuro.neurons import Cell

__all__ = ["Response", "leak", "membrane_response"]


@dataclass(frozen=True, eq=False)
class Response:
    """A linear filter ``s[t] = A s[t-1] + b x[t]``, ``trace[t] = c s[t]``, whose first answer is 1.

    Args:
        transition: A, ``[K, K]``.
        gain: b, ``[K]``.
        read: c, ``[K]``, with ``c b = 1``.
    """

    transition: Tensor
    gain: Tensor
    read: Tensor

    def __call__(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Filter ``x [T, ...]``; returns the trace ``[T, ...]`` and the state ``[K, ...]`` after the last step."""
        state = x.new_zeros(len(self.gain), *x.shape[1:]) if past is None else past
        made = torch.empty_like(x)
        if len(self.gain) == 1:
            decay, last = float(self.transition), state[0]
            for step, now in enumerate(x):
                last = torch.add(now, last, alpha=decay, out=made[step])
            return made, last.unsqueeze(0).clone()
        shape = (-1, *(1,) * (x.dim() - 1))
        for step, now in enumerate(x):
            state = torch.tensordot(self.transition, state, 1) + self.gain.view(shape) * now
            torch.tensordot(self.read, state, 1, out=made[step])
        return made, state


def leak(decay: float, like: Tensor) -> Response:
    """One trace that loses the share ``1 - decay`` each step."""
    one = like.new_ones(1)
    return Response(like.new_full((1, 1), decay), one, one)


def membrane_response(cell: Cell, like: Tensor, rule: str) -> Response:
    """The membrane's answer to a current of one step, relative to that of the step itself.

    The cell is linearised where it starts; parameters that differ between neurons are averaged, so that one
    trace per presynaptic neuron serves all of them.

    Args:
        cell: the postsynaptic population.
        like: a tensor of the dtype and on the device wanted.
        rule: named in the message.

    Raises:
        InputError: a current takes a step to reach the membrane.
    """
    transition, gain = _jacobian(cell, like)
    read = _read(cell, like)
    first = read @ gain
    if float(first) == 0:
        raise InputError(
            f"{rule} needs a current to reach the membrane of {type(cell).__name__} within its step; "
            "declare the cell with method='exponential', or use rule='bptt'"
        )
    seen = _observable(transition, read)
    return Response(transition[seen][:, seen], gain[seen], read[seen] / first)


def _jacobian(cell: Cell, like: Tensor) -> tuple[Tensor, Tensor]:
    start = [s.detach().to(like).requires_grad_() for s in cell.initial_state(1, device=like.device, dtype=like.dtype)]
    with torch.enable_grad():
        current = like.new_zeros(1, 1, *cell.size).requires_grad_()
        _, after = cell(current, tuple(start), route=Route())
        rows = [
            torch.autograd.grad(s.sum(), [*start, current], allow_unused=True, retain_graph=True)
            if s.requires_grad
            else (None,) * (len(start) + 1)
            for s in after
        ]
    means = torch.stack([torch.stack([like.new_zeros(()) if g is None else g.mean() for g in row]) for row in rows])
    return means[:, :-1], means[:, -1]


def _read(cell: Cell, like: Tensor) -> Tensor:
    """How much each state counts in what is compared with the threshold, or put out, where the cell starts."""
    equations = cell.equations
    observed = equations.output if equations.drive is None else equations.drive
    numbers = {symbol(n): float(v.mean()) for n, v in cell.parameters_si().items()}
    start = cell.initial_state(1, device=like.device, dtype=like.dtype)
    numbers |= {symbol(n): float(s.mean()) for n, s in zip(cell._states, start, strict=True)}
    return like.new_tensor([float(observed.diff(symbol(n)).subs(numbers)) for n in cell._states])


def _observable(transition: Tensor, read: Tensor) -> Tensor:
    """Numbers of the states that reach the membrane at all."""
    reach = read != 0
    for _ in range(len(read)):
        reach = reach | (transition[reach] != 0).any(0)
    return reach.nonzero().flatten()
