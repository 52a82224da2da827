"""Connections between populations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from torch import nn

from neuro.synapses.attention import ATTENTION, SSA, KeyValueSum, TokenMask, Tokens
from neuro.synapses.delays import DelayedLinear, sigma_schedule
from neuro.synapses.delta import Delta
from neuro.synapses.dense import STATELESS, Conv1d, Conv2d, Flatten, Linear, OneToOne, SumPool2d
from neuro.synapses.dropout import Dropout
from neuro.synapses.embedding import Embedding
from neuro.synapses.joints import JOINTS, Concatenate, Multiply
from neuro.synapses.normalisation import BNTT, NORMALISATIONS, TDBN, TEBN, BatchNorm
from neuro.synapses.pooling import POOLING, AvgPool2d, GlobalMean, MaxPool2d, Vote
from neuro.synapses.receptance import RECEPTANCE, SRFFN, SRWKV, LayerNorm, SpikingEmbedding
from neuro.synapses.sparse import SparseLinear
from neuro.synapses.weights import binarise, quantise, standardise

__all__ = [
    "BNTT",
    "SRFFN",
    "SRWKV",
    "SSA",
    "SYNAPSES",
    "TDBN",
    "TEBN",
    "AvgPool2d",
    "BatchNorm",
    "Concatenate",
    "Conv1d",
    "Conv2d",
    "DelayedLinear",
    "Delta",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalMean",
    "KeyValueSum",
    "LayerNorm",
    "Linear",
    "MaxPool2d",
    "Multiply",
    "OneToOne",
    "SparseLinear",
    "SpikingEmbedding",
    "SumPool2d",
    "TokenMask",
    "Tokens",
    "Vote",
    "binarise",
    "quantise",
    "sigma_schedule",
    "standardise",
]

_OTHERS = (DelayedLinear, SparseLinear, Delta, Dropout, Embedding, *ATTENTION, *POOLING, *RECEPTANCE)
SYNAPSES: Mapping[str, type[nn.Module]] = MappingProxyType(
    {**STATELESS, **{c.__name__: c for c in _OTHERS}, **NORMALISATIONS, **JOINTS}
)
"""The synapses that come with neuro, by name."""
