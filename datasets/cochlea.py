"""A silicon cochlea: sound to the events of integrate-and-fire neurons, one row of them for each frequency band.

The chain is that of the analogue chips (Liu, van Schaik, Minch & Delbruck 2014, "Asynchronous binaural spatial audition
sensor with 2 x 64 x 4 channel output", IEEE TBioCAS 8): a bank of band-pass filters, rectification and
compression as by an inner hair cell, neurons of several thresholds for each band.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from neuro.datasets.events import EVENT_DTYPE
from neuro.errors import InputError

__all__ = ["CochleaConfig", "centre_frequencies", "hear"]

ORDER = 4  # of the gammatone filters
LIMITS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "lowest": (20.0, 1e5),
        "highest": (20.0, 1e5),
        "emphasis": (0.0, 1.0),
        "compression": (0.1, 1.0),
        "adaptation": (0.0, 1.0),
        "tau_adaptation": (1e-3, 10.0),
        "tau": (1e-4, 1.0),
        "threshold": (1e-6, 1e6),
        "spread": (1.0, 100.0),
        "refractory": (0.0, 1.0),
    }
)


@dataclass(frozen=True)
class CochleaConfig:
    """What the cochlea is made of.

    Of a sound x, scaled to a root mean square of 1 and differentiated in part, ``x[n] - emphasis x[n-1]``, at f_s samples
    a second, band c makes (Patterson et al. 1992; the recursion of Hohmann 2002, Acta Acustica 88)

        y_k[n] = a y_k[n-1] + (1 - |a|) y_{k-1}[n],  k = 1..4,  y_0 = x,
        a = exp((-1.019 ERB(f_c) + i f_c) 2 pi / f_s),  ERB(f) = 24.7 (1 + 4.37 f / 1000)

    (Glasberg & Moore 1990), then the hair cell and its adaptation to what lasts

        h = max(2 Re y_4, 0)^compression,  tau_adaptation dm/dt = h - m,  i = max(h - adaptation m, 0),

    and in each of its neurons a leaky membrane, which a spike sets back to zero:

        tau du/dt = i - u,  a spike where u > threshold spread^level,  none within refractory of the last.

    Args:
        channels: number of bands, evenly spaced in ERB rate.
        levels: neurons in each band.
        lowest, highest: centre frequencies of the outer bands in hertz.
        emphasis: share of the last sample taken off each sample.
        compression: exponent of the hair cell.
        adaptation: share of the running mean taken off.
        tau_adaptation: time constant of that mean in seconds.
        tau: of the membranes, in seconds.
        threshold: of the most sensitive neuron of each band.
        spread: ratio of the thresholds of neighbouring levels.
        refractory: shortest time between two spikes of a neuron in seconds.

    Raises:
        InputError: a value out of range.

    >>> CochleaConfig(channels=32).highest
    3600.0
    """

    channels: int = 48
    levels: int = 1
    lowest: float = 100.0
    highest: float = 3600.0
    emphasis: float = 0.95
    compression: float = 0.4
    adaptation: float = 0.5
    tau_adaptation: float = 0.2
    tau: float = 10e-3
    threshold: float = 0.1
    spread: float = 2.0
    refractory: float = 8e-3

    def __post_init__(self) -> None:
        for name, most in (("channels", 1024), ("levels", 16)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise InputError(f"cochlea {name} must be a whole number from 1 to {most}, got {value!r}")
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise InputError(f"cochlea {name} must be a number from {low:g} to {high:g}, got {value!r}")
        if not self.lowest < self.highest:
            raise InputError(f"cochlea lowest ({self.lowest:g} Hz) must lie below highest ({self.highest:g} Hz)")

    @property
    def sensor_size(self) -> tuple[int, int, int]:
        """(channels, levels, 1): x of an event is its band, y its level."""
        return self.channels, self.levels, 1


def centre_frequencies(config: CochleaConfig) -> NDArray[np.float64]:
    """Centre frequency of each band in hertz, ``[channels]``, evenly spaced in ``21.4 log10(1 + 4.37 f / 1000)``.

    >>> centre_frequencies(CochleaConfig(channels=3, lowest=100.0, highest=3000.0)).round().tolist()
    [100.0, 802.0, 3000.0]
    """
    low, high = (math.log(1 + 4.37e-3 * f) for f in (config.lowest, config.highest))
    made: NDArray[np.float64] = np.expm1(np.linspace(low, high, config.channels)) / 4.37e-3
    return made


def hear(sound: NDArray[Any], sample_rate: float, config: CochleaConfig) -> NDArray[np.void]:
    """The events of a sound.

    Args:
        sound: samples ``[K]``; their scale does not matter.
        sample_rate: of the samples in hertz, at least twice the highest centre frequency.
        config: the cochlea.

    Returns:
        Events ``[E]`` of dtype :data:`~neuro.datasets.events.EVENT_DTYPE` in order of time, x the band and y the level;
        none where the sound is silent. The same sound gives the same events.

    Raises:
        InputError: no one-dimensional finite sound, a sample rate too low for the bands.

    >>> tone = np.sin(2 * np.pi * 440.0 * np.arange(4000) / 8000)
    >>> cochlea = CochleaConfig(channels=16)
    >>> round(float(centre_frequencies(cochlea)[np.bincount(hear(tone, 8000, cochlea)["x"]).argmax()]))
    404
    """
    samples = np.ascontiguousarray(sound, np.float64)
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise InputError(f"sound must be [K] finite samples, got shape {samples.shape}")
    if not sample_rate >= 2 * config.highest:
        raise InputError(
            f"a sound of {sample_rate:g} Hz cannot hold {config.highest:g} Hz; "
            f"take a cochlea with highest at most {sample_rate / 2:g}"
        )
    loudness = math.sqrt(float(np.square(samples).mean())) if len(samples) else 0.0
    if loudness == 0.0:
        return np.empty(0, EVENT_DTYPE)
    return _as_events(_spikes(samples / loudness, float(sample_rate), config), sample_rate, config)


def _spikes(x: NDArray[np.float64], rate: float, config: CochleaConfig) -> NDArray[np.bool_]:
    """``[K, channels * levels]``."""
    centre = centre_frequencies(config)
    pole = np.exp((-1.019 * 24.7 * (1 + 4.37e-3 * centre) + 1j * centre) * 2 * np.pi / rate)
    emphasised = x - config.emphasis * np.concatenate([np.zeros(1), x[:-1]])
    current = np.empty((len(x), config.channels))
    _filter(emphasised, pole.real.copy(), pole.imag.copy(), 1 - np.abs(pole), current)
    np.power(current, config.compression, out=current)
    spikes = np.empty((len(x), config.channels * config.levels), np.bool_)
    _fire(
        current,
        math.exp(-1 / (rate * config.tau_adaptation)),
        config.adaptation,
        math.exp(-1 / (rate * config.tau)),
        np.array([config.threshold * config.spread**level for level in range(config.levels)]),
        config.refractory * rate,
        spikes,
    )
    return spikes


def _as_events(spikes: NDArray[np.bool_], rate: float, config: CochleaConfig) -> NDArray[np.void]:
    sample, neuron = np.nonzero(spikes)
    events = np.zeros(len(sample), EVENT_DTYPE)
    events["t"] = np.rint(sample * (1e6 / rate))
    events["y"], events["x"] = np.divmod(neuron, config.channels)
    return events


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _filter(
    x: NDArray[np.float64],
    real: NDArray[np.float64],
    imaginary: NDArray[np.float64],
    gain: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Rectified output of every band, ``[K, C]``."""
    re, im = np.zeros((ORDER, len(real))), np.zeros((ORDER, len(real)))
    for n in range(len(x)):
        for k in range(ORDER):
            for c in range(len(real)):
                from_re = x[n] if k == 0 else re[k - 1, c]
                from_im = 0.0 if k == 0 else im[k - 1, c]
                before = re[k, c]
                re[k, c] = real[c] * before - imaginary[c] * im[k, c] + gain[c] * from_re
                im[k, c] = real[c] * im[k, c] + imaginary[c] * before + gain[c] * from_im
        for c in range(len(real)):
            out[n, c] = max(2 * re[ORDER - 1, c], 0.0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _fire(
    h: NDArray[np.float64],
    keep_mean: float,
    adaptation: float,
    keep: float,
    thresholds: NDArray[np.float64],
    refractory: float,
    spikes: NDArray[np.bool_],
) -> None:
    """Adaptation and membranes, sample by sample."""
    channels, levels = h.shape[1], len(thresholds)
    mean, u, last = np.zeros(channels), np.zeros(channels * levels), np.full(channels * levels, -np.inf)
    for n in range(len(h)):
        for c in range(channels):
            mean[c] = keep_mean * mean[c] + (1 - keep_mean) * h[n, c]
            current = max(h[n, c] - adaptation * mean[c], 0.0)
            for level in range(levels):
                i = level * channels + c
                u[i] = keep * u[i] + (1 - keep) * current
                fires = u[i] > thresholds[level] and n - last[i] >= refractory
                spikes[n, i] = fires
                if fires:
                    u[i] = 0.0
                    last[i] = n
