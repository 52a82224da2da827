"""The digits through the event camera: cached once, the same for the same seed, sane and learnable."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
import tonic.transforms
import torch
from numpy.typing import NDArray

from neuro.datasets import event_digits, sensor
from neuro.datasets.event_digits import _store_path, digits
from neuro.datasets.events import check_events
from neuro.datasets.sensor import SensorConfig
from neuro.datasets.splits import Splits
from neuro.datasets.store import EventStore
from neuro.errors import FileFormatError, InputError

QUICK = SensorConfig(sample_step=10e-3)


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only 90 of the digits, where a test records several times."""
    bundle = sklearn.datasets.load_digits()
    few = SimpleNamespace(images=bundle.images[:90], target=bundle.target[:90])
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: few)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def data(folder: Path) -> Splits:
    return digits(folder)


def forbid_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    def record_all(*_: object) -> None:
        raise AssertionError("recorded again")

    monkeypatch.setattr(event_digits, "_record_all", record_all)


def test_the_split_is_named_stratified_and_whole(data: Splits) -> None:
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    assert {name: len(part) for name, part in parts.items()} == {"train": 1078, "validation": 360, "test": 359}
    together = np.concatenate([part.indices for part in parts.values()])
    assert sorted(together.tolist()) == list(range(1797))
    for part in parts.values():
        assert np.ptp(np.bincount(part.labels, minlength=10)) <= 6
    assert data.classes == tuple("0123456789")
    assert data.name == "digits"
    assert "split with seed 0" in str(data)


def test_frames_have_the_promised_shape(data: Splits, folder: Path) -> None:
    frames, label = data.train[0]
    assert frames.shape == (60, 800)
    assert set(frames.unique().tolist()) == {0.0, 1.0}
    assert 0 <= label <= 9
    assert data.sensor_size == (20, 20, 2)
    other = digits(folder, dt=10e-3, layout="frames")
    assert other.test[7][0].shape == (30, 2, 20, 20)
    assert len(list(folder.glob("*.h5"))) == 1  # bins and layout do not change the recordings
    coarse = data.test[7][0].reshape(30, 2, 2, 20, 20).amax(1)
    assert torch.equal(other.test[7][0], coarse)


def test_the_recordings_look_like_n_mnist(data: Splits) -> None:
    store = data.train.source
    for i in range(0, 1797, 60):
        events = store.events(i)
        check_events(events, (20, 20, 2))
        assert 700 < len(events) < 2500
        assert 0.4 < events["p"].mean() < 0.6
        assert int(events["t"][-1]) < 300_000
        saccade = np.bincount(events["t"] // 100_000, minlength=3) / len(events)
        assert saccade.min() > 0.15
        rest = np.count_nonzero(np.abs((events["t"] + 50_000) % 100_000 - 50_000) < 10_000)
        assert rest < 0.1 * len(events)  # quiet where a saccade ends and the next begins
    density = float(data.test.tensors()[0].mean())
    assert 0.02 < density < 0.045  # N-MNIST: 0.024 at 5 ms


def test_a_linear_classifier_can_read_them(data: Splits) -> None:
    from sklearn.linear_model import LogisticRegression

    def saccade_sums(part: Any) -> tuple[Any, Any]:
        x, y = part.tensors()
        return x.reshape(3, 20, *x.shape[1:]).sum(1).permute(1, 0, 2).flatten(1).numpy(), y.numpy()

    model = LogisticRegression(C=0.01, max_iter=60, tol=1e-2).fit(*saccade_sums(data.train))
    assert model.score(*saccade_sums(data.validation)) > 0.95


def test_tonic_bins_a_digit_as_we_do(data: Splits) -> None:
    events = data.test.events(3)
    transform = tonic.transforms.ToFrame(sensor_size=data.sensor_size, time_window=5e3, start_time=0, end_time=3e5)
    assert np.array_equal(transform(events).clip(max=1), data.test[3][0].reshape(60, 2, 20, 20).numpy())
    assert 0 < len(tonic.transforms.Denoise(filter_time=5000)(events)) <= len(events)


def test_the_second_call_reads_the_store_within_a_second(
    data: Splits, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_recording(monkeypatch)
    start = time.process_time()
    again = digits(folder)
    assert time.process_time() - start < 1.0
    assert torch.equal(again.test.tensors()[0], data.test.tensors()[0])


def test_the_store_says_what_made_it(data: Splits, folder: Path) -> None:
    store = EventStore(next(folder.glob("digits-*.h5")))
    assert store.header.config["sensor"]["threshold_on"] == SensorConfig().threshold_on
    assert store.header.config["size"] == 20
    assert store.header.seed == 0
    assert set(store.splits) == {"train", "validation", "test"}
    assert store.load().events(5).tobytes() == store.events(5).tobytes()


def test_every_parameter_of_the_recording_names_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = []
    monkeypatch.setattr(event_digits, "_record_all", lambda path, *_: stores.append(path))
    options: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"size": 21},
        *(
            {"sensor": SensorConfig(**{name: value})}
            for name, value in vars(SensorConfig(0.4, 0.5, 0.1, 0.2, 0.6, 0.7)).items()
        ),
    ]
    for option in options:
        with pytest.raises(InputError, match="No such file"):
            digits(tmp_path, **option)
    monkeypatch.setattr(event_digits, "RECIPE", 999)
    with pytest.raises(InputError, match="No such file"):
        digits(tmp_path)
    assert len(set(stores)) == len(options) + 1 == 10


