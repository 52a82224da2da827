"""The cochlea against its equations written out, and what makes it one: bands, loudness, adaptation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from neuro.datasets.cochlea import LIMITS, CochleaConfig, centre_frequencies, hear
from neuro.datasets.events import check_events
from neuro.errors import InputError

RATE = 8000.0
SMALL = CochleaConfig(channels=12, levels=2, threshold=0.04, refractory=3e-3, tau=7e-3, compression=0.5)


def tone(frequency: float, seconds: float = 0.3) -> NDArray[np.float64]:
    made: NDArray[np.float64] = np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)
    return made


def noise(seed: int, samples: int = 1500) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(samples)


def by_the_equations(sound: NDArray[np.float64], config: CochleaConfig) -> list[tuple[int, int, int]]:
    """(microseconds, band, level) of every spike, band after band in plain Python."""
    x = sound / np.sqrt(np.mean(sound**2))
    found = []
    for band, centre in enumerate(centre_frequencies(config)):
        width = 24.7 * (1 + 4.37 * centre / 1000)
        a = np.exp((-1.019 * width + 1j * centre) * 2 * np.pi / RATE)
        y, mean, before = [0j] * 4, 0.0, 0.0
        u, last = [0.0] * config.levels, [-math.inf] * config.levels
        for n, sample in enumerate(x):
            stage: complex = sample - config.emphasis * before
            before = sample
            for k in range(4):
                y[k] = stage = a * y[k] + (1 - abs(a)) * stage
            h = max(2 * y[3].real, 0.0) ** config.compression
            mean += (1 - math.exp(-1 / (RATE * config.tau_adaptation))) * (h - mean)
            current = max(h - config.adaptation * mean, 0.0)
            for level in range(config.levels):
                u[level] += (1 - math.exp(-1 / (RATE * config.tau))) * (current - u[level])
                over = u[level] > config.threshold * config.spread**level
                if over and n - last[level] >= config.refractory * RATE:
                    u[level], last[level] = 0.0, n
                    found.append((round(n * 1e6 / RATE), band, level))
    return sorted(found)


def columns(events: NDArray[np.void]) -> list[tuple[int, int, int]]:
    return sorted(zip(events["t"].tolist(), events["x"].tolist(), events["y"].tolist(), strict=True))


@pytest.mark.parametrize("sound", [noise(1), tone(700.0, 0.15), noise(2, 1)], ids=["noise", "tone", "one"])
def test_the_events_are_those_of_the_equations(sound: NDArray[np.float64]) -> None:
    expected = by_the_equations(sound, SMALL)
    assert len(sound) == 1 or len(expected) > 50
    assert columns(hear(sound, RATE, SMALL)) == expected


def test_events_are_in_order_and_within_the_sensor() -> None:
    events = hear(noise(3), RATE, SMALL)
    check_events(events, SMALL.sensor_size)
    assert SMALL.sensor_size == (12, 2, 1)
    assert set(events["y"].tolist()) == {0, 1}
    assert 0 < (events["y"] == 1).sum() < (events["y"] == 0).sum()  # the second level is less sensitive


@pytest.mark.parametrize("frequency", [250.0, 800.0, 2200.0])
def test_a_tone_excites_its_band_most(frequency: float) -> None:
    config = CochleaConfig(channels=24, compression=1.0, adaptation=0.0, refractory=0.0, emphasis=0.0)
    counts = np.bincount(hear(tone(frequency), RATE, config)["x"], minlength=24)
    centre = centre_frequencies(config)
    assert abs(int(counts.argmax()) - int(np.abs(centre - frequency).argmin())) <= 1


def test_bands_are_even_in_erb_rate() -> None:
    centre = centre_frequencies(CochleaConfig(channels=30, lowest=80.0, highest=3000.0))
    assert centre[[0, -1]] == pytest.approx([80.0, 3000.0])
    assert np.ptp(np.diff(21.4 * np.log10(1 + 4.37e-3 * centre))) < 1e-9


def test_loudness_does_not_matter() -> None:
    sound = noise(4)
    assert np.array_equal(hear(sound, RATE, SMALL), hear(1024 * sound, RATE, SMALL))


def test_a_lasting_tone_is_heard_less_and_less() -> None:
    still = CochleaConfig(channels=8, adaptation=1.0, tau_adaptation=50e-3, threshold=0.05, refractory=0.0)
    t = hear(tone(500.0, 0.6), RATE, still)["t"]
    early, late = (t < 100_000).sum(), (t >= 500_000).sum()
    assert 0 < late < 0.8 * early


def test_a_neuron_rests_after_a_spike() -> None:
    events = hear(noise(5, 8000), RATE, SMALL)
    for band in range(12):
        gaps = np.diff(events["t"][(events["x"] == band) & (events["y"] == 0)])
        assert gaps.min() >= 3000


@pytest.mark.parametrize("sound", [np.zeros(100), np.empty(0)], ids=["silence", "nothing"])
def test_silence_gives_no_events(sound: NDArray[np.float64]) -> None:
    assert len(hear(sound, RATE, SMALL)) == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"channels": 0}, "cochlea channels must be a whole number from 1 to 1024, got 0"),
        ({"levels": 2.0}, "cochlea levels must be"),
        ({"lowest": 4000.0}, "lowest .4000 Hz. must lie below highest"),
        ({"compression": True}, "cochlea compression must be a number"),
        *(({name: high * 2}, f"cochlea {name} must be a number from") for name, (_, high) in LIMITS.items()),
        *(({name: math.nan}, f"cochlea {name} must be") for name in LIMITS),
    ],
)
def test_values_out_of_range_are_named(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        CochleaConfig(**options)


def test_sounds_that_cannot_be_heard_are_refused() -> None:
    with pytest.raises(InputError, match=r"sound must be \[K\] finite samples, got shape \(3, 2\)"):
        hear(np.ones((3, 2)), RATE, SMALL)
    with pytest.raises(InputError, match="finite"):
        hear(np.array([0.0, math.inf]), RATE, SMALL)
    with pytest.raises(InputError, match=r"a sound of 6000 Hz cannot hold 3600 Hz; .* at most 3000"):
        hear(noise(0), 6000.0, SMALL)
