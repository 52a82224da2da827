"""An event camera: every pixel watches its own log intensity (the DVS pixel).

A pixel remembers a reference level of ``L = ln(intensity + floor)``. When ``L`` has risen by the ON threshold
above the reference, or fallen by the OFF threshold below it, the pixel emits an event and the reference
moves by that threshold. Between two video samples ``L`` is taken to be linear in time, which
gives each crossing its own time, and several crossings where the change is several thresholds.

Sources: the pixel, Lichtsteiner, Posch & Delbruck 2008, IEEE J. Solid-State Circuits 43:566; interpolated
crossings and the refractory rule, Rebecq, Gehrig & Scaramuzza 2018 (ESIM), CoRL; threshold mismatch
from pixel to pixel, Hu, Liu & Delbruck 2021 (v2e), CVPR workshops.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro.datasets.events import EVENT_DTYPE
from neuro.errors import InputError

__all__ = ["SensorConfig", "Thresholds", "draw_thresholds", "record", "record_reference"]

LOWEST_THRESHOLD = 0.01
"""Mismatch never takes a pixel's threshold below this (natural log units), as in v2e."""

LOWEST: Mapping[str, float] = MappingProxyType(
    {
        "threshold_on": LOWEST_THRESHOLD,
        "threshold_off": LOWEST_THRESHOLD,
        "mismatch": 0.0,
        "refractory": 0.0,
        "floor": 1e-9,
        "sample_step": 1e-6,
    }
)
"""Smallest value of each parameter of the sensor; steps are not finer than the time stamps."""


@dataclass(frozen=True)
class SensorConfig:
    """Parameters of an event camera.

    Args:
        threshold_on: rise of ``ln(intensity + floor)`` per ON event.
        threshold_off: fall of ``ln(intensity + floor)`` per OFF event.
        mismatch: standard deviation of the thresholds from pixel to pixel, same unit as the thresholds.
        refractory: time after an event during which the pixel emits none, seconds. A crossing in that
            time moves the reference but is not reported.
        floor: intensity added before the logarithm (dark current), as a fraction of full white.
        sample_step: longest time between video samples where a scene is rendered for the sensor, seconds.

    Raises:
        InputError: a value out of range.

    >>> SensorConfig(refractory=2e-3).threshold_on
    0.3
    """

    threshold_on: float = 0.3
    threshold_off: float = 0.3
    mismatch: float = 0.03
    refractory: float = 1e-3
    floor: float = 0.2
    sample_step: float = 1e-3

    def __post_init__(self) -> None:
        for name, low in LOWEST.items():
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise InputError(f"sensor {name} must be a number, got {value!r}")
            if not (math.isfinite(value) and value >= low):
                raise InputError(f"sensor {name} must be finite and at least {low:g}, got {value}")


class Thresholds(NamedTuple):
    """Contrast thresholds of each pixel, ``[H, W]`` float64, natural log units."""

    on: NDArray[np.float64]
    off: NDArray[np.float64]


def draw_thresholds(config: SensorConfig, shape: tuple[int, int], generator: np.random.Generator) -> Thresholds:
    """The thresholds of one particular sensor: Gaussian around the nominal values.

    Args:
        config: nominal thresholds and their mismatch.
        shape: (height, width).
        generator: source of the randomness; the same seed gives the same sensor.

    >>> draw_thresholds(SensorConfig(mismatch=0.0), (2, 3), np.random.default_rng(0)).on.shape
    (2, 3)
    """
    on = config.threshold_on + config.mismatch * generator.standard_normal(shape)
    off = config.threshold_off + config.mismatch * generator.standard_normal(shape)
    return Thresholds(np.maximum(on, LOWEST_THRESHOLD), np.maximum(off, LOWEST_THRESHOLD))


def record(
    video: NDArray[Any], times: ArrayLike, config: SensorConfig, thresholds: Thresholds | None = None
) -> NDArray[np.void]:
    """Events that the sensor reports while it watches ``video``.

    The first frame sets the reference levels and gives no events.

    Args:
        video: linear intensity ``[K, H, W]``, 1 is full white.
        times: time of each frame ``[K]``, seconds, increasing, not negative.
        config: the sensor.
        thresholds: of each pixel, ``[H, W]``; by default the nominal ones everywhere.

    Returns:
        Events ``[E]`` of dtype :data:`~neuro.datasets.events.EVENT_DTYPE`, sorted by time; times are rounded
        to microseconds, events of one microsecond stand in the order of sample, row and column.

    Raises:
        InputError: wrong shapes, times that do not increase, intensity negative or not finite.

    >>> ramp = np.exp(np.linspace(0.0, 1.0, 3))[:, None, None] - 0.2
    >>> record(ramp, [0.0, 0.01, 0.02], SensorConfig(threshold_on=0.4))["t"].tolist()
    [8000, 16000]
    """
    levels, seconds, pixels = _prepare(video, times, config, thresholds)
    room = 4096
    while True:
        t, pixel, p = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.bool_)
        found = _crossings(levels, seconds, pixels.on.ravel(), pixels.off.ravel(), config.refractory, t, pixel, p)
        if found <= room:
            break
        room = found
    return _sorted_events(t[:found], pixel[:found], p[:found], np.shape(video)[2])


