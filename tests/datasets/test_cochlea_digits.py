"""Spoken digits: read from folder or archive, heard once, split by speaker; small recordings made here."""

from __future__ import annotations

import io
import tarfile
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuro.datasets import cochlea_digits
from neuro.datasets.cochlea import CochleaConfig, hear
from neuro.datasets.cochlea_digits import SPEAKERS, spoken_digits
from neuro.datasets.sound import read_wav
from neuro.datasets.store import EventStore
from neuro.errors import FileFormatError, InputError

RATE = 8000
EAR = CochleaConfig(channels=6)
NAMES = sorted(name for part in SPEAKERS.values() for name in part)


def spoken(digit: int, speaker: str, take: int) -> bytes:
    """A tone for each digit, of another length for each speaker."""
    seconds = 0.1 + 0.02 * NAMES.index(speaker)
    generator = np.random.default_rng([digit, NAMES.index(speaker), take])
    t = np.arange(round(seconds * RATE)) / RATE
    samples = 8000 * np.sin(2 * np.pi * (200 + 250 * digit) * t) + 200 * generator.standard_normal(len(t))
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return stream.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("recordings")
    for speaker in NAMES:
        for digit in range(10):
            (made / f"{digit}_{speaker}_{digit % 3}.wav").write_bytes(spoken(digit, speaker, digit % 3))
    return made


