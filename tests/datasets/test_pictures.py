"""MNIST as constant currents: the split, what a sample is, files that do not belong together."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from neuro.datasets.pictures import mnist
from neuro.errors import FileFormatError, InputError
from neuro.training.batches import Batches, batches

TRAIN, TEST = 5030, 20


def encoded(array: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write(folder: Path, name: str, pictures: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(encoded(pictures), 1))
    (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(encoded(labels)))


def drawn(samples: int, start: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pictures whose first two pixels say which they are."""
    pictures = np.zeros((samples, 28, 28), np.uint8)
    numbers = np.arange(start, start + samples)
    pictures[:, 0, 0], pictures[:, 0, 1], pictures[:, 27, 3] = numbers // 256, numbers % 256, 255
    return pictures, (numbers % 10).astype(np.uint8)


def identity(x: torch.Tensor) -> torch.Tensor:
    """The number in pictures ``[S, 784]``."""
    return (255 * (256 * x[..., 0] + x[..., 1])).round().long()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("mnist")
    write(made, "train", *drawn(TRAIN, 0))
    write(made, "t10k", *drawn(TEST, 10_000))
    return made


def test_every_picture_is_in_one_part(folder: Path) -> None:
    data = mnist(folder)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [TRAIN - 5000, 5000, TEST]
    seen = [identity(part.tensors()[0][0]) for part in (data.train, data.validation)]
    assert torch.equal(torch.cat(seen).sort().values, torch.arange(TRAIN))
    assert identity(data.test.tensors()[0][0]).tolist() == list(range(10_000, 10_000 + TEST))
    for part in (data.train, data.validation, data.test):
        x, y = part.tensors()
        assert torch.equal(y, identity(x[0]) % 10)
        assert np.array_equal(part.labels, y.numpy())


def test_the_seed_decides_the_split(folder: Path) -> None:
    first, again, other = (mnist(folder, seed=seed).train.tensors()[1] for seed in (0, 0, 3))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_split_is_said(folder: Path) -> None:
    data = mnist(folder, seed=7)
    assert data.split == "validation: 5000 of the 5030 training pictures, the last of a shuffle with seed 7"
    assert str(data).startswith(f"mnist: {TRAIN + TEST} pictures, {data.split}, 10 bins of 1 ms, frames [10, 784]\n")


def test_a_picture_is_a_constant_current_and_held_once(folder: Path) -> None:
    data = mnist(folder, steps=300, dt=2e-3)
    frames, label = data.test[3]
    assert (frames.shape, data.test.shape, data.test.steps, label) == ((300, 784), (300, 784), 300, 3)
    assert frames.dtype == torch.float32
    assert torch.equal(frames[0], frames[-1])
    assert (float(frames.min()), float(frames[0, 27 * 28 + 3])) == (0.0, 1.0)
    x, _ = data.train.tensors()
    assert x.untyped_storage().nbytes() == data.train.nbytes == 4 * 784 * len(data.train)


def test_layout_frames_keeps_the_picture(folder: Path) -> None:
    flat, frames = mnist(folder), mnist(folder, layout="frames")
    assert frames.test.shape == (10, 1, 28, 28)
    assert torch.equal(frames.test[2][0].flatten(1), flat.test[2][0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batches_are_held_in_memory_once(folder: Path, dtype: torch.dtype) -> None:
    data = mnist(folder, steps=1_000_000)  # 16 TB if every step were copied
    made = batches(data.validation, 2, like=torch.empty(0, dtype=dtype))
    assert isinstance(made, Batches)
    assert made.x.dtype == dtype
    assert made.x.untyped_storage().nbytes() == 5000 * 784 * dtype.itemsize


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"steps": 0}, "steps must be a whole number from 1, got 0"),
        ({"steps": True}, "steps must be a whole number"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"dt": 0.0}, "dt must be a positive number of seconds"),
        ({"dt": float("nan")}, "dt must be a positive number of seconds"),
        ({"layout": "flad"}, "unknown layout 'flad'; did you mean 'flat'"),
    ],
)
def test_bad_options(folder: Path, options: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        mnist(folder, **options)


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    pictures, labels = drawn(TRAIN, 0)
    write(tmp_path, "t10k", *drawn(TEST, 0))
    for changed, text in (
        (
            (pictures[:, :27], labels),
            r"train-images-.*must hold pictures of 28 x 28 pixels, has shape \(5030, 27, 28\)",
        ),
        ((pictures, labels[:-1]), r"train-labels-.*labels of shape \(5029,\) for 5030 pictures"),
        ((pictures, labels + 1), r"train-labels-.*labels from 0 to 9"),
        ((pictures[:0], labels[:0]), r"train-labels-.*labels from 0 to 9"),
    ):
        write(tmp_path, "train", *changed)
        with pytest.raises(FileFormatError, match=text):
            mnist(tmp_path)
    write(tmp_path, "train", pictures[:5000], labels[:5000])
    with pytest.raises(InputError, match="holds 5000 training pictures; 5000 of them choose the model"):
        mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte\.gz is not there"):
        mnist(tmp_path)


@pytest.mark.data
def test_mnist_itself(shared_data: Path) -> None:
    data = mnist(shared_data / "mnist")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [55_000, 5000, 10_000]
    assert np.bincount(data.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert float(data.test.pictures.mean()) == pytest.approx(0.13251, abs=1e-4)
