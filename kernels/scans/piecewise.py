"""Shallow piecewise-linear recurrences, drawn towards given states at every step: one fused loop over time.

With the forced state ``s[t] = (1 - alpha) z[t-1] + alpha x[t]``,

    z[t] = a s[t] + W1 phi(W2 s[t]) + h1,   phi(u) = relu(u + h2), or relu(u + h2) - relu(u) where clipped,

the (clipped) shallow PLRNN under generalised teacher forcing of Hess et al. 2023, "Generalized teacher forcing for
learning chaotic dynamics" (ICML).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.engines.operators import operator
from neuro.kernels.propagation.spikes import ranges

__all__ = ["PiecewiseMap", "piecewise_reference", "piecewise_scan"]

_BACKENDS = ("auto", "numba", "reference")
_LANES = 16  # samples of a task: the innermost loop


class PiecewiseMap(NamedTuple):
    """``z -> a z + W1 phi(W2 z) + h1``: ``a [M]``, ``inner [L, M]`` (W2), ``outer [M, L]`` (W1), ``h1 [M]``, ``h2 [L]``."""

    a: Tensor
    outer: Tensor
    inner: Tensor
    h1: Tensor
    h2: Tensor
    clipped: bool = True

    def __call__(self, z: Tensor) -> Tensor:
        """The next state of ``z [..., M]``."""
        u = F.linear(z, self.inner)
        hidden = F.relu(u + self.h2) - (F.relu(u) if self.clipped else 0)
        return self.a * z + F.linear(hidden, self.outer, self.h1)

    def jacobian(self, z: Tensor) -> Tensor:
        """``dz'/dz [..., M, M]`` at ``z [..., M]``: ``diag(a) + W1 diag(phi') W2``."""
        u = F.linear(z, self.inner)
        slope = (u + self.h2 > 0).to(z.dtype) - ((u > 0).to(z.dtype) if self.clipped else 0)
        return torch.diag(self.a) + (self.outer * slope.unsqueeze(-2)) @ self.inner


def piecewise_reference(x: Tensor, before: Tensor, step: PiecewiseMap, alpha: float) -> Tensor:
    """The definition: ``x [T, B, M]``, ``before [B, M]`` -> ``[T, B, M]``."""
    z, out = before, []
    for given in x:
        z = step((1 - alpha) * z + alpha * given)
        out.append(z)
    return torch.stack(out) if out else x.new_empty(x.shape)


def _arrays(*tensors: Tensor) -> tuple[Any, ...]:
    return tuple(t.detach().contiguous().numpy() for t in tensors)


@operator("neuro::piecewise")
def _scan(
    x: Tensor,
    before: Tensor,
    a: Tensor,
    outer: Tensor,
    inner: Tensor,
    h1: Tensor,
    h2: Tensor,
    alpha: float,
    clipped: bool,
) -> Tensor:
    from neuro.kernels.scans.piecewise_numba import forward

    lanes = x.detach().transpose(1, 2).contiguous()  # [T, M, B]
    out = torch.empty_like(lanes)
    arrays: Any = _arrays(lanes, before.t(), a, outer, inner, h1, h2)
    blocks = ranges(x.shape[1], _LANES)
    run: Any = forward
    run_blocks([lambda m=m: run(*arrays, alpha, clipped, out.numpy(), *m) for m in blocks])  # type: ignore[misc]
    return out.transpose(1, 2).contiguous()


@_scan.register_fake
def _scan_fake(x: Tensor, *_: Any) -> Tensor:
    return x.new_empty(x.shape)


@operator("neuro::piecewise_backward")
def _scan_backward(
    grad: Tensor,
    z: Tensor,
    x: Tensor,
    before: Tensor,
    a: Tensor,
    outer: Tensor,
    inner: Tensor,
    h1: Tensor,
    h2: Tensor,
    alpha: float,
    clipped: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    from neuro.kernels.scans.piecewise_numba import backward

    lanes = [t.detach().transpose(1, 2).contiguous() for t in (grad, z, x)]
    grad_x, grad_before = torch.empty_like(lanes[2]), torch.empty_like(before.t().contiguous())
    blocks = ranges(x.shape[1], _LANES)
    sums = [t.new_zeros((max(1, len(blocks)), *t.shape)) for t in (a, outer, inner, h1, h2)]
    arrays: Any = _arrays(*lanes, before.t(), a, outer, inner, h2)

    run: Any = backward

    def task(k: int, block: tuple[int, int]) -> None:
        into = tuple(s[k].numpy() for s in sums)
        run(*arrays, alpha, clipped, grad_x.numpy(), grad_before.numpy(), *into, *block)

    run_blocks([lambda k=k, m=m: task(k, m) for k, m in enumerate(blocks)])  # type: ignore[misc]
    totals = [s.sum(0) for s in sums]
    return (grad_x.transpose(1, 2).contiguous(), grad_before.t().contiguous(), *totals)  # type: ignore[return-value]


@_scan_backward.register_fake
def _scan_backward_fake(grad: Tensor, z: Tensor, *values: Any) -> tuple[Tensor, ...]:
    return tuple(t.new_empty(t.shape) for t in values[:7])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(output, *inputs[:7])
    ctx.options = inputs[7:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (*_scan_backward(grad, *ctx.saved_tensors, *ctx.options), None, None)


_scan.register_autograd(_backward, setup_context=_setup_context)


def piecewise_scan(
    x: Tensor, before: Tensor, step: PiecewiseMap, *, alpha: float = 0.0, backend: str = "auto"
) -> Tensor:
    """States of a piecewise-linear recurrence that is drawn towards ``x``.

    Args:
        x: what the state is drawn towards, step by step, ``[T, B, M]``, float32 or float64.
        before: the state before the first step, ``[B, M]``.
        step: the map.
        alpha: share of ``x`` in the forced state, 0 (left alone) to 1 (teacher forcing).
        backend: ``"numba"`` (CPU), ``"reference"`` (plain torch, everywhere) or ``"auto"``: numba where ``x`` is on the CPU.

    Returns:
        ``z [T, B, M]``; ``z[t]`` has seen ``x[:t + 1]``.

    Raises:
        InputError: shapes, dtypes or devices that do not fit; alpha outside of 0 to 1; an unknown backend.

    >>> step = PiecewiseMap(torch.tensor([0.5]), torch.ones(1, 1), torch.ones(1, 1), torch.zeros(1), torch.ones(1))
    >>> piecewise_scan(torch.zeros(3, 1, 1), torch.zeros(1, 1), step).flatten().tolist()
    [1.0, 1.5, 1.75]
    """
    _check(x, before, step, alpha, backend)
    if backend == "reference" or x.device.type != "cpu":
        return piecewise_reference(x, before, step, alpha)
    states: Tensor = _scan(x, before, *step[:5], float(alpha), step.clipped)
    return states


def _check(x: Tensor, before: Tensor, step: PiecewiseMap, alpha: float, backend: str) -> None:
    if backend not in _BACKENDS:
        raise unknown_name("backend", backend, _BACKENDS)
    if backend == "numba" and x.device.type != "cpu":
        raise InputError(f"backend 'numba' does not run on {x.device}, where the input is")
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha must be from 0 to 1, got {alpha}")
    if x.dim() != 3 or x.dtype not in (torch.float32, torch.float64):
        raise InputError(f"x must be [T, B, M] float32 or float64, got {list(x.shape)} {x.dtype}")
    size, hidden = x.shape[2], step.h2.shape[-1]
    wanted = {"a": (size,), "outer": (size, hidden), "inner": (hidden, size), "h1": (size,), "h2": (hidden,)}
    given = {"before": before, **{name: getattr(step, name) for name in wanted}}
    for name, shape in {"before": tuple(x.shape[1:]), **wanted}.items():
        t = given[name]
        if tuple(t.shape) != shape or t.dtype != x.dtype or t.device != x.device:
            seen = f"{list(t.shape)} {t.dtype} on {t.device}"
            raise InputError(f"{name} must be {list(shape)} {x.dtype} on {x.device}, got {seen}")
