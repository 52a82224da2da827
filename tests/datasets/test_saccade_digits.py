"""N-MNIST: its bytes, its layouts on disk, its split, damaged files."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from neuro.datasets.events import make_events
from neuro.datasets.saccade_digits import decode_atis, nmnist
from neuro.errors import FileFormatError, InputError


def encoded(events: NDArray[np.void]) -> bytes:
    columns = np.empty((len(events), 5), np.uint8)
    columns[:, 0], columns[:, 1] = events["x"], events["y"]
    columns[:, 2] = events["p"].astype(np.uint8) << 7 | events["t"] >> 16
    columns[:, 3], columns[:, 4] = events["t"] >> 8 & 255, events["t"] & 255
    return columns.tobytes()


def drawn(number: int, events: int = 40) -> NDArray[np.void]:
    """A recording that starts at time ``number``, with its last event after 0.3 s."""
    generator = np.random.default_rng(number)
    times = np.sort(generator.integers(number, 299_000, events))
    times[0], times[-1] = number, 310_000
    return make_events(times, *(generator.integers(0, size, events) for size in (34, 34, 2)))


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbered files with lists: 80 recordings train, eight of each digit; 10 test."""
    folder = tmp_path_factory.mktemp("listed")
    for name, first, samples in (("train1K", 1, 80), ("test100", 101, 10)):
        lines = [f"{number}\t{number % 10}" for number in range(first, first + samples)]
        (folder / f"{name}.txt").write_text("#sample #class\r\n" + "\r\n".join(lines) + "\r\n")
        for number in range(first, first + samples):
            (folder / f"{number}.bs2").write_bytes(encoded(drawn(number)))
    return folder


def test_decoding_gives_the_events_back() -> None:
    events = drawn(5, 500)
    assert np.array_equal(decode_atis(encoded(events)), events)
    assert len(decode_atis(b"")) == 0


def test_the_clock_that_overflows() -> None:
    overflow = bytes([0, 240, 0, 0, 0])
    first, second = (encoded(make_events([t], [1], [2], [1])) for t in (8191, 3))
    events = decode_atis(first + overflow + second + overflow + second)
    assert events["t"].tolist() == [8191, 3 + 8192, 3 + 2 * 8192]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"1234", r"here: is cut off inside an event \(4 bytes, 5 an event\)"),
        (bytes([34, 0, 0, 0, 0]), r"here: not a recording of N-MNIST \(event 0: x=34 is outside the sensor"),
        (bytes([0, 0, 0, 0, 9, 0, 0, 0, 0, 8]), r"here: not a recording .*before the event in front of it"),
    ],
)
def test_damaged_recordings(content: bytes, text: str) -> None:
    with pytest.raises(FileFormatError, match=text):
        decode_atis(content, "here")


def test_a_tenth_of_each_class_is_kept_for_validation(listed: Path) -> None:
    data = nmnist(listed, dt=20e-3)
    assert [np.bincount(part.labels).tolist() for part in (data.train, data.validation)] == [[7] * 10, [1] * 10]
    first = {int(part.events(i)["t"][0]) for part in (data.train, data.validation) for i in range(len(part))}
    assert first == set(range(1, 81))  # each recording is in one of them
    assert data.test.labels.tolist() == [number % 10 for number in range(101, 111)]
    assert data.split == "validation: 10 of the 80 training recordings, a tenth of each class with seed 0"
    assert str(data).startswith(f"nmnist: 90 recordings, {data.split}, 15 bins of 20 ms, frames [15, 2312]\n")
    other = nmnist(listed, seed=4).validation
    assert {int(other.events(i)["t"][0]) for i in range(10)} < set(range(1, 81))
    assert any(other.events(i)["t"][0] != data.validation.events(i)["t"][0] for i in range(10))


