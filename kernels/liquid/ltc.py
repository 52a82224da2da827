r"""Liquid time-constant cells over a whole sequence, fused.

.. math:: C_i \dot v_i = g_i (v_{leak,i} - v_i) + \sum_s w_s \, \sigma(k_s (u_s - \mu_s)) (E_s - v_i)

with a sum over the synapses that reach neuron i, sensory ones (``u`` an input) and internal ones
(``u`` another neuron's ``v``). One time step is ``n`` unfolds of the semi-implicit solver, ``h = elapsed / n``:

.. math:: v_i \leftarrow \frac{C_i v_i + h (g_i v_{leak,i} + \sum_s w_s \sigma_s E_s)}{C_i + h (g_i + \sum_s w_s \sigma_s)}

It is a weighted mean of ``v_i``, ``v_leak`` and the ``E_s``, so the state stays between them whatever the input, and
``elapsed = 0`` leaves it alone. Source: Hasani et al. 2021, "Liquid time-constant networks", equations 1, 2 and
algorithm 1; the conductance form of the synapses is that of Lechner et al. 2020, "Neural circuit policies enabling
auditable autonomy". Registered with ``torch.library`` (fake and autograd).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.kernels.engines.operators import operator

__all__ = ["BACKENDS", "Reach", "ltc_reference", "ltc_scan"]

BACKENDS = ("auto", "numba", "cuda", "reference")


class Reach(NamedTuple):
    """Which synapses reach which neuron: those of neuron i are ``start[i] : start[i + 1]``.

    ``start`` is ``[N + 1]`` (int64), ``pre [S]`` (int32) the input or the neuron that each synapse comes from.

    >>> Reach.of(torch.tensor([[0, 1], [-1, 1]])).pre.tolist()  # [pre, post]
    [1, 0, 1]
    """

    start: Tensor
    pre: Tensor

    @classmethod
    def of(cls, adjacency: Tensor) -> Reach:
        """The synapses of ``adjacency [I, N]`` (presynaptic, postsynaptic), where it is not 0; sorted by neuron."""
        post, pre = adjacency.t().nonzero().unbind(1)
        counts = torch.bincount(post, minlength=adjacency.shape[1])
        return cls(torch.cat([counts.new_zeros(1), counts.cumsum(0)]), pre.int())

    def post(self) -> Tensor:
        """``[S]``: the neuron that each synapse reaches."""
        return torch.repeat_interleave(torch.arange(self.start.shape[0] - 1, device=self.pre.device), self.start.diff())


def _conductances(u: Tensor, values: Tensor, reach: Reach, neurons: int) -> tuple[Tensor, Tensor]:
    mu, sigma, w, e = values
    open_ = w * torch.sigmoid(sigma * (u[:, reach.pre.long()] - mu))
    empty = u.new_zeros((u.shape[0], neurons))
    return empty.index_add(1, reach.post(), open_ * e), empty.index_add(1, reach.post(), open_)


def ltc_reference(
    x: Tensor,
    first: Tensor,
    elapsed: Tensor,
    neuron: Tensor,
    synapses: Tensor,
    sensory: Tensor,
    reach: Reach,
    sensory_reach: Reach,
    *,
    unfolds: int = 6,
) -> Tensor:
    """The definition: a plain torch loop, differentiable by autograd. Arguments as for :func:`ltc_scan`."""
    c, leak, rest = neuron
    v, states = first, []
    for u, dt in zip(x.unbind(0), elapsed.unbind(0), strict=True):
        h = (dt / unfolds).unsqueeze(1)
        drive, load = _conductances(u, sensory, sensory_reach, first.shape[1])
        for _ in range(unfolds):
            num, den = _conductances(v, synapses, reach, first.shape[1])
            v = (c * v + h * (leak * rest + drive + num)) / (c + h * (leak + load + den))
        states.append(v)
    return torch.stack(states) if states else x.new_zeros((0, *first.shape))


def _engine(like: Tensor) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Forward and backward for the device of ``like``."""
    if like.is_cuda:
        from neuro.kernels.liquid.ltc_cuda import backward, forward
    else:
        from neuro.kernels.liquid.ltc_numba import backward, forward
    return forward, backward