@pytest.mark.usefixtures("few_digits")
def test_same_seed_same_bytes_with_any_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    for name, seed, threads in (("a", 3, 1), ("b", 3, 3), ("c", 4, 2)):
        monkeypatch.setattr(os, "cpu_count", lambda threads=threads: threads)
        digits(tmp_path / name, seed=seed, size=9, sensor=QUICK)
        files.append(next((tmp_path / name).iterdir()))
    assert files[0].name == files[1].name != files[2].name
    assert files[0].read_bytes() == files[1].read_bytes()
    first, other = EventStore(files[0]), EventStore(files[2])
    assert first.events(0).tobytes() != other.events(0).tobytes()
    assert first.splits["test"].tolist() != other.splits["test"].tolist()


@pytest.mark.usefixtures("few_digits")
def test_events_of_the_very_last_moment_are_left_out(tmp_path: Path) -> None:
    """A threshold this low is crossed at the end of the last video sample too."""
    data = digits(tmp_path, size=9, sensor=SensorConfig(0.01, 0.01, mismatch=0.0, sample_step=10e-3))
    last = max(int(data.train.events(i)["t"].max()) for i in range(len(data.train)))
    assert 290_000 < last < 300_000
    assert data.train.tensors()[0].any()


@pytest.mark.usefixtures("few_digits")
def test_an_interrupted_recording_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def record(*arguments: Any) -> NDArray[np.void]:
        calls.append(1)
        if len(calls) > 20:
            raise KeyboardInterrupt
        return sensor.record(*arguments)

    monkeypatch.setattr(event_digits, "record", record)
    with pytest.raises(KeyboardInterrupt):
        digits(tmp_path, size=9, sensor=QUICK)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("few_digits")
def test_a_damaged_store_is_named_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits(tmp_path, size=9, sensor=QUICK)
    file = next(tmp_path.iterdir())
    file.write_bytes(file.read_bytes()[:-100])
    forbid_recording(monkeypatch)
    with pytest.raises(
        FileFormatError, match=rf"{file.name} at byte \d+: truncated: .* delete the file and make it again"
    ):
        digits(tmp_path, size=9, sensor=QUICK)


def test_the_cache_folder_is_chosen_by_argument_or_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURO_CACHE", str(tmp_path / "chosen"))
    assert _store_path(None, {}).parent == tmp_path / "chosen"
    assert _store_path(tmp_path / "named", {}).parent == tmp_path / "named"


def test_a_store_of_another_format_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = _store_path(tmp_path, {"seed": 1})
    monkeypatch.setattr("neuro.datasets.event_digits.VERSION", 99)
    assert _store_path(tmp_path, {"seed": 1}) != now


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cache folder .*file/x cannot be made .* set NEURO_CACHE"):
        digits(tmp_path / "file" / "x")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 7}, "size must be a whole number from 8 to 256 .*, got 7"),
        ({"size": 20.0}, "got 20.0"),
        ({"seed": -1}, "seed must be a whole number from 0, got -1"),
        ({"seed": "0"}, "got '0'"),
        ({"sensor": {"floor": 1}}, "sensor must be a SensorConfig"),
        ({"dt": 1e-7}, "dt must be"),
        ({"dt": "5ms"}, "dt must be"),
        ({"layout": "dense"}, "unknown layout 'dense'"),
    ],
)
def test_unusable_parameters_are_refused_before_anything_is_recorded(
    tmp_path: Path, options: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_recording(monkeypatch)
    with pytest.raises(InputError, match=text):
        digits(tmp_path, **options)