def test_frames_hold_the_recording_up_to_its_duration(listed: Path) -> None:
    data = nmnist(listed, dt=10e-3, layout="frames")
    frames, label = data.test[4]
    assert (frames.shape, label) == ((30, 2, 34, 34), 5)
    events = drawn(105)
    expected = np.zeros((30, 2, 34, 34), np.float32)
    for t, x, y, p in events[:-1].tolist():  # the last comes after the end
        expected[t // 10_000, int(p), y, x] = 1
    assert np.array_equal(frames.numpy(), expected)
    assert np.array_equal(nmnist(listed, duration=0.32, dt=10e-3).test.events(4), events)


@pytest.fixture(scope="module")
def by_class(listed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same recordings in the folders of N-MNIST, as Tonic leaves them."""
    root = tmp_path_factory.mktemp("tonic") / "NMNIST"
    for part, numbers in (("Train", range(1, 81)), ("Test", range(101, 111))):
        for number in numbers:
            folder = root / part / str(number % 10)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:05}.bin").write_bytes((listed / f"{number}.bs2").read_bytes())
    return root


def test_folders_and_archive_hold_the_same(listed: Path, by_class: Path, tmp_path: Path) -> None:
    archive = tmp_path / "some.tar.xz"
    with tarfile.open(archive, "w:xz") as file:
        file.add(listed, "NMNISTsmall")
    expected = nmnist(listed)
    packed = nmnist(archive)
    assert all(np.array_equal(packed.train.events(i), expected.train.events(i)) for i in range(70))
    assert np.array_equal(packed.train.labels, expected.train.labels)
    for source in (by_class, by_class.parent):
        found = nmnist(source)
        assert sorted(found.test.labels) == sorted(expected.test.labels)
        numbers = [int(found.test.events(i)["t"][0]) for i in range(10)]
        assert [number % 10 for number in numbers] == found.test.labels.tolist()
        assert (len(found.train), len(found.validation)) == (70, 10)


def test_sources_that_are_not_there(listed: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder or archive"):
        nmnist(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds neither Train/ and Test/ .* nor lists train\*\.txt"):
        nmnist(tmp_path)
    (tmp_path / "cut.tar.xz").write_bytes(b"no archive")
    with pytest.raises(FileFormatError, match=r"cut\.tar\.xz: not a whole tar archive"):
        nmnist(tmp_path / "cut.tar.xz")
    (tmp_path / "Train" / "3").mkdir(parents=True)
    with pytest.raises(InputError, match=r"Train: holds no recording such as Train/7/00123\.bin"):
        nmnist(tmp_path)


def test_damaged_lists(listed: Path, tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("1 3\n")
    for line, kind, text in (
        ("1 3 4", FileFormatError, r"train\.txt: line 2 must be a file number and a class from 0 to 9, is '1 3 4'"),
        ("1 10", FileFormatError, "line 2 must be a file number and a class"),
        ("-1 3", FileFormatError, "line 2 must be a file number and a class"),
        ("8 3", InputError, r"8\.bs2 is not there, but line 2 of .*train\.txt names it"),
    ):
        (tmp_path / "train.txt").write_text(f"#sample #class\n{line}\n")
        with pytest.raises(kind, match=text):
            nmnist(tmp_path)


def test_too_few_to_keep_some_for_validation(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / f"{name}.txt").write_text("1 3\n")
    (tmp_path / "1.bin").write_bytes(encoded(drawn(1)))
    with pytest.raises(InputError, match="no recording for validation; too few to keep a tenth"):
        nmnist(tmp_path)


def test_a_recording_that_vanishes_or_breaks(by_class: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(by_class, tmp_path / "copy")
    data = nmnist(copied)
    (copied / "Test" / "0" / "00110.bin").write_bytes(b"123")
    with pytest.raises(FileFormatError, match=r"00110\.bin: is cut off inside an event"):
        data.test.tensors()
    (copied / "Test" / "0" / "00110.bin").unlink()
    with pytest.raises(InputError, match=r"00110\.bin: cannot read the recording"):
        data.test.tensors()


def test_bad_options(listed: Path) -> None:
    with pytest.raises(InputError, match="seed must be a whole number from 0"):
        nmnist(listed, seed=-1)
    with pytest.raises(InputError, match="unknown layout 'flt'"):
        nmnist(listed, layout="flt")
    with pytest.raises(InputError, match="dt"):
        nmnist(listed, dt=0.0)


@pytest.mark.data
def test_the_reader_of_tonic_agrees(shared_data: Path) -> None:
    reader = pytest.importorskip("tonic.io")
    path = shared_data / "tonic_test_data" / "sample_nmnist.bin"
    fields = np.dtype([(name, int) for name in "xytp"])
    theirs, ours = reader.read_mnist_file(str(path), fields), decode_atis(path.read_bytes(), path)
    assert len(ours) == 4325
    assert all(np.array_equal(ours[name], theirs[name]) for name in "xytp")


@pytest.mark.data
def test_the_subset_of_n_mnist(shared_data: Path) -> None:
    data = nmnist(shared_data / "nmnist_small" / "NMNISTsmall.tar.xz")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [899, 101, 100]
    assert sum(len(data.test.events(i)) for i in range(100)) == 383_339
