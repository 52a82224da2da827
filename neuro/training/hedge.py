"""Online deep learning: a network with a readout on every layer that finds its own depth while a stream goes by."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.errors import InputError

__all__ = ["HedgeBackprop", "hedge"]


def hedge(alpha: Tensor, losses: Tensor, *, beta: float = 0.99, smoothing: float = 0.2) -> Tensor:
    """Weights of experts after their losses: ``alpha_l <- alpha_l beta^loss_l``, at least ``smoothing/L``, of sum 1.

    Without smoothing and for losses from 0 to 1 the sum of ``alpha . losses`` over any sequence is at most
    ``(ln(1/beta) best + ln L) / (1 - beta)``, ``best`` being the sum of the best expert's (Freund and Schapire 1997, "A
    decision-theoretic generalization of on-line learning and an application to boosting", theorem 2).

    Args:
        alpha: ``[L]``, 0 or more, of sum 1.
        losses: ``[L]``, 0 or more.
        beta: how much is left of a weight at loss 1, above 0 and at most 1.
        smoothing: share, from 0 to 1, that is spread evenly as a floor, so that no expert is lost for good.

    Returns:
        ``[L]``; each at least ``smoothing / L / (1 + smoothing)``.

    Raises:
        InputError: shapes that differ, a value out of range.

    >>> hedge(torch.tensor([0.5, 0.5]), torch.tensor([0.0, 1.0]), beta=0.5, smoothing=0.0)
    tensor([0.6667, 0.3333])
    """
    if alpha.dim() != 1 or alpha.shape != losses.shape or not len(alpha):
        raise InputError(f"alpha and losses must be the same [L], got {list(alpha.shape)} and {list(losses.shape)}")
    if not 0 < beta <= 1 or not 0 <= smoothing <= 1:
        raise InputError(f"beta must be above 0 and at most 1, smoothing from 0 to 1, got {beta} and {smoothing}")
    if not bool(torch.isfinite(losses).all()) or bool((losses < 0).any()):
        raise InputError(f"losses must be finite and 0 or more, got {losses.tolist()}; take a smaller rate")
    weighted = alpha * beta ** (losses - losses.min())  # a factor common to all is lost in the sum
    floored = (weighted / weighted.sum()).clamp_min(smoothing / len(alpha))
    return floored / floored.sum()


class HedgeBackprop(nn.Module):
    """A stack of blocks, a classifier on each, weighed by how well each has done: hedge backpropagation.

    ``F(x) = sum_l alpha_l softmax(f_l(h_l))`` with ``h_l = block_l(h_{l-1})``. One step on a sample (or a small batch):

        theta_l <- theta_l - rate alpha_l dloss_l/dtheta_l                (readout l)
        W_l     <- W_l - rate sum_{j >= l} alpha_j dloss_j/dW_l           (block l)
        alpha   <- hedge(alpha, losses)                                   (:func:`hedge`)

    that is, gradient descent on ``sum_l alpha_l loss_l`` with alpha fixed. At the start shallow readouts, which learn
    fast, are followed; where depth pays, weight moves to it. Blocks may be anything with one input; of what returns a
    pair (networks and layers of neuro: output and state) the output is taken, and a readout's ``[T, B, C]`` is averaged over time.

    Args:
        blocks: one for each layer.
        readouts: as many; each makes ``[B, C]`` or ``[T, B, C]`` of its block's output.
        rate: learning rate, without unit.
        beta: as for :func:`hedge`.
        smoothing: as for :func:`hedge`.

    Attributes:
        alpha: ``[L]``, weights of the readouts; kept in checkpoints.

    Raises:
        InputError: another number of readouts than of blocks; a value out of range.

    Source: Sahoo et al. 2018, "Online deep learning: learning deep neural networks on the fly" (IJCAI), algorithm 1.
    The paper takes cross-entropies as they are, and the floor is applied before the sum is made 1 again.

    >>> _ = torch.manual_seed(0)
    >>> learner = HedgeBackprop.dense(4, 8, depth=3, classes=2, rate=0.1)
    >>> for _ in range(50):
    ...     x = torch.randn(1, 4)
    ...     _ = learner.step(x, (x[:, 0] > 0).long())
    >>> learner.alpha.shape, round(float(learner.alpha.sum()), 4)
    (torch.Size([3]), 1.0)
    """

    alpha: Tensor

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        readouts: Sequence[nn.Module],
        *,
        rate: float = 0.01,
        beta: float = 0.99,
        smoothing: float = 0.2,
    ) -> None:
        super().__init__()
        if len(blocks) != len(readouts) or not blocks:
            raise InputError(f"there must be one readout for each block, got {len(readouts)} for {len(blocks)}")
        if not (math.isfinite(rate) and rate > 0 and 0 < beta <= 1 and 0 <= smoothing <= 1):
            seen = f"{rate}, {beta} and {smoothing}"
            raise InputError(f"rate must be above 0, beta above 0 and at most 1, smoothing from 0 to 1, got {seen}")
        self.blocks, self.readouts = nn.ModuleList(blocks), nn.ModuleList(readouts)
        self.rate, self.beta, self.smoothing = rate, beta, smoothing
        self.register_buffer("alpha", torch.full((len(blocks),), 1 / len(blocks)))

    @classmethod
    def dense(cls, inputs: int, hidden: int, *, depth: int, classes: int, **options: Any) -> Self:
        """The network of the paper: ``depth`` layers of ``hidden`` ReLU units; ``options`` as for the class.

        Weights are drawn by He's rule, which carries the input through any number of ReLU layers.

        Raises:
            InputError: a size below 1; an option out of range.
        """
        if min(inputs, hidden, depth, classes) < 1:
            raise InputError(f"sizes must be at least 1, got {inputs}, {hidden}, {depth} and {classes}")
        widths = [inputs] + [hidden] * depth
        pairs = itertools.pairwise(widths)
        blocks = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairs]
        for block in blocks:
            nn.init.kaiming_normal_(block.get_parameter("0.weight"), nonlinearity="relu")
            nn.init.zeros_(block.get_parameter("0.bias"))
        return cls(blocks, [nn.Linear(hidden, classes) for _ in blocks], **options)

    def logits(self, x: Tensor) -> Tensor:
        """What every readout says of ``x [B, ...]`` (``[T, B, ...]`` for spiking blocks): ``[L, B, C]``."""
        said = []
        for block, readout in zip(self.blocks, self.readouts, strict=True):
            x = _output(block(x))
            y = _output(readout(x))
            said.append(y.mean(0) if y.dim() == 3 else y)
        return torch.stack(said)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities ``[B, C]`` of all readouts together; nothing is learned."""
        return self._weigh(self.logits(x))

    def _weigh(self, logits: Tensor) -> Tensor:
        return torch.einsum("l,lbc->bc", self.alpha, logits.softmax(2))

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """Predict, then learn: the prediction is from before ``y`` is seen.

        Args:
            x: ``[B, ...]``, or ``[T, B, ...]`` for spiking blocks.
            y: classes ``[B]``, int64.

        Returns:
            Probabilities ``[B, C]``.

        Raises:
            InputError: classes that do not fit; a loss that is not finite.
        """
        logits = self.logits(x)
        _, batch, classes = logits.shape
        if y.shape != (batch,) or y.dtype != torch.int64 or bool(((y < 0) | (y >= classes)).any()):
            raise InputError(f"y must be [{batch}] int64 from 0 to {classes - 1}, got {list(y.shape)} {y.dtype}")
        losses = torch.stack([F.cross_entropy(one, y) for one in logits])
        prediction = self._weigh(logits.detach())
        after = hedge(self.alpha, losses.detach(), beta=self.beta, smoothing=self.smoothing)
        learned = [p for p in self.parameters() if p.requires_grad]
        grads = torch.autograd.grad((self.alpha * losses).sum(), learned, allow_unused=True)
        with torch.no_grad():
            for parameter, grad in zip(learned, grads, strict=True):
                if grad is not None:
                    parameter.sub_(grad, alpha=self.rate)
        self.alpha.copy_(after)
        return prediction


def _output(made: Tensor | tuple[Tensor, Any]) -> Tensor:
    return made if isinstance(made, Tensor) else made[0]
