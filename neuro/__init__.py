"""neuro: train, simulate and deploy spiking networks.

Names are imported on first use, so that ``import neuro`` is quick and needs neither a GPU
library nor a compiler run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "ALIF",
    "BNTT",
    "EGRU",
    "EIF",
    "ELSTM",
    "IF",
    "LI",
    "LIF",
    "LRU",
    "LTC",
    "MPBN",
    "NCP",
    "PLIF",
    "QIF",
    "S4D",
    "SRFFN",
    "SRM",
    "SRWKV",
    "SSA",
    "TDBN",
    "TEBN",
    "AKOrN",
    "AdEx",
    "AdLIF",
    "AlphaSynapse",
    "AutoNCP",
    "AvgPool2d",
    "BatchNorm",
    "Cell",
    "CfC",
    "Concatenate",
    "Conv1d",
    "Conv2d",
    "CuBaLIF",
    "DelayedLinear",
    "DelayedRecurrent",
    "Delta",
    "DoubleExponentialSynapse",
    "Dropout",
    "Embedding",
    "Equations",
    "EventGate",
    "ExponentialSynapse",
    "Flatten",
    "FullyConnected",
    "GatedLRU",
    "GlobalMean",
    "Graph",
    "Hoyer",
    "Izhikevich",
    "KeyValueSum",
    "LRUBlock",
    "LayerNorm",
    "LeakyRNN",
    "Linear",
    "MaxPool2d",
    "Multiply",
    "Network",
    "OneToOne",
    "Parameter",
    "PrimedIF",
    "Recurrent",
    "Residual",
    "ResonateAndFire",
    "Route",
    "SEAdLIF",
    "Sequential",
    "ShortTermPlasticity",
    "Sigma",
    "SlidingPSN",
    "SparseLinear",
    "SpikingEmbedding",
    "SumPool2d",
    "Surrogate",
    "TokenMask",
    "Tokens",
    "Vote",
    "adaptation",
    "architectures",
    "audit_gradients",
    "binarise",
    "build",
    "calibrate",
    "cite",
    "compatibility",
    "compression",
    "datasets",
    "dynamics",
    "encoding",
    "evolution",
    "fit",
    "fold",
    "hardware",
    "kernels",
    "load",
    "losses",
    "memory",
    "plasticity",
    "quantise",
    "record",
    "rules",
    "save",
    "standardise",
    "summary",
]

if TYPE_CHECKING:
    from neuro import (
        adaptation,
        architectures,
        compatibility,
        compression,
        datasets,
        dynamics,
        encoding,
        evolution,
        hardware,
        kernels,
        memory,
        plasticity,
    )
    from neuro.citations import cite
    from neuro.folding import fold
    from neuro.kernels.compiler.equations import Equations, Parameter
    from neuro.kernels.compiler.route import Route
    from neuro.kernels.compiler.surrogate import Surrogate
    from neuro.network import Graph, Network, Residual, Sequential, build, load, record, save, summary
    from neuro.neurons import (
        ALIF,
        EGRU,
        EIF,
        ELSTM,
        IF,
        LI,
        LIF,
        LRU,
        MPBN,
        PLIF,
        QIF,
        S4D,
        SRM,
        AdEx,
        AdLIF,
        AKOrN,
        AlphaSynapse,
        Cell,
        CuBaLIF,
        DoubleExponentialSynapse,
        EventGate,
        ExponentialSynapse,
        GatedLRU,
        Hoyer,
        Izhikevich,
        LeakyRNN,
        LRUBlock,
        PrimedIF,
        ResonateAndFire,
        SEAdLIF,
        ShortTermPlasticity,
        Sigma,
        SlidingPSN,
    )
    from neuro.neurons.delayed_recurrent import DelayedRecurrent
    from neuro.neurons.liquid import LTC, CfC
    from neuro.neurons.recurrent import Recurrent
    from neuro.neurons.wiring import NCP, AutoNCP, FullyConnected
    from neuro.synapses import (
        BNTT,
        SRFFN,
        SRWKV,
        SSA,
        TDBN,
        TEBN,
        AvgPool2d,
        BatchNorm,
        Concatenate,
        Conv1d,
        Conv2d,
        DelayedLinear,
        Delta,
        Dropout,
        Embedding,
        Flatten,
        GlobalMean,
        KeyValueSum,
        LayerNorm,
        Linear,
        MaxPool2d,
        Multiply,
        OneToOne,
        SparseLinear,
        SpikingEmbedding,
        SumPool2d,
        TokenMask,
        Tokens,
        Vote,
        binarise,
        quantise,
        standardise,
    )
    from neuro.training import losses, rules
    from neuro.training.audit import audit_gradients
    from neuro.training.calibrate import calibrate
    from neuro.training.fit import fit
else:
    _ORIGIN = (
        ("neuro.folding", ("fold",)),
        ("neuro.kernels.compiler.equations", ("Equations", "Parameter")),
        ("neuro.kernels.compiler.route", ("Route",)),
        ("neuro.kernels.compiler.surrogate", ("Surrogate",)),
        ("neuro.network", ("Graph", "Network", "Residual", "Sequential", "build", "load", "record", "save", "summary")),
        ("neuro.neurons", ("IF", "LI", "LIF", "Cell", "CuBaLIF", "PrimedIF")),
        ("neuro.neurons", ("ALIF", "PLIF", "AdLIF", "SEAdLIF")),
        ("neuro.neurons", ("EIF", "QIF", "AdEx", "Izhikevich")),
        ("neuro.neurons", ("LRU", "EventGate", "ResonateAndFire", "SRM", "SlidingPSN")),
        ("neuro.neurons.liquid", ("LTC", "CfC")),
        ("neuro.neurons.delayed_recurrent", ("DelayedRecurrent",)),
        ("neuro.neurons.recurrent", ("Recurrent",)),
        ("neuro.neurons.wiring", ("NCP", "AutoNCP", "FullyConnected")),
        ("neuro.neurons", ("AlphaSynapse", "DoubleExponentialSynapse", "ExponentialSynapse")),
        ("neuro.neurons", ("ShortTermPlasticity", "Sigma")),
        ("neuro.neurons", ("AKOrN", "GatedLRU", "LRUBlock", "S4D")),
        ("neuro.neurons", ("MPBN",)),
        ("neuro.neurons", ("Hoyer",)),
        ("neuro.neurons", ("EGRU", "ELSTM", "LeakyRNN")),
        ("neuro.synapses", ("BNTT", "TDBN", "TEBN", "BatchNorm")),
        ("neuro.synapses", ("Concatenate", "Embedding", "Multiply")),
        ("neuro.synapses", ("Conv1d", "Conv2d", "Flatten", "Linear", "OneToOne", "SumPool2d")),
        ("neuro.synapses", ("DelayedLinear", "Delta", "SparseLinear", "binarise", "quantise", "standardise")),
        ("neuro.synapses", ("AvgPool2d", "Dropout", "GlobalMean", "MaxPool2d", "Vote")),
        (
            "neuro.synapses",
            ("SRFFN", "SRWKV", "SSA", "KeyValueSum", "LayerNorm", "SpikingEmbedding", "TokenMask", "Tokens"),
        ),
        ("neuro.training.calibrate", ("calibrate",)),
        ("neuro.training.fit", ("fit",)),
        ("neuro.training.audit", ("audit_gradients",)),
        ("neuro.citations", ("cite",)),
    )
    _MODULES = (
        "neuro.adaptation",
        "neuro.architectures",
        "neuro.compatibility",
        "neuro.compression",
        "neuro.datasets",
        "neuro.dynamics",
        "neuro.encoding",
        "neuro.evolution",
        "neuro.hardware",
        "neuro.kernels",
        "neuro.memory",
        "neuro.plasticity",
        "neuro.training.losses",
        "neuro.training.rules",
    )

    def __getattr__(name: str) -> Any:
        for module in _MODULES:
            if module.rpartition(".")[2] == name:
                return import_module(module)
        for module, names in _ORIGIN:
            if name in names:
                return getattr(import_module(module), name)
        raise AttributeError(f"module 'neuro' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
