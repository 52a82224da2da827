"""Learning that leaves alone what earlier tasks use: Hebbian orthogonal projection (HLOP)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neuro.errors import InputError

__all__ = ["HebbianSubspace"]

_CLIP = 10.0  # of the mean change, as the authors' code has it
_SKEW = 0.2  # largest error of the rows' products that is still a projection, not an amplifier


class HebbianSubspace(nn.Module):
    """The directions a layer's inputs took in earlier tasks, found by Hebbian learning of lateral synapses ``H``.

    While a task is learned, rows added by :meth:`grow` follow its inputs x by the Hebbian and anti-Hebbian
    rule ``dH = mean_b y (x - H^T y)^T``, ``y = H x``; old rows stand still. :meth:`merge` closes the task: its
    rows, made orthonormal, join the old ones. From then on :meth:`protect` takes
    ``x - H^T H x`` for x in the weight's gradient ``sum delta x^T``, whichever rule wrote it, so that what the
    layer answers to inputs within the subspace stays as it is. Xiao et al., "Hebbian learning based orthogonal
    projection for continual learning of spiking neural networks" (ICLR 2024). Weight decay and optimizers that
    scale each weight by itself (Adam) leave the subspace alone no more: use SGD, with momentum if wanted.

    Args:
        features: size of the layer's input, ``n``, without unit.
        lr: rate of the rows; the authors': 0.001 for 784 inputs, 0.01 for hidden layers.
        momentum: of the rows' change, from 0 to below 1.
        repeats: changes for each batch.

    Attributes:
        old: rows of earlier tasks ``[m, n]``, orthonormal.
        new: rows of this task ``[k, n]``.

    Raises:
        InputError: no features; a rate, momentum or number of repeats out of range.

    >>> subspace = HebbianSubspace(3, lr=0.1)
    >>> subspace.grow(1)
    >>> for _ in range(40):
    ...     subspace.observe(torch.tensor([[2.0, 0.0, 0.0]]))
    >>> subspace.merge()
    >>> [abs(round(v, 3)) for v in subspace.orthogonal(torch.tensor([[5.0, 1.0, 0.0]]))[0].tolist()]
    [0.0, 1.0, 0.0]
    """

    old: Tensor
    new: Tensor
    change: Tensor

    def __init__(self, features: int, *, lr: float = 0.01, momentum: float = 0.9, repeats: int = 5) -> None:
        super().__init__()
        if features < 1 or repeats < 1:
            raise InputError(f"features and repeats must be at least 1, got {features} and {repeats}")
        if not (math.isfinite(lr) and lr > 0 and 0 <= momentum < 1):
            raise InputError(f"lr must be above 0 and momentum from 0 to below 1, got {lr} and {momentum}")
        self.features, self.lr, self.momentum, self.repeats = features, lr, momentum, repeats
        for name in ("old", "new", "change"):
            self.register_buffer(name, torch.zeros(0, features))

    def grow(self, rows: int) -> None:
        """Add ``rows`` for the task that begins, orthogonal to all others.

        Raises:
            InputError: no rows; a task that is still open; rows that would fill the layer's input, after
                which nothing could be learned.
        """
        if len(self.new):
            raise InputError("the task before is still open; call merge() first")
        if rows < 1 or len(self.old) + rows >= self.features:
            raise InputError(
                f"rows must be at least 1 and leave room to learn: {len(self.old)} of {self.features} inputs are taken, "
                f"got {rows} more; take fewer rows for each task"
            )
        drawn = torch.randn(rows, self.features, dtype=self.old.dtype, device=self.old.device)
        self.new = torch.linalg.qr(self.orthogonal(drawn).t()).Q.t().contiguous()
        self.change = torch.zeros_like(self.new)

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Let the new rows follow a batch of inputs.

        Args:
            x: ``[..., n]``, e.g. firing rates or traces of the layer's inputs.

        Raises:
            InputError: another last size.
        """
        rows = self._checked(x).reshape(-1, self.features)
        left = self.orthogonal(rows)
        for _ in range(self.repeats if len(rows) else 0):
            y = rows @ self.new.t()
            # The old rows take their part out of what is left, as all rows of one network would.
            step = (y.t() @ (left - y @ self.new) / len(rows)).clamp_(-_CLIP, _CLIP)
            self.change = self.momentum * self.change + (1 - self.momentum) * step
            self.new = self.new + self.lr * self.change

    @torch.no_grad()
    def merge(self) -> None:
        """Close the task: its rows join the old ones.

        Raises:
            InputError: rows that have not converged to orthogonal ones (``|H H^T - I|`` above 0.2).
        """
        whole = torch.cat([self.old, self.new])
        skew = whole @ whole.t() - torch.eye(len(whole), dtype=whole.dtype, device=whole.device)
        worst = float(skew.abs().max()) if len(whole) else 0.0
        if not worst <= _SKEW:
            raise InputError(
                f"the rows are not orthogonal, |H H^T - I| = {worst:.2g} above {_SKEW}; lower lr or show more inputs"
            )
        self.old = torch.linalg.qr(whole.t()).Q.t().contiguous()
        self.new, self.change = self.new[:0], self.change[:0]

    def orthogonal(self, x: Tensor) -> Tensor:
        """``x - H^T H x`` with the rows of earlier tasks, ``[..., n]``.

        Raises:
            InputError: another last size.
        """
        return self._checked(x) - (x @ self.old.t()) @ self.old

    def residual(self, x: Tensor) -> float:
        """Share of the power of inputs ``[..., n]`` outside of all rows, from 0 to 1."""
        whole = torch.cat([self.old, self.new])
        left = self._checked(x) - (x @ whole.t()) @ whole
        return float(left.detach().square().sum() / x.detach().square().sum())

    @torch.no_grad()
    def protect(self, weight: Tensor) -> None:
        """Take out of ``weight.grad [..., n]`` what would change answers to inputs of earlier tasks; needs no grad to be there."""
        if weight.grad is not None:
            weight.grad = self.orthogonal(weight.grad)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        for name in ("old", "new", "change"):  # as many rows as were learned
            if (held := state_dict.get(prefix + name)) is not None:
                setattr(self, name, getattr(self, name).new_zeros((len(held), self.features)))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _checked(self, x: Tensor) -> Tensor:
        if x.dim() < 1 or x.shape[-1] != self.features:
            raise InputError(f"HebbianSubspace takes [..., {self.features}], got {list(x.shape)}")
        return x
