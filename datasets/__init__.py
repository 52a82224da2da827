"""Event data: the event array and its store, the sensor model, data sets with fixed splits.

Times in event arrays and files are microseconds, everywhere else seconds.
"""

from __future__ import annotations

if __name__ != "neuro.datasets":
    raise ImportError("import neuro.datasets; the repository root is on sys.path (use python -P)")

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "DATASETS",
    "EVENT_DTYPE",
    "SPEAKERS",
    "CochleaConfig",
    "EventStore",
    "FrameDataset",
    "Jitter",
    "JitteredDataset",
    "Part",
    "Parts",
    "Pictures",
    "Recordings",
    "SensorConfig",
    "Sound",
    "Splits",
    "StoreHeader",
    "centre_frequencies",
    "check_events",
    "collate",
    "digits",
    "hear",
    "load",
    "make_events",
    "mnist",
    "nmnist",
    "read_wav",
    "record",
    "render",
    "saccade_path",
    "spoken_digits",
    "stratified",
    "write_store",
]

if TYPE_CHECKING:
    from neuro.datasets.cochlea import CochleaConfig, centre_frequencies, hear
    from neuro.datasets.cochlea_digits import SPEAKERS, spoken_digits
    from neuro.datasets.event_digits import digits
    from neuro.datasets.events import EVENT_DTYPE, check_events, make_events
    from neuro.datasets.jitter import Jitter, JitteredDataset
    from neuro.datasets.pictures import Pictures, mnist
    from neuro.datasets.registry import DATASETS, load
    from neuro.datasets.saccade_digits import nmnist
    from neuro.datasets.saccades import render, saccade_path
    from neuro.datasets.sensor import SensorConfig, record
    from neuro.datasets.sound import Sound, read_wav
    from neuro.datasets.splits import FrameDataset, Part, Parts, Splits, collate, stratified
    from neuro.datasets.store import EventStore, Recordings, StoreHeader, write_store
else:
    _ORIGIN = (
        ("neuro.datasets.cochlea", ("CochleaConfig", "centre_frequencies", "hear")),
        ("neuro.datasets.event_digits", ("digits",)),
        ("neuro.datasets.events", ("EVENT_DTYPE", "check_events", "make_events")),
        ("neuro.datasets.jitter", ("Jitter", "JitteredDataset")),
        ("neuro.datasets.pictures", ("Pictures", "mnist")),
        ("neuro.datasets.registry", ("DATASETS", "load")),
        ("neuro.datasets.saccade_digits", ("nmnist",)),
        ("neuro.datasets.saccades", ("render", "saccade_path")),
        ("neuro.datasets.sensor", ("SensorConfig", "record")),
        ("neuro.datasets.sound", ("Sound", "read_wav")),
        ("neuro.datasets.splits", ("FrameDataset", "Part", "Parts", "Splits", "collate", "stratified")),
        ("neuro.datasets.cochlea_digits", ("SPEAKERS", "spoken_digits")),
        ("neuro.datasets.store", ("EventStore", "Recordings", "StoreHeader", "write_store")),
    )

    def __getattr__(name: str) -> Any:
        for module, names in _ORIGIN:
            if name in names:
                return getattr(import_module(module), name)
        raise AttributeError(f"module 'neuro.datasets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
