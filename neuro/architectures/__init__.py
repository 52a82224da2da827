"""Ready architectures with their papers' defaults, as functions that return networks."""

from __future__ import annotations

from neuro.architectures.adaptive import adlif, radlif
from neuro.architectures.convolutional import PLIF_NETS, plif_net, vgg_snn
from neuro.architectures.delays import delay_network
from neuro.architectures.egru import egru_language_model
from neuro.architectures.hoyer import HoyerMeasure, hoyer_vgg16
from neuro.architectures.residual import sew_block, sew_resnet18
from neuro.architectures.spike_gpt import spike_gpt, spike_gpt_block
from neuro.architectures.transformers import sdsa_block, spike_driven_transformer, spikformer, ssa_block

__all__ = [
    "PLIF_NETS",
    "HoyerMeasure",
    "adlif",
    "delay_network",
    "egru_language_model",
    "hoyer_vgg16",
    "plif_net",
    "radlif",
    "sdsa_block",
    "sew_block",
    "sew_resnet18",
    "spike_driven_transformer",
    "spike_gpt",
    "spike_gpt_block",
    "spikformer",
    "ssa_block",
    "vgg_snn",
]
