"""Spiking transformers for images and event frames, and the blocks they are made of."""

from __future__ import annotations

from torch import nn

from neuro.architectures.blocks import convolution, lif, need_positive
from neuro.errors import InputError
from neuro.network import Graph, Residual, Sequential
from neuro.synapses import SSA, BatchNorm, Conv1d, GlobalMean, KeyValueSum, Linear, MaxPool2d, TokenMask, Tokens

__all__ = ["sdsa_block", "spike_driven_transformer", "spikformer", "ssa_block"]

_SOFT = 0.5
"""Threshold of the neurons that read attention."""


def ssa_block(features: int, tokens: int, *, heads: int = 12, ratio: int = 4, dt: float = 1e-3) -> Sequential:
    """Block of Spikformer: spiking self-attention and two layers of weights, their spikes added to what passes by.

    ``q``, ``k``, ``v`` are weights, normalisation and LIF of each token; ``LIF((q k^T) v / 8)`` at a threshold of 0.5,
    then weights, normalisation and LIF again; then ``ratio`` times as many features and back. Zhou et al. 2023,
    "Spikformer: when spiking neural network meets transformer" (ICLR).

    Args:
        features: D.
        tokens: L.
        heads: of the attention; they divide D.
        ratio: features between the two layers of weights, in D.
        dt: time step in seconds.

    Returns:
        ``[T, B, D, L]`` to ``[T, B, D, L]``; numbers of spikes.

    Raises:
        InputError: sizes out of range; heads that do not divide D.

    >>> import torch
    >>> ssa_block(8, 6, heads=2)(torch.ones(2, 1, 8, 6))[0].shape
    torch.Size([2, 1, 8, 6])
    """
    need_positive("ssa_block", features=features, tokens=tokens, heads=heads, ratio=ratio)
    if features % heads:
        raise InputError(f"ssa_block heads must divide its {features} features, got {heads}")
    size = (features, tokens)
    nodes: dict[str, nn.Module] = {n: Sequential(*_mix(features, features), lif(size, dt)) for n in ("q", "k", "v")}
    nodes["attention"] = SSA(heads)
    nodes["out"] = Sequential(lif(size, dt, v_threshold=_SOFT), *_mix(features, features), lif(size, dt))
    edges = [("input", n) for n in "qkv"] + [(n, "attention") for n in "qkv"]
    attention = Graph(nodes, [*edges, ("attention", "out"), ("out", "output")])
    wide = features * ratio
    network = Sequential(
        *_mix(features, wide), lif((wide, tokens), dt), *_mix(wide, features), lif((features, tokens), dt)
    )
    return Sequential(Residual(attention), Residual(network))


def sdsa_block(features: int, tokens: int, *, ratio: int = 4, dt: float = 1e-3) -> Sequential:
    """Block of the spike-driven transformer: attention of masks and sums alone, linear in the number of tokens.

    What passes by are membranes, and every weight sees spikes: ``x + BN(W(q LIF(sum_tokens k v)))`` with ``q``, ``k``, ``v``
    of ``LIF(x)`` and a threshold of 0.5 for the sum; then ``x`` plus two layers of weights, each behind LIF. Yao et
    al. 2023, "Spike-driven transformer" (NeurIPS). Each feature has a mask of its own, so there is nothing for heads
    to divide.

    Args:
        features: D.
        tokens: L.
        ratio: features between the two layers of weights, in D.
        dt: time step in seconds.

    Returns:
        Membranes ``[T, B, D, L]`` to membranes ``[T, B, D, L]``.

    Raises:
        InputError: sizes out of range.

    >>> import torch
    >>> sdsa_block(8, 6)(torch.ones(2, 1, 8, 6))[0].shape
    torch.Size([2, 1, 8, 6])
    """
    need_positive("sdsa_block", features=features, tokens=tokens, ratio=ratio)
    size = (features, tokens)
    nodes: dict[str, nn.Module] = {"spikes": lif(size, dt)}
    nodes |= {n: Sequential(*_mix(features, features, bias=False), lif(size, dt)) for n in ("q", "k", "v")}
    nodes |= {"sum": KeyValueSum(), "fire": lif(features, dt, v_threshold=_SOFT), "mask": TokenMask()}
    nodes["out"] = Sequential(*_mix(features, features))
    edges = [("input", "spikes"), *(("spikes", n) for n in "qkv"), ("k", "sum"), ("v", "sum"), ("sum", "fire")]
    attention = Graph(nodes, [*edges, ("q", "mask"), ("fire", "mask"), ("mask", "out"), ("out", "output")])
    wide = features * ratio
    network = Sequential(lif(size, dt), *_mix(features, wide), lif((wide, tokens), dt), *_mix(wide, features))
    return Sequential(Residual(attention), Residual(network))


