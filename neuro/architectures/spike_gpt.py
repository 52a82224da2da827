"""SpikeGPT: a language model that reads token by token, with the state of a recurrent network."""

from __future__ import annotations

from torch import nn

from neuro.architectures.blocks import lif, need_positive
from neuro.network import Residual, Sequential
from neuro.synapses import SRFFN, SRWKV, Dropout, LayerNorm, Linear, SpikingEmbedding

__all__ = ["spike_gpt", "spike_gpt_block"]


def spike_gpt_block(
    features: int, *, depth: int = 0, layers: int = 1, dropout: float = 0.03, dt: float = 1e-3
) -> Sequential:
    """One block of SpikeGPT: ``x + LIF(SRWKV(LN(x)))``, then ``x + LIF(SRFFN(LN(x)))``, then dropout.

    The neurons run along the tokens, which are the steps. What they add is spikes, what is multiplied with weights is
    the normalised sum of all of them, so count real zeros before claiming operations saved.

    Args:
        features: C.
        depth: number of the block from the input, which its initial values depend on.
        layers: blocks of the whole network.
        dropout: share of the features left out in training.
        dt: seconds from token to token.

    Returns:
        ``[T, B, C]`` to ``[T, B, C]``.

    Raises:
        InputError: sizes out of range.

    >>> import torch
    >>> spike_gpt_block(8)(torch.ones(5, 2, 8))[0].shape
    torch.Size([5, 2, 8])
    """
    options = {"depth": depth, "layers": layers}
    mixer = Sequential(LayerNorm(features), SRWKV(features, **options, dt=dt), lif(features, dt))
    network = Sequential(LayerNorm(features), SRFFN(features, **options, dt=dt), lif(features, dt))
    return Sequential(Residual(mixer), Residual(network), Dropout(features, dropout, dt=dt))


def spike_gpt(
    vocabulary: int = 50277,
    features: int = 768,
    layers: int = 18,
    *,
    dropout: float = 0.03,
    dt: float = 1e-3,
) -> Sequential:
    """SpikeGPT, 216 million parameters as it stands (the size of the checkpoint its authors give out).

    Binary embedding, normalisation, :func:`spike_gpt_block` as often as ``layers`` says, normalisation and weights to the
    logits of the next token. Zhu, Zhao, Li & Eshraghian 2024, "SpikeGPT: generative pre-trained language model with spiking
    neural networks" (TMLR): context of 1024 tokens, Adam (0.9, 0.99) at 6e-4, batches of 12. The state lets it read on for
    ever, a token at a time.

    Args:
        vocabulary: number of tokens.
        features: C.
        layers: number of blocks.
        dropout: share of the features left out behind each block in training.
        dt: seconds from token to token.

    Returns:
        Tokens ``[T, B]`` of whole numbers to logits ``[T, B, vocabulary]``.

    Raises:
        InputError: sizes out of range.

    >>> import torch
    >>> net = spike_gpt(30, 8, 2)
    >>> logits, state = net(torch.tensor([[3], [7], [1]]))
    >>> net.step(torch.tensor([4]), state)[0].shape
    torch.Size([1, 30])
    """
    need_positive("spike_gpt", vocabulary=vocabulary, features=features, layers=layers)
    blocks = [spike_gpt_block(features, depth=k, layers=layers, dropout=dropout, dt=dt) for k in range(layers)]
    head: list[nn.Module] = [LayerNorm(features), Linear(features, vocabulary, bias=False)]
    return Sequential(SpikingEmbedding(vocabulary, features), LayerNorm(features), *blocks, *head)
