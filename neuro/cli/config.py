"""What `neuro train` can be told: the one source of names, defaults, help and types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from neuro.cli.settings import Settings, group, setting

__all__ = ["MACHINE", "TrainConfig"]


class TrainConfig(Settings):
    """Everything that makes a training run what it is. Times are in seconds."""

    dataset: Literal["digits", "mnist", "nmnist", "spoken_digits"] = setting(
        "digits", "data set; all but digits need --source", group="data"
    )
    data_seed: int = setting(0, "seed of the split and of the sensor's mismatch", group="data", ge=0, le=2**32 - 1)
    dt: float = setting(5e-3, "bin of the frames and time step of the cells", group="data", unit="seconds", gt=0)
    steps: int = setting(10, "time steps for which a picture of mnist is shown", group="data", ge=1)

    jitter_stretch: float = setting(
        0.0, "most by which a training recording is stretched in time, 0.2 for 20 %", group="augmentation", ge=0
    )
    jitter_shift: float = setting(
        0.0, "most by which a training recording is delayed", group="augmentation", unit="seconds", ge=0
    )
    jitter_columns: float = setting(
        0.0, "most by which a training recording is moved along x, in pixels or bands", group="augmentation", ge=0
    )
    jitter_rows: float = setting(
        0.0, "most by which a training recording is moved along y, in pixels", group="augmentation", ge=0
    )

    sensor_size: int = setting(
        20, "width and height of the sensor that sees digits", group="sensor", unit="pixels", ge=8, le=256
    )
    contrast_threshold: float = setting(
        0.3, "change of ln(intensity) for which a pixel emits an event", group="sensor", ge=0.01
    )
    threshold_mismatch: float = setting(
        0.03, "standard deviation of that threshold from pixel to pixel", group="sensor", ge=0
    )
    refractory: float = setting(
        1e-3, "time for which a pixel is silent after an event", group="sensor", unit="seconds", ge=0
    )

    convolutions: tuple[Annotated[int, Field(ge=1)], ...] = setting(
        (), "channels of each convolution (5 x 5, stride 2) in front of the hidden layers", group="network"
    )
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = setting((128,), "neurons of each hidden layer", group="network")
    tau: float = setting(20e-3, "membrane time constant before training", group="network", unit="seconds", gt=0)
    method: Literal["euler", "exponential"] = setting("euler", "discretisation of the cells", group="network")
    reset: Literal["value", "subtract", "none"] = setting("value", "what a spike does to the membrane", group="network")
    surrogate: Literal[
        "atan",
        "fast_sigmoid",
        "sigmoid",
        "triangle",
        "boxcar",
        "gaussian",
        "exponential",
        "multi_gaussian",
        "reciprocal",
        "straight_through",
        "step",
    ] = setting("atan", "shape of the derivative that stands in for that of a spike", group="network")

    rule: Literal[
        "bptt",
        "tbptt",
        "sltt",
        "sltt_k",
        "ottt",
        "ottt_online",
        "eprop",
        "eprop_random",
        "eprop_adaptive",
        "eventprop",
        "rtrl",
        "drtp",
        "tpsgd",
        "decolle",
        "lls",
        "lls_m",
        "lls_mxm",
        "tess",
        "man",
        "synthetic",
        "ff",
        "ff_physical",
        "oja",
        "sanger",
        "softhebb",
        "stdp",
        "rstdp",
    ] = setting("bptt", "learning rule; neuro rules says what each is", group="training")
    loss: Literal[
        "spike_count",
        "max_membrane",
        "mean_membrane",
        "last_membrane",
        "softmax_sum",
        "first_spike",
        "tet",
        "contrastive",
        "van_rossum",
    ] = setting(
        "spike_count", "what training lowers; for a membrane loss the last layer does not spike", group="training"
    )
    epochs: int = setting(20, "passes over the training split, at most", group="training", ge=1)
    batch_size: int = setting(32, "samples per step", group="training", ge=1)
    lr: float = setting(1e-2, "learning rate of weights and biases", group="training", gt=0)
    cell_lr: float = setting(1e-2, "learning rate of time constants", group="training", ge=0)
    schedule: Literal["constant", "cosine"] = setting(
        "cosine", "course of the learning rates over the epochs", group="training"
    )
    weight_decay: float = setting(1e-2, "decoupled decay of the weights", group="training", ge=0)
    optimizer: Literal["adamw", "adam", "nadam", "radam", "rmsprop", "adagrad", "sgd", "momentum"] = setting(
        "adamw", "what spends the gradient; weight decay is decoupled in adamw only", group="training"
    )
    clip: float = setting(1.0, "largest norm of the gradient", group="training", gt=0)
    temperature: tuple[Annotated[float, Field(gt=0)], ...] = setting(
        (),
        "temperatures of the softmax of the loss in the first and the last epoch; none leaves it at 1",
        group="training",
    )
    rate_low: float | None = setting(
        None,
        "lower bound on the rate of each hidden neuron, held by a penalty",
        group="training",
        unit="spikes/s",
        gt=0,
    )
    rate_high: float | None = setting(
        None,
        "upper bound on the rate of each hidden neuron, held by a penalty",
        group="training",
        unit="spikes/s",
        gt=0,
    )
    rate_weight: float = setting(1.0, "weight of the penalty on rates", group="training", gt=0)
    precision: Literal["full", "bf16-mixed"] = setting(
        "full", "bf16-mixed takes products in bfloat16; states and weights stay as they are", group="training"
    )
    select: Literal["accuracy", "loss"] = setting(
        "accuracy", "which measure on the validation split chooses the weights to keep", group="training"
    )
    select_on: Literal["validation", "test"] = setting(
        "validation",
        "split that chooses the epoch; with test, every figure of the run is labelled as chosen on it",
        group="training",
    )
    patience: int = setting(10, "epochs without a better one after which training stops", group="training", ge=1)
    seed: int = setting(0, "seed of the weights and of the order of samples", group="training", ge=0, le=2**32 - 1)

    source: Path | None = setting(
        None,
        "folder or archive of mnist, nmnist or spoken_digits; a relative one that is not here is looked for in $NEURO_DATA",
        group="machine",
    )
    cache: Path | None = setting(
        None, "folder of the event stores; unless given, $NEURO_CACHE or the user's cache folder", group="machine"
    )
    device: str = setting("cpu", "where to compute: cpu, cuda, or cuda:1 for the second GPU", group="machine")
    devices: int = setting(
        1, "processes that share every batch: GPUs, or with cpu processes of this machine", group="machine", ge=1
    )
    # One: torch's dense products round by the number of threads, and a rounding can turn a spike.
    threads: int = setting(
        1,
        "threads to compute with; more are faster for large networks, 0: $OMP_NUM_THREADS or all cores; figures "
        "repeat to the last digit only with the same number",
        group="machine",
        ge=0,
    )

    logger: Literal["csv", "tensorboard"] = setting(
        "csv", "where the curves go: metrics.csv, or files for TensorBoard beside it", group="output"
    )
    output: Path | None = setting(None, "run folder; unless given, runs/DATASET-RULE-seedSEED", group="output")


MACHINE: frozenset[str] = frozenset(k for k, info in TrainConfig.model_fields.items() if group(info) == "machine")
"""Settings that say where and how fast a run is computed, not what comes out; they may change between commands."""
