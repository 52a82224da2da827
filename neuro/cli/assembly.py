"""From a configuration to data, network and device."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise, zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

import neuro
from neuro import datasets
from neuro.cli.config import TrainConfig
from neuro.cli.run import Run
from neuro.datasets import FrameDataset, Jitter, JitteredDataset, SensorConfig
from neuro.errors import InputError, unknown_name
from neuro.kernels.compiler.surrogate import Surrogate

if TYPE_CHECKING:
    from neuro.datasets import Parts

__all__ = ["build_network", "check_logger", "choose_device", "describe", "load_data", "load_run", "use_threads"]

_OF_SPIKES = ("spike_count", "first_spike", "van_rossum")
"""Losses that read spikes; the others read membranes."""


def load_data(config: TrainConfig) -> Parts[Any]:
    """The data set as configured: its source or sensor, its bins, its training split jittered.

    Raises:
        InputError: a value that the data set cannot use, recordings that are not named, or more frames than fit into
            memory.
    """
    data = datasets.load(config.dataset, **_options(config))
    _check_memory(data)
    jitter = Jitter(config.jitter_stretch, config.jitter_shift, columns=config.jitter_columns, rows=config.jitter_rows)
    if jitter == Jitter():
        return data
    if not isinstance(data.train, FrameDataset):
        raise InputError(f"jitter moves the events of recordings, and {config.dataset} holds pictures; leave it at 0")
    return replace(data, train=JitteredDataset(data.train, jitter))


def _options(config: TrainConfig) -> dict[str, Any]:
    """What the constructor of the data set is called with."""
    layout, seed = "frames" if config.convolutions else "flat", config.data_seed
    match config.dataset:
        case "mnist":
            return {"source": _source(config), "steps": config.steps, "dt": config.dt, "layout": layout, "seed": seed}
        case "nmnist":
            return {"source": _source(config), "dt": config.dt, "layout": layout, "seed": seed}
        case "spoken_digits":
            if config.convolutions:
                raise InputError("convolutions need the picture of a camera, and spoken_digits has bands in a row")
            return {"source": _source(config), "cache": config.cache, "dt": config.dt}
    sensor = SensorConfig(
        threshold_on=config.contrast_threshold,
        threshold_off=config.contrast_threshold,
        mismatch=config.threshold_mismatch,
        refractory=config.refractory,
    )
    return {
        "cache": config.cache,
        "sensor": sensor,
        "dt": config.dt,
        "size": config.sensor_size,
        "layout": layout,
        "seed": seed,
    }


def _source(config: TrainConfig) -> Path:
    """Where the recordings lie: the path as it is, else below ``$NEURO_DATA``."""
    if config.source is None:
        raise InputError(f"dataset {config.dataset!r} is made of files; give their folder or archive with --source")
    base = os.environ.get("NEURO_DATA")
    if config.source.exists() or config.source.is_absolute():
        return config.source
    if base is None:
        raise InputError(f"source {config.source} is not there; name another, or set NEURO_DATA to the folder it is in")
    if not (found := Path(base) / config.source).exists():
        raise InputError(f"source {config.source} is neither here nor in NEURO_DATA ({base}); name another --source")
    return found


def _check_memory(data: Parts[Any]) -> None:
    """The frames of a split are held in memory, and a system that runs out of it kills without a word."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if (needed := data.train.nbytes) > there:
        raise InputError(
            f"with dt {data.dt:g} s the frames of the training split take {needed / 1e9:.0f} GB, "
            f"this machine has {there / 1e9:.0f} GB of memory; choose a larger --dt or a smaller --sensor-size"
        )


