"""Tokens as vectors."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.errors import InputError

__all__ = ["Embedding"]


class Embedding(nn.Module):
    """Tokens as vectors: ``[T, B]`` numbers to ``[T, B, C]``, ``y[t, b] = weight[x[t, b]]``.

    In training, each token of the vocabulary is left out of the whole sequence with probability ``p`` and the others are
    scaled up by ``1 / (1 - p)``: Gal & Ghahramani 2016, "A theoretically grounded application of dropout in recurrent
    neural networks". Drawn with torch's generator.

    Args:
        tokens: size of the vocabulary.
        features: C.
        p: share of the tokens left out, from 0 to below 1.
        scale: initial weights are uniform within ``scale`` of zero.

    Attributes:
        weight: ``[tokens, C]``.

    Raises:
        InputError: sizes, ``p`` or ``scale`` out of range; later, tokens that are not whole numbers of the vocabulary.

    >>> import torch
    >>> Embedding(10, 4)(torch.tensor([[3], [7]])).shape
    torch.Size([2, 1, 4])
    """

    def __init__(self, tokens: int, features: int, *, p: float = 0.0, scale: float = 0.1) -> None:
        super().__init__()
        for name, value in (("tokens", tokens), ("features", features)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"Embedding {name} must be a whole number from 1 on, got {value!r}")
        if not 0 <= p < 1:
            raise InputError(f"Embedding p must be from 0 to below 1, got {p}")
        if not 0 <= scale < float("inf"):
            raise InputError(f"Embedding scale must be a finite number from 0 on, got {scale}")
        self.tokens, self.features, self.p = tokens, features, float(p)
        self.weight = nn.Parameter(torch.empty(tokens, features).uniform_(-scale, scale))

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B]`` to ``[T, B, C]``."""
        if x.dim() != 2 or x.dtype.is_floating_point or x.dtype.is_complex:
            raise InputError(f"Embedding takes tokens [T, B] of whole numbers, got {tuple(x.shape)} {x.dtype}")
        if x.numel() and not 0 <= int(x.amin()) <= int(x.amax()) < self.tokens:
            seen = (int(x.amin()), int(x.amax()))
            raise InputError(f"Embedding knows tokens 0 to {self.tokens - 1}, got {seen[0]} to {seen[1]}")
        table: Tensor = self.weight
        if self.training and self.p:
            table = table * F.dropout(table.new_ones((self.tokens, 1)), self.p)
        return F.embedding(x, table)

    def definition(self) -> dict[str, Any]:
        """What rebuilds this layer but for its values."""
        return {"tokens": self.tokens, "features": self.features, "p": self.p}

    def extra_repr(self) -> str:
        """Vocabulary, features and share left out."""
        return f"{self.tokens}, {self.features}, p={self.p:g}"
