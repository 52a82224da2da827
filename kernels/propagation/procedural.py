"""Connections that are never stored: each row is made anew from a seed when a neuron spikes.

Row i draws 32-bit numbers ``u(stream, i, k) = hash(key(seed, stream, i), k)``: a splitmix64 key
for the row, then a murmur3-type finaliser of the counter k, so that any row can be made alone, in any order,
on any device. Targets (stream 0): with a fixed number, synapse k goes to ``floor(u O / 2^32)``
(repeats allowed); with a probability p, the gaps between targets are geometric, found in a table
of integers, so that each pair is connected independently with p (to 2^-32). Weights (streams
1, 2): one for all, uniform, or normal by Box and Muller, in float64, then rounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuro.errors import InputError, unknown_name
from neuro.kernels.engines.numba_backend import run_blocks
from neuro.kernels.engines.operators import operator
from neuro.kernels.propagation.csr import CSR
from neuro.kernels.propagation.procedural_cuda import cuda_product
from neuro.kernels.propagation.spikes import count_entries, list_entries, ranges

__all__ = ["LAWS", "Procedural", "procedural_product", "reference_row"]

LAWS = ("homogeneous", "uniform", "normal")
_STEPS = 256  # gaps the table tells apart; a longer one is drawn in several steps
_ROWS = 64  # rows of spikes, or of connections, that a task handles
_M64, _GOLDEN = 2**64 - 1, 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Procedural:
    """A random matrix ``[I, O]`` that exists only as its seed.

    Args:
        pre: I.
        post: O.
        seed: from 0 to 2^63 - 1.
        number: synapses of each presynaptic neuron; or
        probability: chance of each pair to be connected.
        law: ``"homogeneous"``, ``"uniform"`` or ``"normal"``.
        a: the weight; the lower end; the mean.
        b: unused; the upper end; the standard deviation.

    Raises:
        InputError: a value out of range; both or neither of ``number`` and ``probability``.

    >>> Procedural(2, 100, seed=1, number=3).csr()[0].indices.tolist() == [j for i in (0, 1) for j, _ in
    ...     reference_row(Procedural(2, 100, seed=1, number=3), i)]
    True
    """

    pre: int
    post: int
    seed: int
    number: int | None = None
    probability: float | None = None
    law: str = "homogeneous"
    a: float = 1.0
    b: float = 0.0

    def __post_init__(self) -> None:
        """Check every value."""
        if self.law not in LAWS:
            raise unknown_name("law", self.law, LAWS)
        if not (0 <= self.pre < 2**31 and 0 < self.post < 2**31):
            raise InputError(f"pre and post must be in 0..2^31 - 1 and 1..2^31 - 1, got {self.pre} and {self.post}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed must be in 0..2^63 - 1, got {self.seed}")
        if (self.number is None) == (self.probability is None):
            raise InputError("give either number or probability of synapses")
        if self.number is not None and not 0 <= self.number < 2**31:
            raise InputError(f"number must be in 0..2^31 - 1, got {self.number}")
        if self.probability is not None and not 0.0 <= self.probability <= 1.0:
            raise InputError(f"probability must be in 0..1, got {self.probability}")
        if not (math.isfinite(self.a) and math.isfinite(self.b)):
            raise InputError(f"a and b must be finite, got {self.a} and {self.b}")
        if self.law == "normal" and self.b < 0:
            raise InputError(f"b, the standard deviation, must not be negative, got {self.b}")

    def table(self) -> Tensor:
        """``[256 + 256]`` (int64): ``2^32 P(gap <= g)``, then the first gap to try for each top byte of a draw.

        Plain products, rounded as IEEE 754 says: the same on every machine.
        """
        if self.probability is None:
            return torch.zeros(0, dtype=torch.int64)
        left, limits = 1.0, []
        for _ in range(_STEPS):
            left *= 1.0 - self.probability
            limits.append(round((1.0 - left) * 2**32))
        first = np.searchsorted(limits, np.arange(256) << 24, side="right")
        return torch.tensor([*limits, *first.tolist()], dtype=torch.int64)

    def csr(self, dtype: torch.dtype = torch.float32) -> tuple[CSR, Tensor]:
        """The matrix, stored: connections, and weights ``[S]`` (``[1]`` if they are all the same)."""
        from neuro.kernels.propagation.procedural_numba import rows

        counts, none = np.zeros(self.pre, np.int64), np.zeros(0, np.int64)
        no_index, no_weight = np.zeros(0, np.int32), torch.zeros(0, dtype=dtype).numpy()
        blocks = ranges(self.pre, _ROWS)
        calls: list[Any] = [(*self._given(), counts, none, no_index, no_weight, *block) for block in blocks]
        run_blocks([lambda call=call: rows(*call) for call in calls])  # type: ignore[misc]
        indptr = np.concatenate([none, [0], np.cumsum(counts)]).astype(np.int64)
        indices = torch.empty(int(indptr[-1]), dtype=torch.int32)
        weight = torch.full((1 if self.law == "homogeneous" else int(indptr[-1]),), self.a, dtype=dtype)
        calls = [(*self._given(), counts, indptr, indices.numpy(), weight.numpy(), *block) for block in blocks]
        run_blocks([lambda call=call: rows(*call) for call in calls])  # type: ignore[misc]
        return CSR(torch.from_numpy(indptr), indices, self.post), weight

    def _given(self) -> tuple[Any, ...]:
        number = -1 if self.number is None else self.number
        law = LAWS.index(self.law)
        return self.seed, self.post, number, self.table().numpy(), law, float(self.a), float(self.b)


def _mix(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _M64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _M64
    return z ^ (z >> 31)


def _draw(seed: int, stream: int, i: int, k: int) -> int:
    key = _mix(_mix((seed + stream * _GOLDEN) & _M64) + (i + 1) * _GOLDEN & _M64)
    h = (key + k * 0x9E3779B9) & 0xFFFFFFFF
    h = (h ^ (h >> 16)) * 0x85EBCA6B & 0xFFFFFFFF
    h = (h ^ (h >> 13) ^ (key >> 32)) * 0xC2B2AE35 & 0xFFFFFFFF
    return h ^ (h >> 16)


def reference_row(connections: Procedural, i: int) -> list[tuple[int, float]]:
    """The definition: targets and weights of presynaptic neuron i, in the order they are made."""
    seed, limits = connections.seed, connections.table()[:_STEPS].tolist()
    targets: list[int] = []
    if connections.number is not None:
        targets = [_draw(seed, 0, i, k) * connections.post >> 32 for k in range(connections.number)]
    else:
        j, k = 0, 0
        while j < connections.post:
            gap = sum(limit <= _draw(seed, 0, i, k) for limit in limits)
            j, k = j + gap, k + 1
            if gap < _STEPS and j < connections.post:
                targets.append(j)
                j += 1
    return [(j, _weight(connections, i, k)) for k, j in enumerate(targets)]


def _weight(connections: Procedural, i: int, k: int) -> float:
    first, second = (_draw(connections.seed, stream, i, k) for stream in (1, 2))
    if connections.law == "uniform":
        return connections.a + (connections.b - connections.a) * (first / 2**32)
    if connections.law == "normal":
        radius = math.sqrt(-2.0 * math.log((first + 1) / 2**32))
        return connections.a + connections.b * (radius * math.cos(2 * math.pi * (second / 2**32)))
    return connections.a


def _forward(x: Tensor, connections: Procedural) -> Tensor:
    from neuro.kernels.propagation.procedural_numba import scatter

    out = x.new_zeros((x.shape[0], connections.post))
    listed = (a.numpy() for a in list_entries(x, count_entries(x)))
    arrays: Any = (*connections._given(), *listed, out.numpy())
    calls: list[Any] = [(*arrays, *block) for block in ranges(x.shape[0], _ROWS)]
    run_blocks([lambda call=call: scatter(*call) for call in calls])  # type: ignore[misc]
    return out


def _transposed(y: Tensor, connections: Procedural) -> Tensor:
    from neuro.kernels.propagation.procedural_numba import gather

    out = y.new_empty((y.shape[0], connections.pre))
    arrays: Any = (*connections._given(), y.numpy(), out.numpy())
    calls: list[Any] = [(*arrays, *block) for block in ranges(connections.pre, _ROWS)]
    run_blocks([lambda call=call: gather(*call) for call in calls])  # type: ignore[misc]
    return out


def _on_gpu(x: Tensor, c: Procedural, transposed: bool) -> Tensor:
    ends, number = torch.tensor([c.a, c.b], dtype=torch.float64), -1 if c.number is None else c.number
    return cuda_product(x, c.table(), (c.pre, c.post), c.seed, number, LAWS.index(c.law), ends, transposed)


@operator("neuro::procedural_product")
def _product_op(
    x: Tensor,
    transposed: bool,
    pre: int,
    post: int,
    seed: int,
    number: int | None,
    probability: float | None,
    law: str,
    a: float,
    b: float,
) -> Tensor:
    connections = Procedural(pre, post, seed, number, probability, law, a, b)
    x = x.detach().contiguous()
    if x.is_cuda:
        return _on_gpu(x, connections, transposed)
    return (_transposed if transposed else _forward)(x, connections)


@_product_op.register_fake
def _product_fake(
    x: Tensor,
    transposed: bool,
    pre: int,
    post: int,
    seed: int,
    number: int | None,
    probability: float | None,
    law: str,
    a: float,
    b: float,
) -> Tensor:
    return x.new_empty((x.shape[0], pre if transposed else post))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, ctx.transposed, *ctx.given = inputs


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (_product_op(grad, not ctx.transposed, *ctx.given), *(None for _ in range(9)))


_product_op.register_autograd(_backward, setup_context=_setup_context)


def procedural_product(x: Tensor, connections: Procedural, *, transposed: bool = False) -> Tensor:
    """``x A`` (or, transposed, ``x A^T``) with a matrix that is made anew from its seed.

    Forward, the cost follows the spikes; transposed, every row is made once. Nothing is kept for
    backward: the gradient is the other of the two. Equal, bit by bit, to :func:`propagate` over
    ``connections.csr()`` and its gradient. For a gain that learns, multiply the product by it.

    Args:
        x: ``[..., I]`` (transposed: ``[..., O]``), float32 or float64.
        connections: the law of the matrix.
        transposed: which of the two.

    Returns:
        ``[..., O]`` (transposed: ``[..., I]``).

    Raises:
        InputError: another width, dtype or device.

    >>> procedural_product(torch.ones(4), Procedural(4, 1, seed=0, number=2)).tolist()
    [8.0]
    """
    width = connections.post if transposed else connections.pre
    if x.dim() == 0 or x.shape[-1] != width:
        raise InputError(f"x must end in {width}, got {list(x.shape)}")
    if x.dtype not in (torch.float32, torch.float64) or x.device.type not in ("cpu", "cuda"):
        raise InputError(f"x must be float32 or float64 on the CPU or a GPU, got {x.dtype} on {x.device}")
    c = connections
    given = (c.pre, c.post, c.seed, c.number, c.probability, c.law, float(c.a), float(c.b))
    rows = x.reshape(math.prod(x.shape[:-1]), width)
    out: Tensor = _product_op(rows, transposed, *given)
    return out.view(*x.shape[:-1], out.shape[-1])
