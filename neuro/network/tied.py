"""A network of tokens whose first table is also its last."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from neuro.errors import InputError
from neuro.kernels.propagation.dense import dense_linear
from neuro.network.base import Apply, Network, NetworkState
from neuro.synapses.embedding import Embedding

__all__ = ["Tied"]


class Tied(Network):
    """Tokens in, logits out: ``logits = body(table[x]) table^T + bias``, the same table on both sides.

    Press & Wolf 2017, "Using the output embedding to improve language models" (EACL). The table is one parameter, so a
    file holds it once.

    Args:
        layers: ``{"embedding": neuro.Embedding(tokens, C), "body": network of [T, B, C] to [T, B, C]}``.

    Attributes:
        bias: ``[tokens]``, zero at first.

    Raises:
        InputError: other layers than these.

    >>> import torch, neuro
    >>> net = Tied({"embedding": neuro.Embedding(9, 4), "body": neuro.Sequential(neuro.EGRU(4, 4))})
    >>> logits, state = net(torch.tensor([[3], [7]]))
    >>> logits.shape
    torch.Size([2, 1, 9])
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        found = {name: type(layer).__name__ for name, layer in layers.items()}
        if list(layers) != ["embedding", "body"] or not isinstance(layers["embedding"], Embedding):
            raise InputError(f"Tied takes layers 'embedding' (a neuro.Embedding) and 'body', got {found}")
        if not isinstance(layers["body"], Network):
            raise InputError(f"Tied takes a network such as neuro.Sequential(...) as its body, got {found['body']}")
        super().__init__(layers.items())
        self.bias = nn.Parameter(layers["embedding"].weight.new_zeros(layers["embedding"].tokens))

    def run(self, x: Tensor, state: NetworkState | None, apply: Apply) -> tuple[Tensor, NetworkState]:
        """As in :meth:`Network.run`; ``x`` is ``[T, B]`` whole numbers."""
        embedding, body = self.layers["embedding"], self.layers["body"]
        assert isinstance(embedding, Embedding)
        _, before = self._states(state)
        y, _ = apply("embedding", embedding, (x,), None)
        y, after = apply("body", body, (y,), before)
        return dense_linear(y, embedding.weight, self.bias), (None, after)
