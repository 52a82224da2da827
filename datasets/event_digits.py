"""Handwritten digits as an event camera saw them.

The 1,797 digits of 8 x 8 pixels that come with scikit-learn (Alpaydin & Kaynak 1998, UCI), recorded by the sensor model
in the way N-MNIST was recorded. Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuro.datasets.saccades import SACCADES_DURATION, render, saccade_path
from neuro.datasets.sensor import SensorConfig, draw_thresholds, record
from neuro.datasets.splits import FrameDataset, Splits, check_frames, describe, stratified
from neuro.datasets.store import VERSION, EventStore, StoreHeader, write_store
from neuro.errors import InputError
from neuro.files import cache_folder, usable_folder

__all__ = ["digits"]

logger = logging.getLogger(__name__)

RECIPE = 1
"""Raised whenever the same parameters would give other recordings, so that older caches are not taken for new."""

CLASSES = tuple("0123456789")
OVERSAMPLING = 4
"""Picture samples per sensor pixel and axis."""


def digits(
    cache: str | Path | None = None,
    *,
    sensor: SensorConfig | None = None,
    dt: float = 5e-3,
    size: int = 20,
    layout: str = "flat",
    seed: int = 0,
) -> Splits:
    """scikit-learn's digits through an event camera, split 60/20/20.

    Each digit is shown white on black at 28/34 of the sensor's width (the proportion of N-MNIST) and moves
    along three saccades of 100 ms. The recordings are made once and kept in an event store.

    Args:
        cache: folder of the event store; by default ``$NEURO_CACHE`` or the user's cache folder. The file's name
            carries a hash of every parameter of the recording.
        sensor: the event camera.
        dt: width of a time bin in seconds.
        size: width and height of the sensor in pixels.
        layout: ``"flat"`` for frames ``[T, 2*size*size]``, ``"frames"`` for ``[T, 2, size, size]``.
        seed: of the sensor's threshold mismatch and of the split.

    Raises:
        InputError: a parameter out of range, a cache folder that cannot be written.
        FileFormatError: a damaged event store; the message says which file to delete.
    """
    if isinstance(size, bool) or not isinstance(size, int) or not 8 <= size <= 256:
        raise InputError(f"size must be a whole number from 8 to 256 (sensor pixels), got {size!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed must be a whole number from 0, got {seed!r}")
    check_frames(dt, SACCADES_DURATION, layout)
    camera = SensorConfig() if sensor is None else sensor
    if not isinstance(camera, SensorConfig):
        raise InputError(f"sensor must be a SensorConfig, got {sensor!r}")
    config = {"recipe": RECIPE, "size": size, "seed": seed, "sensor": asdict(camera)}
    path = _store_path(cache, config)
    if not path.exists():
        _record_all(path, camera, size, seed, config)
    store = EventStore(path)
    recordings = store.load()
    store.close()
    header = store.header
    parts = {
        name: FrameDataset(recordings, store.splits[name], header.sensor_size, dt, header.duration, layout)
        for name in ("train", "validation", "test")
    }
    split = f"split with seed {seed}"
    return Splits(
        "digits",
        **parts,
        classes=CLASSES,
        sensor_size=header.sensor_size,
        dt=dt,
        description=describe("digits", parts, CLASSES, split),
        split=split,
    )


def _store_path(cache: str | Path | None, config: dict[str, Any]) -> Path:
    """Named after every parameter and the stores' format, so that one of an older format is made again."""
    folder = cache_folder() if cache is None else Path(cache)
    digest = hashlib.sha256(json.dumps(config | {"store": VERSION}, sort_keys=True).encode()).hexdigest()
    path = folder / f"digits-{digest[:12]}.h5"
    if not path.exists():  # one that is there may stand in a folder that cannot be written to
        usable_folder(folder)
    return path


def _record_all(path: Path, sensor: SensorConfig, size: int, seed: int, config: dict[str, Any]) -> None:
    from sklearn.datasets import load_digits

    bundle = load_digits()
    labels = bundle.target.astype(np.int64)
    sensor_seed, split_seed = np.random.SeedSequence(seed).generate_state(2)
    thresholds = draw_thresholds(sensor, (size, size), np.random.default_rng(sensor_seed))
    times = np.linspace(0.0, SACCADES_DURATION, math.ceil(SACCADES_DURATION / sensor.sample_step) + 1)
    track = saccade_path(times, size)
    enlarge = _enlargement(size)
    end = round(SACCADES_DURATION * 1e6)

    def see(picture: NDArray[np.float64]) -> NDArray[np.void]:
        video = render(_canvas(picture / 16, enlarge), track, (size, size), OVERSAMPLING)
        events = record(video, times, sensor, thresholds)
        return events[events["t"] < end]  # the last sample of the video stands at the end, which is excluded

    header = StoreHeader((size, size, 2), SACCADES_DURATION, CLASSES, seed, config)
    logger.info("recording %d digits into %s", len(labels), path)
    write_store(path, _in_threads(see, bundle.images), labels, header, stratified(labels, int(split_seed)))


def _in_threads(
    see: Callable[[NDArray[np.float64]], NDArray[np.void]], pictures: NDArray[np.float64]
) -> Iterator[NDArray[np.void]]:
    """Recordings in the order of the pictures; each depends on its picture alone, so threads change nothing."""
    from tqdm import tqdm

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from tqdm(pool.map(see, pictures), "recording digits", len(pictures), delay=1.0, disable=None)


def _enlargement(size: int) -> NDArray[np.float64]:
    """Cubic interpolation along one axis of a digit as a matrix, ``[picture samples, 8]``."""
    from scipy import ndimage

    width = round(size * 28 / 34 * OVERSAMPLING)
    matrix: NDArray[np.float64] = ndimage.zoom(np.eye(8), (width / 8, 1), order=3, mode="grid-constant", grid_mode=True)
    return matrix


def _canvas(picture: NDArray[np.float64], enlarge: NDArray[np.float64]) -> NDArray[np.float64]:
    """A digit, enlarged smoothly, averaged over the area of a sensor pixel."""
    from scipy import ndimage

    large = np.pad((enlarge @ picture @ enlarge.T).clip(0.0, 1.0), OVERSAMPLING)
    averaged: NDArray[np.float64] = ndimage.uniform_filter(large, OVERSAMPLING, mode="constant")
    return averaged.clip(0.0, 1.0)