@operator("neuro::ltc_scan")
def _ltc_op(
    x: Tensor,
    first: Tensor,
    elapsed: Tensor,
    neuron: Tensor,
    synapses: Tensor,
    sensory: Tensor,
    start: Tensor,
    pre: Tensor,
    sensory_start: Tensor,
    sensory_pre: Tensor,
    unfolds: int,
) -> Tensor:
    given = (x, first, elapsed, neuron, synapses, sensory, start, pre, sensory_start, sensory_pre)
    return _engine(x)[0](given, unfolds)  # type: ignore[no-any-return]


@_ltc_op.register_fake
def _ltc_fake(
    x: Tensor,
    first: Tensor,
    elapsed: Tensor,
    neuron: Tensor,
    synapses: Tensor,
    sensory: Tensor,
    start: Tensor,
    pre: Tensor,
    sensory_start: Tensor,
    sensory_pre: Tensor,
    unfolds: int,
) -> Tensor:
    return x.new_empty((*x.shape[:2], first.shape[1]))


@operator("neuro::ltc_scan_backward")
def _ltc_backward_op(
    x: Tensor,
    first: Tensor,
    elapsed: Tensor,
    neuron: Tensor,
    synapses: Tensor,
    sensory: Tensor,
    start: Tensor,
    pre: Tensor,
    sensory_start: Tensor,
    sensory_pre: Tensor,
    unfolds: int,
    out: Tensor,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    given = (x, first, elapsed, neuron, synapses, sensory, start, pre, sensory_start, sensory_pre)
    return _engine(x)[1](given, unfolds, out, grad)  # type: ignore[no-any-return]


@_ltc_backward_op.register_fake
def _ltc_backward_fake(
    x: Tensor,
    first: Tensor,
    elapsed: Tensor,
    neuron: Tensor,
    synapses: Tensor,
    sensory: Tensor,
    start: Tensor,
    pre: Tensor,
    sensory_start: Tensor,
    sensory_pre: Tensor,
    unfolds: int,
    out: Tensor,
    grad: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    one, two, three, four, five = (t.new_empty(t.shape) for t in (x, first, neuron, synapses, sensory))
    return one, two, three, four, five


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.unfolds = inputs
    ctx.save_for_backward(*tensors, output)


def _autograd(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    *tensors, out = ctx.saved_tensors
    x, first, *values = _ltc_backward_op(*tensors, ctx.unfolds, out, grad)
    return (x, first, None, *values, None, None, None, None, None)


_ltc_op.register_autograd(_autograd, setup_context=_setup_context)


def ltc_scan(
    x: Tensor,
    first: Tensor,
    elapsed: Tensor,
    neuron: Tensor,
    synapses: Tensor,
    sensory: Tensor,
    reach: Reach,
    sensory_reach: Reach,
    *,
    unfolds: int = 6,
    backend: str = "auto",
) -> Tensor:
    """Run liquid time-constant neurons over a sequence; the equations stand at the top of the module.

    Backward makes the unfolds of each step again from the state before it: only the states that are
    returned are kept. Gradients go to everything but ``elapsed``.

    Args:
        x: inputs ``[T, B, I]``.
        first: state before the first step, ``[B, N]``.
        elapsed: time that each step takes, ``[T, B]``, from 0 on, in the unit of ``C / g`` (seconds in SI).
        neuron: ``[3, N]``: capacitance C > 0, leak g >= 0, v_leak.
        synapses: ``[4, S]``: mu, sigma (the k of the equation), w >= 0, E of the internal synapses.
        sensory: ``[4, R]``: those of the sensory synapses.
        reach: where the S internal synapses lead.
        sensory_reach: where the R sensory ones lead.
        unfolds: inner steps n.
        backend: one of :data:`BACKENDS`; ``"auto"`` is the device's own.

    Returns:
        States ``[T, B, N]`` after each step.

    Raises:
        InputError: shapes, dtypes or devices that do not fit, a synapse from nowhere, a capacitance that is not
            positive, negative elapsed time, a backend that is not there.

    >>> one = torch.ones(1, 1)  # a leak alone, tau = C / g = 2 s
    >>> none = Reach.of(torch.zeros(1, 1))
    >>> empty = torch.zeros(4, 0)
    >>> constants = torch.tensor([[2.0], [1.0], [0.0]])
    >>> states = ltc_scan(torch.zeros(2, 1, 1), one, one.expand(2, 1), constants, empty, empty, none, none, unfolds=1)
    >>> [round(v, 4) for v in states.flatten().tolist()]
    [0.6667, 0.4444]
    """
    if not torch.compiler.is_compiling():
        _check(x, first, elapsed, neuron, synapses, sensory, reach, sensory_reach, unfolds)
        if backend == "reference":
            return ltc_reference(x, first, elapsed, neuron, synapses, sensory, reach, sensory_reach, unfolds=unfolds)
        check_backend(backend, x)
    wired = (*reach, *sensory_reach)
    return _ltc_op(x, first, elapsed, neuron, synapses, sensory, *wired, unfolds)  # type: ignore[no-any-return]


def check_backend(backend: str, like: Tensor) -> None:
    """Refuse a backend that does not exist, or that cannot run on the device of ``like [...]``."""
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    own = "cuda" if like.is_cuda else "numba"
    if backend not in ("auto", "reference", own):
        raise InputError(
            f"backend {backend!r} does not run on {like.device}; use 'auto', or move the tensors with .to()"
        )


def _check(
    x: Tensor,
    first: Tensor,
    elapsed: Tensor,
    neuron: Tensor,
    synapses: Tensor,
    sensory: Tensor,
    reach: Reach,
    sensory_reach: Reach,
    unfolds: int,
) -> None:
    if not isinstance(x, Tensor) or x.dim() != 3 or x.dtype not in (torch.float32, torch.float64):
        raise InputError(f"x must be [T, B, I], float32 or float64, got {_seen(x)}")
    if not isinstance(first, Tensor) or first.dim() != 2 or first.shape[0] != x.shape[1]:
        raise InputError(f"first must be [B, N] with B = {x.shape[1]}, got {_seen(first)}")
    neurons = first.shape[1]
    counts = (reach.pre.shape[0], sensory_reach.pre.shape[0])
    shapes = ((neurons,), tuple(x.shape[:2]), (3, neurons), (4, counts[0]), (4, counts[1]))
    names = ("first", "elapsed", "neuron", "synapses", "sensory")
    for name, tensor, shape in zip(names, (first[0:0, :], elapsed, neuron, synapses, sensory), shapes, strict=True):
        if name != "first" and (not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape):
            raise InputError(f"{name} must be {list(shape)}, got {_seen(tensor)}")
        if tensor.dtype != x.dtype or tensor.device != x.device:
            raise InputError(f"x is {x.dtype} on {x.device}, {name} {tensor.dtype} on {tensor.device}; use .to()")
    check_elapsed(elapsed)
    if not isinstance(unfolds, int) or unfolds < 1:
        raise InputError(f"unfolds must be an integer from 1 on, got {unfolds!r}")
    if not bool((neuron[0] > 0).all()) or not bool(torch.isfinite(neuron).all()):
        raise InputError("neuron must be finite with capacitances (its first row) above 0")
    _check_reach("reach", reach, neurons, neurons)
    _check_reach("sensory_reach", sensory_reach, x.shape[2], neurons)


def check_elapsed(elapsed: Tensor) -> None:
    """Refuse elapsed times ``[T, B]`` that are negative or not finite, or that want a gradient."""
    if elapsed.numel() and not bool(((elapsed >= 0) & torch.isfinite(elapsed)).all()):
        raise InputError(f"elapsed time must be finite and from 0 on, got a smallest of {float(elapsed.min())}")
    if elapsed.requires_grad:
        raise InputError("elapsed time has no gradient here; give elapsed.detach()")


def _check_reach(name: str, reach: Reach, pre: int, post: int) -> None:
    start, origin = reach
    if start.dtype != torch.int64 or origin.dtype != torch.int32 or start.shape != (post + 1,) or origin.dim() != 1:
        raise InputError(
            f"{name} must be start [{post + 1}] int64 and pre [S] int32, got {_seen(start)}, {_seen(origin)}"
        )
    ends = int(start[0]), int(start[-1])
    if ends != (0, origin.shape[0]) or bool((start.diff() < 0).any()):
        raise InputError(f"{name}.start must rise from 0 to {origin.shape[0]}, got {start.tolist()}")
    if origin.numel() and not 0 <= int(origin.min()) <= int(origin.max()) < pre:
        raise InputError(f"{name}.pre must be in 0..{pre - 1}, got {int(origin.min())}..{int(origin.max())}")


def _seen(given: Any) -> str:
    return f"{list(given.shape)} {given.dtype}" if isinstance(given, Tensor) else type(given).__name__
