from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import neuro
from neuro.cli import assembly
from neuro.cli.assembly import build_network, check_logger, choose_device, describe, load_data, load_run, use_threads
from neuro.cli.config import TrainConfig
from neuro.cli.run import open_run
from neuro.datasets import FrameDataset, Parts
from neuro.errors import InputError

if TYPE_CHECKING:
    from tests.neuro.cli.conftest import Call

SMALL = TrainConfig(sensor_size=10, dt=0.02, hidden=(7, 5), tau=0.03, method="exponential", reset="subtract")


@pytest.fixture(scope="module")
def data(cache: Path) -> Parts[FrameDataset]:
    return load_data(SMALL.model_copy(update={"cache": cache}))


def test_data_follow_the_settings(data: Parts[FrameDataset], cache: Path) -> None:
    assert (data.sensor_size, data.dt, data.train.shape) == ((10, 10, 2), 0.02, (15, 200))
    other = {"cache": cache, "contrast_threshold": 0.5, "threshold_mismatch": 0.1, "refractory": 0.01, "data_seed": 4}
    events = load_data(SMALL.model_copy(update=other)).train.events(0)
    assert len(events) < len(data.train.events(0))


def test_more_frames_than_memory(cache: Path) -> None:
    with pytest.raises(
        InputError, match=r"with dt 1e-06 s the frames .* take \d+ GB, this machine has \d+ GB of memory"
    ):
        load_data(SMALL.model_copy(update={"cache": cache, "dt": 1e-6}))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5,040 pictures of MNIST's size, dark but for a row that is the class."""
    folder = tmp_path_factory.mktemp("data") / "small"
    folder.mkdir()
    for name, samples in (("train", 5040), ("t10k", 30)):
        labels = np.arange(samples) % 10
        shown = np.zeros((samples, 28, 28), np.uint8)
        shown[np.arange(samples), 2 * labels] = 200
        for kind, array in (("images-idx3", shown), ("labels-idx1", labels.astype(np.uint8))):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{name}-{kind}-ubyte").write_bytes(head + array.tobytes())
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred recordings of one event, at the column that is the class, in the form of the subset of N-MNIST."""
    folder = tmp_path_factory.mktemp("recordings")
    for name, numbers in (("train", range(80)), ("test", range(80, 100))):
        (folder / f"{name}.txt").write_text("".join(f"{number} {number % 10}\n" for number in numbers))
        for number in numbers:
            (folder / f"{number}.bs2").write_bytes(bytes([10 + number % 10, 17, 0, 200, 0]))
    return folder


def test_pictures_follow_the_settings(pictures: Path) -> None:
    config = TrainConfig(dataset="mnist", source=pictures, steps=7, dt=0.002, data_seed=5)
    data = load_data(config)
    assert (data.name, data.train.shape, data.dt) == ("mnist", (7, 784), 0.002)
    assert "shuffle with seed 5" in str(data)
    assert load_data(config.model_copy(update={"convolutions": (3,)})).train.shape == (7, 1, 28, 28)
    with pytest.raises(InputError, match="jitter moves the events of recordings, and mnist holds pictures"):
        load_data(config.model_copy(update={"jitter_rows": 1.0}))


def test_recordings_follow_the_settings(recordings: Path) -> None:
    config = TrainConfig(dataset="nmnist", source=recordings, dt=0.02, convolutions=(3, 4))
    data = load_data(config)
    assert (data.name, data.train.shape) == ("nmnist", (15, 2, 34, 34))
    moved = load_data(config.model_copy(update={"jitter_columns": 3.0, "jitter_rows": 2.0, "jitter_shift": 0.1}))
    torch.manual_seed(0)
    places = torch.stack([moved.train[0][0].nonzero().squeeze(0) for _ in range(200)])
    assert moved.train.shape == data.train.shape
    low, high = places.min(0).values, places.max(0).values
    assert (high - low)[1:].tolist() == [0, 4, 6]
    assert 3 <= int(high[0] - low[0]) <= 5
    assert torch.equal(moved.validation[0][0], data.validation[0][0])
    assert torch.equal(moved.test.tensors()[0], data.test.tensors()[0])


def test_a_relative_source_is_found_here_or_below_the_data_folder(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(dataset="mnist", source=Path("small"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEURO_DATA", raising=False)
    with pytest.raises(InputError, match="source small is not there; name another, or set NEURO_DATA to the folder"):
        load_data(config)
    monkeypatch.setenv("NEURO_DATA", str(pictures.parent))
    assert len(load_data(config).train) == 40
    monkeypatch.setenv("NEURO_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"source small is neither here nor in NEURO_DATA \(.*\); name another"):
        load_data(config)
    monkeypatch.chdir(pictures.parent)
    assert len(load_data(config).train) == 40
    with pytest.raises(InputError, match=r"nowhere/train-images-idx3-ubyte\.gz is not there"):
        load_data(config.model_copy(update={"source": Path("/nowhere")}))


@pytest.mark.parametrize("name", ["mnist", "nmnist", "spoken_digits"])
def test_data_sets_of_files_need_a_source(name: str) -> None:
    with pytest.raises(
        InputError, match=f"dataset '{name}' is made of files; give their folder or archive with --source"
    ):
        load_data(SMALL.model_copy(update={"dataset": name}))


def test_bands_in_a_row_have_no_convolution(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="convolutions need the picture of a camera, and spoken_digits has bands"):
        load_data(SMALL.model_copy(update={"dataset": "spoken_digits", "source": tmp_path, "convolutions": (4,)}))


def test_convolutions_halve_the_picture(recordings: Path) -> None:
    config = TrainConfig(dataset="nmnist", source=recordings, convolutions=(3, 4), hidden=(6,), loss="mean_membrane")
    data = load_data(config)
    net = build_network(config, data)
    kinds = [type(layer).__name__ for layer in net.layers.values()]
    assert kinds == ["Conv2d", "LIF", "Conv2d", "LIF", "Flatten", "Linear", "LIF", "Linear", "LI"]
    assert [cell.size for cell in net.cells.values()] == [(3, 17, 17), (4, 9, 9), (6,), (10,)]
    assert net(data.test.tensors()[0])[0].shape == (60, 20, 10)


def test_a_run_on_pictures_from_training_to_report(pictures: Path, tmp_path: Path, call: Call) -> None:
    run = tmp_path / "run"
    flags = ("--dataset", "mnist", "--rule", "sltt", "--hidden", 12, "--epochs", 2, "--steps", 5, "--dt", 0.001)
    done = call("train", *flags, "--source", pictures, "--tau", 0.004, "--loss", "mean_membrane", "--output", run)
    assert done.status == 0, done.err
    assert "validation: 5000 of the 5040 training pictures" in done.out
    moved = pictures.rename(pictures.with_name("elsewhere"))
    try:
        assert "small is neither" in call("evaluate", run).err or "is not there" in call("evaluate", run).err
        assert "test accuracy" in call("evaluate", run, "--source", moved).out
        assert call("report", run, "--source", moved).status == 0
    finally:
        moved.rename(pictures)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "5000 of the 5040 training pictures" in page
    assert "event camera" not in page


def test_network_follows_the_settings(data: Parts[FrameDataset]) -> None:
    net = build_network(SMALL.model_copy(update={"surrogate": "boxcar"}), data)
    kinds = [type(layer).__name__ for layer in net.layers.values()]
    assert kinds == ["Linear", "LIF", "Linear", "LIF", "Linear", "LIF"]
    assert [cell.size for cell in net.cells.values()] == [(7,), (5,), (10,)]
    for cell in net.cells.values():
        assert (cell.dt, cell.method, cell.reset, cell.surrogate.family) == (0.02, "exponential", "subtract", "boxcar")
        assert torch.allclose(cell.parameters_si()["tau"], torch.tensor(0.03))
    rows, total = describe(net)
    assert total == 200 * 7 + 7 + 7 * 5 + 5 + 5 * 10 + 10 + (7 + 5 + 10)
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize("loss", ["max_membrane", "mean_membrane", "last_membrane", "softmax_sum"])
def test_a_membrane_loss_ends_in_a_cell_that_does_not_spike(data: Parts[FrameDataset], loss: str) -> None:
    net = build_network(SMALL.model_copy(update={"loss": loss}), data)
    last = list(net.cells.values())[-1]
    assert isinstance(last, neuro.LI)
    assert (last.dt, last.method) == (0.02, "exponential")


def test_the_seed_alone_decides_the_weights(data: Parts[FrameDataset]) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build_network(SMALL, data).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = build_network(SMALL, data).state_dict()
    other = build_network(SMALL.model_copy(update={"seed": 1}), data).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


@pytest.mark.parametrize("name", ["gpu", "cpu:0", "cuda:x", "cuda:", "", "CPU", "cuda:-1"])
def test_unknown_devices(name: str) -> None:
    with pytest.raises(InputError, match=r"unknown device .*\(known: cpu, cuda, cuda:0\)"):
        choose_device(name)


def test_absent_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"device 'cuda' is not there: .*; use --device cpu"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(InputError, match="device 'cuda:2' is not there; this machine has 2"):
        choose_device("cuda:2")


def test_a_logger_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    check_logger("tensorboard")
    monkeypatch.setattr(assembly, "find_spec", lambda _: None)
    check_logger("csv")
    with pytest.raises(InputError, match=r"pip install 'neuro-spiking\[tensorboard\]'"):
        check_logger("tensorboard")


def test_threads() -> None:
    before = torch.get_num_threads()
    cores = os.cpu_count() or 1
    try:
        use_threads(cores)
        assert torch.get_num_threads() == cores
        use_threads(0)
        assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)
    with pytest.raises(InputError, match=f"threads is {cores + 1}, but this machine has {cores} cores"):
        use_threads(cores + 1)


def test_load_run_refuses_weights_of_another_network(run: Path) -> None:
    opened = open_run(run)
    config = opened.load_config()
    data, net = load_run(opened, config)
    assert net.layers.keys() == build_network(config, data).layers.keys()
    for change, words in (
        ({"hidden": (13,)}, "out_features of layer '0' is 12, not 13"),
        ({"hidden": (12, 12)}, "out_features of layer '2' is 10, not 12"),
        ({"reset": "subtract"}, "reset of layer '1' is 'value', not 'subtract'"),
        ({"surrogate": "boxcar"}, "surrogate of layer '1' is {'family': 'atan'"),
        ({"loss": "max_membrane"}, "type of layer '3' is 'LIF', not 'LI'"),
    ):
        with pytest.raises(
            InputError, match=r"network\.safetensors holds another network than .*config\.yaml"
        ) as caught:
            load_run(opened, config.model_copy(update=change))
        assert words in str(caught.value)
