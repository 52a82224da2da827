"""Backward with little memory: the sequence in stretches, each run once more when its gradient is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from neuro.errors import InputError
from neuro.kernels.propagation.spikes import count_entries, pack_words, unpack_words

__all__ = ["in_stretches"]

Run = Callable[[Tensor, Any], tuple[Tensor, Any]]


def in_stretches(run: Run, x: Tensor, state: Any, parameters: Sequence[Tensor], steps: int) -> tuple[Tensor, Any]:
    """``run(x, state)``, keeping for backward only the input and the state at the start of each stretch.

    The gradient is that of the whole, but for the order of sums; random layers draw the same
    numbers again. The last stretch, whose gradient is due first, is kept as it is, so the price
    is less than one more forward pass. Spikes are kept as bits. Chen et al. 2016, "Training deep
    nets with sublinear memory cost".

    Args:
        run: from input ``[T', B, ...]`` and state to output ``[T', B, ...]`` and state.
        x: input ``[T, B, ...]``.
        state: nest of tuples of tensors and None.
        parameters: what ``run`` has a gradient for besides.
        steps: length of a stretch.

    Raises:
        InputError: ``steps`` is not a positive whole number.
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise InputError(f"recompute={steps!r} must be a whole number of time steps, at least 1")
    *parts, last = x.split(steps)
    outputs = []
    for part in parts:
        kept = _keep(part)
        leaves = list(_leaves(state))
        form = _Form(run, part.shape, part.dtype, _blank(state), len(leaves))
        output, *after = _Stretch.apply(form, kept, *leaves, *parameters)  # type: ignore[no-untyped-call]
        state = _filled(form.after[0], iter(after))
        outputs.append(output)
    output, state = run(last, state)
    return torch.cat([*outputs, output]), state


class _Form:
    """All of a stretch but its tensors."""

    def __init__(self, run: Run, shape: torch.Size, dtype: torch.dtype, before: Any, states: int) -> None:
        self.run, self.shape, self.dtype, self.before, self.states = run, shape, dtype, before, states
        self.after: list[Any] = []

    def __call__(self, kept: Tensor, leaves: Sequence[Tensor]) -> tuple[Tensor, Any]:
        x = kept if kept.dtype == self.dtype else self._unpacked(kept)
        return self.run(x, _filled(self.before, iter(leaves)))

    def _unpacked(self, kept: Tensor) -> Tensor:
        return unpack_words(kept, self.shape[2:].numel(), self.dtype).view(self.shape)


class _Stretch(torch.autograd.Function):
    """Runs without a graph; makes it when the gradient comes."""

    @staticmethod
    def forward(ctx: Any, form: _Form, kept: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Output ``[T', B, ...]`` and the leaves of the state after it."""
        ctx.form, ctx.random = form, torch.get_rng_state()
        ctx.save_for_backward(kept, *tensors)
        output, after = form(kept, tensors[: form.states])
        form.after.append(_blank(after))
        return output, *_leaves(after)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the input, the state before, and the parameters, each of its own shape."""
        form: _Form = ctx.form
        kept, *tensors = ctx.saved_tensors
        fresh = [t.detach().requires_grad_(t.is_floating_point()) for t in (kept, *tensors[: form.states])]
        parameters = tensors[form.states :]
        with torch.enable_grad(), torch.random.fork_rng():
            torch.set_rng_state(ctx.random)
            output, after = form(fresh[0], fresh[1:])
        wanted = [t for t in (*fresh, *parameters) if t.requires_grad]
        made = iter(torch.autograd.grad((output, *_leaves(after)), wanted, grads, allow_unused=True))
        return None, *(next(made) if t.requires_grad else None for t in (*fresh, *parameters))


def _leaves(nest: Any) -> Iterator[Tensor]:
    if isinstance(nest, tuple):
        for part in nest:
            yield from _leaves(part)
    elif nest is not None:
        yield nest


def _blank(nest: Any) -> Any:
    """The nest with its tensors left out: it must not hold them."""
    if isinstance(nest, tuple):
        return tuple(_blank(part) for part in nest)
    return nest is not None


def _filled(blank: Any, leaves: Iterator[Tensor]) -> Any:
    if isinstance(blank, tuple):
        return tuple(_filled(part, leaves) for part in blank)
    return next(leaves) if blank else None


def _keep(x: Tensor) -> Tensor:
    """What is kept of the input: bits, if it is spikes that no gradient is wanted for."""
    if x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and not x.requires_grad and x.numel():
        rows = x.reshape(x.shape[0] * x.shape[1], -1).contiguous()
        entries, ones = count_entries(rows).sum(1).tolist()
        if entries == ones:
            return pack_words(rows)
    return x
