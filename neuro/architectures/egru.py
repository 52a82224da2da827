"""Language models of event-based gated recurrent units."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from neuro.architectures.blocks import need_positive
from neuro.kernels.compiler.surrogate import Surrogate
from neuro.network import Sequential
from neuro.network.tied import Tied
from neuro.neurons import EGRU
from neuro.synapses import Dropout, Embedding

__all__ = ["egru_language_model"]


def egru_language_model(
    tokens: int = 10_000,
    features: int = 750,
    units: int = 1350,
    layers: int = 3,
    *,
    threshold: float = 0.01,
    width: float = 1 / 3.6,
    dropconnect: float = 0.7,
    word_dropout: float = 0.1,
    embedding_dropout: float = 0.6,
    layer_dropout: float = 0.25,
    output_dropout: float = 0.5,
    dt: float = 1e-3,
) -> Tied:
    """The EGRU language model of Penn Treebank: layers of 1350, 1350 and 750 units between one table of words.

    Embedding, :class:`neuro.EGRU` layers of which the last is as wide as the embedding, and the embedding's own weights
    as decoder. Where dropout acts, it leaves out the same features in all steps. Subramoney et al. 2023, "Efficient
    recurrent architectures through activity sparsity and sparse back-propagation through time" (ICLR), and the authors'
    code: pieces of 70 words, batches of 64, AdamW at 1.2e-3 with decay 0.1, gradients clipped at a norm of 0.1, 1000
    epochs of which the last 300 follow a cosine, rule ``BPTT(cut_reset=False)``. WikiText-2: ``tokens=33_278``,
    ``embedding_dropout=0.7``, batches of 128, 1e-3, decay 0.12, 800 epochs (cosine from 400). There thresholds stay
    where they begin: leave ``v_threshold`` out of the optimizer for that.

    Args:
        tokens: size of the vocabulary.
        features: width of the embedding and of the last layer.
        units: units of the other layers.
        layers: number of EGRU layers.
        threshold: mean of the initial thresholds.
        width: distance from the threshold at which the surrogate derivative, 0.7 at its peak, ends.
        dropconnect: share of the recurrent weights left out in training.
        word_dropout: share of the vocabulary left out.
        embedding_dropout: share of the embedding's features left out.
        layer_dropout: share of the features left out between layers.
        output_dropout: share of them before the decoder.
        dt: seconds from token to token.

    Returns:
        Tokens ``[T, B]`` of whole numbers to logits ``[T, B, tokens]``.

    Raises:
        InputError: sizes or shares out of range.

    >>> import torch
    >>> net = egru_language_model(30, 8, 12, 2).eval()
    >>> logits, state = net(torch.tensor([[3], [7], [1]]))
    >>> net.step(torch.tensor([4]), state)[0].shape
    torch.Size([1, 30])
    """
    need_positive("egru_language_model", tokens=tokens, features=features, units=units, layers=layers)
    sizes = (features, *(units for _ in range(layers - 1)), features)
    spike = Surrogate("triangle", width=width, peak=0.7)
    body: list[nn.Module] = [Dropout(features, embedding_dropout, dt=dt)]
    for k, (before, n) in enumerate(pairwise(sizes), 1):
        cell = EGRU(before, n, threshold=threshold, dropconnect=dropconnect, surrogate=spike, dt=dt)
        body += [cell, Dropout(n, layer_dropout if k < layers else output_dropout, dt=dt)]
    return Tied({"embedding": Embedding(tokens, features, p=word_dropout), "body": Sequential(*body)})