def record_reference(
    video: NDArray[Any], times: ArrayLike, config: SensorConfig, thresholds: Thresholds | None = None
) -> NDArray[np.void]:
    """Definition of :func:`record` in plain Python, pixel by pixel; same arguments and result."""
    levels, seconds, pixels = _prepare(video, times, config, thresholds)
    found: list[tuple[int, int, int, bool]] = []  # microseconds, sample, pixel, polarity
    for n in range(levels.shape[1]):
        reference, last = levels[0, n], -math.inf
        for k in range(1, len(seconds)):
            before, after = levels[k - 1, n], levels[k, n]
            sign = 1.0 if after > before else -1.0
            threshold = pixels.on.flat[n] if sign > 0 else pixels.off.flat[n]
            while sign * (after - (reference + sign * threshold)) >= 0:
                reference = reference + sign * threshold
                part = (reference - before) / (after - before)
                crossing = seconds[k - 1] + part * (seconds[k] - seconds[k - 1])
                if crossing - last >= config.refractory:
                    found.append((round(crossing * 1e6), k, n, sign > 0))
                    last = crossing
    found.sort()  # total: within one step a pixel has one polarity
    events = np.empty(len(found), EVENT_DTYPE)
    for i, (microseconds, _, n, rising) in enumerate(found):
        events[i] = microseconds, n % video.shape[2], n // video.shape[2], rising
    return events


def _prepare(
    video: NDArray[Any], times: ArrayLike, config: SensorConfig, thresholds: Thresholds | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], Thresholds]:
    """Log intensity ``[K, H*W]``, times ``[K]``, thresholds, all float64 and checked."""
    seconds = np.ascontiguousarray(times, np.float64)
    if video.ndim != 3 or seconds.shape != video.shape[:1] or video.size == 0:
        raise InputError(
            f"video must be [K, H, W] with K times, none zero, got {video.shape} and times {seconds.shape}"
        )
    shape = video.shape[1:]
    if max(shape) > np.iinfo(np.int16).max:
        raise InputError(f"sensor of {shape} pixels is too large; at most 32767 each way")
    if not (np.isfinite(seconds).all() and (seconds >= 0).all() and (np.diff(seconds) > 0).all()):
        raise InputError("times of the video samples must be finite, not negative and increasing")
    lowest, highest = float(video.min()), float(video.max())
    if not (lowest >= 0 and math.isfinite(highest)):
        raise InputError("video intensity must be finite and not negative")
    levels = np.log(video.reshape(len(video), -1) + np.float64(config.floor))
    nominal = Thresholds(np.full(shape, config.threshold_on), np.full(shape, config.threshold_off))
    pixels = nominal if thresholds is None else thresholds
    if pixels.on.shape != shape or pixels.off.shape != shape:
        raise InputError(f"thresholds must be {shape} like the video, got {pixels.on.shape} and {pixels.off.shape}")
    return levels, seconds, pixels


def _sorted_events(
    t: NDArray[np.int64], pixel: NDArray[np.int64], p: NDArray[np.bool_], width: int
) -> NDArray[np.void]:
    order = np.argsort(t, kind="stable")
    events = np.empty(len(order), EVENT_DTYPE)
    events["t"], events["p"] = t[order], p[order]
    events["y"], events["x"] = np.divmod(pixel[order], max(width, 1))
    return events


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _crossings(
    levels: NDArray[np.float64],
    seconds: NDArray[np.float64],
    on: NDArray[np.float64],
    off: NDArray[np.float64],
    refractory: float,
    t: NDArray[np.int64],
    pixel: NDArray[np.int64],
    p: NDArray[np.bool_],
) -> int:
    """Write the events in the order of samples, then pixels; return their number, also beyond the room."""
    reference = levels[0].copy()
    last = np.full(levels.shape[1], -np.inf)
    found = 0
    for k in range(1, levels.shape[0]):
        start, span = seconds[k - 1], seconds[k] - seconds[k - 1]
        for n in range(levels.shape[1]):
            before, after = levels[k - 1, n], levels[k, n]
            rising = after > before
            step = on[n] if rising else -off[n]
            target = reference[n] + step
            while (after >= target) if rising else (after <= target):
                reference[n] = target
                crossing = start + (target - before) / (after - before) * span
                if crossing - last[n] >= refractory:
                    if found < t.shape[0]:
                        t[found] = round(crossing * 1e6)
                        pixel[found] = n
                        p[found] = rising
                    found += 1
                    last[n] = crossing
                target += step
    return found