def spikformer(
    shape: tuple[int, int, int] = (3, 32, 32),
    classes: int = 10,
    *,
    features: int = 384,
    depth: int = 4,
    heads: int = 12,
    ratio: int = 4,
    dt: float = 1e-3,
) -> Sequential:
    """Spikformer-4-384 for CIFAR-10: 9.32 million parameters as it stands.

    Four convolutions (to D / 8, D / 4, D / 2, D channels), each with normalisation and LIF, the last two followed by the maximum of
    3 x 3 with stride 2; a fifth whose spikes are added as the position code; ``depth`` times :func:`ssa_block`; the mean
    over the tokens and one layer of weights. Zhou et al. 2023: 4 steps of a held image, cross entropy of the mean, AdamW at
    5e-4 with a cosine.

    Args:
        shape: ``(C, H, W)`` of the input.
        classes: number of classes.
        features: D, a multiple of 8 and of the heads.
        depth: number of blocks.
        heads: of each block's attention.
        ratio: features inside the blocks' layers of weights, in D.
        dt: time step in seconds.

    Returns:
        ``[T, B, C, H, W]`` to currents ``[T, B, classes]``.

    Raises:
        InputError: sizes out of range; features that are no multiple of 8 and of the heads.

    >>> import torch
    >>> net = spikformer((2, 8, 8), 3, features=16, depth=1, heads=2)
    >>> net(torch.ones(2, 1, 2, 8, 8))[0].shape
    torch.Size([2, 1, 3])
    """
    widths = _widths("spikformer", features, depth, classes)
    layers: list[nn.Module] = []
    channels, place = shape[0], (shape[1], shape[2])
    for k, n in enumerate(widths):
        layers += [*convolution(channels, n), lif((n, *place), dt)]
        if k >= 2:
            layers.append(MaxPool2d(3, 2, 1))
            place = _halved(place)
        channels = n
    layers += [Residual(Sequential(*convolution(features, features), lif((features, *place), dt))), Tokens()]
    tokens = place[0] * place[1]
    layers += [ssa_block(features, tokens, heads=heads, ratio=ratio, dt=dt) for _ in range(depth)]
    return Sequential(*layers, GlobalMean(), Linear(features, classes))


def spike_driven_transformer(
    shape: tuple[int, int, int] = (3, 224, 224),
    classes: int = 1000,
    *,
    features: int = 512,
    depth: int = 8,
    ratio: int = 4,
    dt: float = 1e-3,
) -> Sequential:
    """Spike-driven Transformer-8-512 for ImageNet: 29.7 million parameters as it stands.

    Four convolutions (to D / 8, D / 4, D / 2, D channels), each with normalisation, LIF and the maximum of 3 x 3 with stride 2 (in the
    last the maximum comes before the neurons, so that membranes go on); a fifth added to those membranes as the
    position code; ``depth`` times :func:`sdsa_block`; the mean over the tokens, LIF and one layer of weights. Yao et al. 2023.

    Args:
        shape: ``(C, H, W)`` of the input.
        classes: number of classes.
        features: D, a multiple of 8.
        depth: number of blocks.
        ratio: features inside the blocks' layers of weights, in D.
        dt: time step in seconds.

    Returns:
        ``[T, B, C, H, W]`` to currents ``[T, B, classes]``.

    Raises:
        InputError: sizes out of range; features that are no multiple of 8.

    >>> import torch
    >>> net = spike_driven_transformer((2, 16, 16), 3, features=16, depth=1)
    >>> net(torch.ones(2, 1, 2, 16, 16))[0].shape
    torch.Size([2, 1, 3])
    """
    widths = _widths("spike_driven_transformer", features, depth, classes)
    layers: list[nn.Module] = []
    channels, place = shape[0], (shape[1], shape[2])
    for n in widths[:3]:
        layers += [*convolution(channels, n), lif((n, *place), dt), MaxPool2d(3, 2, 1)]
        channels, place = n, _halved(place)
    layers += [*convolution(channels, features), MaxPool2d(3, 2, 1)]
    place = _halved(place)
    layers += [Residual(Sequential(lif((features, *place), dt), *convolution(features, features))), Tokens()]
    layers += [sdsa_block(features, place[0] * place[1], ratio=ratio, dt=dt) for _ in range(depth)]
    return Sequential(*layers, GlobalMean(), lif(features, dt), Linear(features, classes))


def _mix(features: int, out: int, *, bias: bool = True) -> list[nn.Module]:
    """The same weights for every token, and normalisation."""
    return [Conv1d(features, out, 1, bias=bias), BatchNorm(out)]


def _halved(place: tuple[int, int]) -> tuple[int, int]:
    return -(-place[0] // 2), -(-place[1] // 2)


def _widths(name: str, features: int, depth: int, classes: int) -> tuple[int, int, int, int]:
    need_positive(name, depth=depth, classes=classes, features=features)
    if features % 8:
        raise InputError(f"{name} features must be a multiple of 8, got {features}")
    return features // 8, features // 4, features // 2, features