@pytest.fixture(scope="module")
def archive(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "recordings.tar.xz"
    with tarfile.open(path, "w:xz") as file:
        for source in sorted(folder.iterdir(), reverse=True):  # in another order than the folder's
            file.add(source, f"recordings/{source.name}")
    return path


def forbid_hearing(monkeypatch: pytest.MonkeyPatch) -> None:
    def hear_all(*_: object) -> None:
        raise AssertionError("heard again")

    monkeypatch.setattr(cochlea_digits, "_hear_all", hear_all)


def test_each_speaker_is_in_one_part(folder: Path, tmp_path: Path) -> None:
    data = spoken_digits(folder, tmp_path, cochlea=EAR, duration=0.24)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [40, 10, 10]
    assert data.train.shape == (30, 6)
    assert data.classes == tuple("0123456789")
    assert "validation theo; test yweweler" in str(data)
    store = EventStore(next(tmp_path.iterdir()))
    theirs = np.concatenate([store.splits[name] for name in SPEAKERS["train"]])
    assert sorted(data.train.indices.tolist()) == sorted(theirs.tolist())


def test_samples_are_the_events_of_their_recording(folder: Path, tmp_path: Path) -> None:
    data = spoken_digits(folder, tmp_path, cochlea=EAR, duration=0.24)
    for i, label in enumerate(data.validation.labels.tolist()):
        sound = read_wav(folder / f"{label}_theo_{label % 3}.wav")
        assert np.array_equal(data.validation.events(i), hear(sound.samples, sound.sample_rate, EAR))
    assert sorted(data.validation.labels.tolist()) == list(range(10))


def test_an_archive_is_the_same_as_its_folder(folder: Path, archive: Path, tmp_path: Path) -> None:
    one = spoken_digits(folder, tmp_path / "a", cochlea=EAR)
    other = spoken_digits(archive, tmp_path / "b", cochlea=EAR)
    for part in ("train", "validation", "test"):
        for mine, theirs in zip(getattr(one, part).tensors(), getattr(other, part).tensors(), strict=True):
            assert torch.equal(mine, theirs)


def test_a_long_recording_is_cut_at_the_duration(folder: Path, tmp_path: Path) -> None:
    whole = spoken_digits(folder, tmp_path, cochlea=EAR)
    cut = spoken_digits(folder, tmp_path, cochlea=EAR, duration=0.08)
    events = whole.test.events(3)
    assert events["t"].max() >= 80_000
    assert np.array_equal(cut.test.events(3), events[events["t"] < 80_000])


def test_another_split_or_bins_use_the_same_store(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = spoken_digits(folder, tmp_path, cochlea=EAR)
    forbid_hearing(monkeypatch)
    turned = {"train": ["theo"], "validation": ("lucas", "george"), "test": ["jackson"]}
    other = spoken_digits(folder, tmp_path, cochlea=EAR, dt=20e-3, speakers=turned)
    assert [len(part) for part in (other.train, other.validation, other.test)] == [10, 20, 10]
    assert np.array_equal(other.train.indices, first.validation.indices)
    assert other.train.steps == 40
    assert "test jackson" in str(other)


def test_other_recordings_and_parameters_have_their_own_store(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = []
    monkeypatch.setattr(cochlea_digits, "_hear_all", lambda path, *_: stores.append(path))
    less = tmp_path / "less"
    less.mkdir()
    (less / "1_theo_0.wav").write_bytes(spoken(1, "theo", 0))
    options: list[dict[str, Any]] = [{}, {"duration": 0.5}, {"cochlea": CochleaConfig(channels=6, tau=2e-3)}]
    for source, option in [(folder, option) for option in options] + [(less, {})]:
        with pytest.raises(InputError, match="No such file"):
            spoken_digits(source, tmp_path / "cache", **option)
    assert len(set(stores)) == 4


@pytest.mark.parametrize(
    ("speakers", "text"),
    [
        ({"train": ["theo"], "test": ["lucas"]}, r"parts \['test', 'train'\]"),
        ({"train": ["teo"], "validation": ["lucas"], "test": ["george"]}, "unknown speaker 'teo'; did you mean 'theo'"),
        ({"train": ["theo"], "validation": ["theo"], "test": ["lucas"]}, "'theo' is in train and in validation"),
        ({"train": ["theo"], "validation": [], "test": ["lucas"]}, "no speaker in validation; each part needs one"),
    ],
)
def test_splits_that_leak_or_lack_are_refused(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, speakers: dict[str, list[str]], text: str
) -> None:
    with pytest.raises(InputError, match=text):
        spoken_digits(folder, tmp_path_factory.getbasetemp(), cochlea=EAR, speakers=speakers)


def test_recordings_at_fault_are_named_and_leave_nothing(archive: Path, tmp_path: Path) -> None:
    bad, cache = tmp_path / "bad", tmp_path / "cache"
    bad.mkdir()
    with pytest.raises(InputError, match=r"bad: holds no \.wav file"):
        spoken_digits(bad, cache)
    (bad / "seven.wav").write_bytes(spoken(7, "theo", 0))
    with pytest.raises(InputError, match=r"seven\.wav: a recording must be called like 7_theo_31\.wav"):
        spoken_digits(bad, cache)
    (bad / "seven.wav").rename(bad / "7_theo_0.wav")
    (bad / "7_theo_0.wav").write_bytes(spoken(7, "theo", 0)[:300])
    with pytest.raises(FileFormatError, match=r"7_theo_0\.wav: truncated"):
        spoken_digits(bad, cache)
    (tmp_path / "cut.tar.xz").write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(FileFormatError, match=r"cut\.tar\.xz: not a whole tar archive"):
        spoken_digits(tmp_path / "cut.tar.xz", cache)
    with pytest.raises(InputError, match=r"gone: cannot read the spoken digits"):
        spoken_digits(tmp_path / "gone", cache)
    assert not list(cache.iterdir())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dt": 0.0}, "dt must be"),
        ({"duration": -1.0}, "duration"),
        ({"cochlea": 3}, "cochlea must be a CochleaConfig"),
    ],
)
def test_unusable_parameters_are_refused_before_anything_is_heard(
    folder: Path, tmp_path: Path, options: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_hearing(monkeypatch)
    with pytest.raises(InputError, match=text):
        spoken_digits(folder, tmp_path, **options)


@pytest.mark.slow
@pytest.mark.data
def test_the_real_recordings_are_whole_and_can_be_told_apart(shared_data: Path, tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    source = shared_data / "fsdd" / "recordings.tar.xz"
    if not source.is_file():
        pytest.skip(f"no spoken digits at {source}")
    data = spoken_digits(source, tmp_path)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [2000, 500, 500]

    def features(part: Any) -> tuple[Any, Any]:
        x, y = part.tensors()
        return x.view(10, 10, *x.shape[1:]).sum(1).permute(1, 0, 2).flatten(1).numpy(), y.numpy()

    model = LogisticRegression(C=0.01, max_iter=500, tol=1e-2).fit(*features(data.train))
    assert model.score(*features(data.validation)) > 0.6