def build_network(config: TrainConfig, data: Parts[Any]) -> neuro.Sequential:
    """Convolutions if there are any, then dense layers of LIF cells, with weights that the seed alone decides.

    A loss that counts spikes ends the network in LIF cells, one that reads membranes in leaky
    integrators; one cell per class.
    """
    shape = data.train.shape[1:]
    layers: list[torch.nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for channels in config.convolutions:
            before, *picture = shape
            shape = (channels, *((side + 1) // 2 for side in picture))
            layers += [neuro.Conv2d(before, channels, 5, stride=2, padding=2), _spiking(config, *shape)]
        if config.convolutions:
            layers.append(neuro.Flatten())
        sizes = [math.prod(shape), *config.hidden, len(data.classes)]
        for before, after in pairwise(sizes):
            layers += [neuro.Linear(before, after), _spiking(config, after)]
    if config.loss not in _OF_SPIKES:
        layers[-1] = neuro.LI(sizes[-1], tau=config.tau, dt=config.dt, method=config.method)
    return neuro.Sequential(*layers).to(choose_device(config.device))


def _spiking(config: TrainConfig, *size: int) -> neuro.LIF:
    return neuro.LIF(
        size,
        tau=config.tau,
        dt=config.dt,
        method=config.method,
        reset=config.reset,
        surrogate=Surrogate(config.surrogate),
    )


def load_run(run: Run, config: TrainConfig) -> tuple[Parts[Any], neuro.Network]:
    """Data and trained network of a run, the network on the configured device.

    Raises:
        InputError: weights are missing or damaged, or belong to another network than the configured one.
    """
    use_threads(config.threads)
    device = choose_device(config.device)
    net = run.load_network()
    data = load_data(config)
    difference = _difference(net.definition()["layers"], build_network(config, data).definition()["layers"])
    if difference:
        raise InputError(
            f"{run.training.weights} holds another network than {run.config} describes: {difference}; "
            "put back the file that belongs there, or train anew into another folder"
        )
    return data, net.to(device)


def _difference(there: Sequence[Mapping[str, Any]], here: Sequence[Mapping[str, Any]]) -> str | None:
    """The first entry in which two definitions differ, in words."""
    nothing: Mapping[str, Any] = MappingProxyType({})
    for theirs, ours in zip_longest(there, here, fillvalue=nothing):
        for key in (*theirs, *ours):
            if theirs.get(key) != ours.get(key):
                name = theirs.get("name", ours.get("name"))
                return f"{key} of layer {name!r} is {theirs.get(key)!r}, not {ours.get(key)!r}"
    return None


def describe(net: neuro.Network) -> tuple[list[list[str]], int]:
    """A row (name, layer, parameters) per layer, and the number of trained values of all."""
    counts = [sum(p.numel() for p in layer.parameters() if p.requires_grad) for layer in net.layers.values()]
    rows = [[name, str(layer), f"{n:,}"] for (name, layer), n in zip(net.layers.items(), counts, strict=True)]
    return rows, sum(counts)


def choose_device(name: str) -> torch.device:
    """The device of that name, if this machine has it.

    >>> choose_device("cpu")
    device(type='cpu')

    Raises:
        InputError: no such device, here or anywhere.
    """
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (":" in name and not (kind == "cuda" and index.isdecimal())):
        raise unknown_name("device", name, ["cpu", "cuda", "cuda:0"])
    if kind == "cuda":
        if not torch.cuda.is_available():
            reason = "this build of torch has no CUDA" if torch.version.cuda is None else "torch finds no GPU"
            raise InputError(f"device {name!r} is not there: {reason}; use --device cpu (neuro env says more)")
        if int(index or 0) >= torch.cuda.device_count():
            raise InputError(
                f"device {name!r} is not there; this machine has {torch.cuda.device_count()} GPU, from cuda:0"
            )
    return torch.device(name)


def check_logger(name: str) -> None:
    """Whether what the logger needs is installed.

    Raises:
        InputError: it is not.
    """
    if name == "tensorboard" and find_spec("tensorboard") is None:
        raise InputError(
            "logger 'tensorboard' is not installed; pip install 'neuro-spiking[tensorboard]', or --logger csv"
        )


def use_threads(count: int) -> None:
    """Compute with that many threads; 0 leaves what the environment says.

    Raises:
        InputError: more threads than this machine can run at once.
    """
    cores = os.cpu_count() or 1
    if count > cores:
        raise InputError(f"threads is {count}, but this machine has {cores} cores; use at most {cores}, or 0")
    if count:
        torch.set_num_threads(count)
